import Checkpoints
import Diagnostics
import ArgumentParser
import ChatTemplates
import Essentials
import Models
import OrderedJSON
import Terminal
import Tokenizers

/// `swiftlet render M|FILE.jinja --messages F.json`
struct Render: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Print messages exactly as the chat template renders them.")

  @Argument(help: "A model folder, a GGUF file, org/name, or a .jinja file.")
  var model: String

  @Option(
    help: ArgumentHelp(
      "A JSON file with a list of messages, or an object with messages and tools. - for standard input.",
      valueName: "file"))
  var messages: String

  @Option(help: ArgumentHelp("A JSON file with a list of tools.", valueName: "file"))
  var tools: String?

  @Flag(help: "End with the generation prompt.")
  var addGenerationPrompt = false

  @Flag(help: "Print JSON: {\"text\"}.")
  var json = false

  @Option(
    name: .customLong("set"),
    help: ArgumentHelp("Set a template variable. Can be repeated.", valueName: "name=JSON"))
  var variables: [String] = []

  func run() async throws {
    let renderer: ChatRenderer
    if model.hasSuffix(".jinja") {
      renderer = try templateErrors { () throws(SwiftletError) in
        try ChatRenderer(sources: ["default": String(decoding: try Self.bytes(model), as: UTF8.self)])
      }
    } else {
      let tokenizer = try await Tokenize.tokenizer(model)
      let found = try templateErrors { () throws(SwiftletError) in try ChatRenderer(tokenizer: tokenizer) }
      guard let found else {
        throw SwiftletError.model("\(model): the model has no chat template; name a .jinja file instead")
      }
      renderer = found
    }
    var values = JSONObject()
    for variable in variables {
      guard let equals = variable.firstIndex(of: "="), variable.startIndex < equals else {
        throw ValidationError("--set takes name=JSON, as in --set enable_thinking=false")
      }
      let text = String(variable[variable.index(after: equals)...])
      do {
        values[String(variable[..<equals])] = try JSONValue(parsing: text)
      } catch {
        throw ValidationError("--set \(variable): \(error); strings need quotation marks")
      }
    }
    var conversation = try Self.json(messages)
    var offered = try tools.map(Self.json)
    if case .object = conversation, let inner = conversation["messages"] {
      offered = offered ?? conversation["tools"]
      conversation = inner
    }
    let text = try templateErrors { () throws(SwiftletError) in
      try renderer.render(
        Conversation(
          Message.list(conversation), tools: offered, addsGenerationPrompt: addGenerationPrompt, variables: values)
      ).text
    }
    if json { Printing.json(["text": .string(text)]) } else { Output.standardOutput.write(text) }
  }

  private func templateErrors<Value>(_ body: () throws(SwiftletError) -> Value) throws(SwiftletError) -> Value {
    do {
      return try body()
    } catch {
      throw error.domain == .template ? SwiftletError.model("\(model): the chat template fails: \(error)") : error
    }
  }

  private static func bytes(_ path: String) throws(SwiftletError) -> [UInt8] {
    if path == "-" { return [UInt8]((try? OpenFile.standardInput.readToEnd()) ?? Data()) }
    return try RegularFile.contents(of: URL(fileURLWithPath: path.expandingTilde), domain: .model)
  }

  private static func json(_ path: String) throws(SwiftletError) -> JSONValue {
    let data = try bytes(path)
    do {
      return try JSONValue(parsing: data)
    } catch {
      throw SwiftletError.model("\(path), \(error)")
    }
  }
}
