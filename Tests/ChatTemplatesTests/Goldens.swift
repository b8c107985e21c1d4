import Diagnostics
import ChatTemplates
import Foundation
import OrderedJSON
import Testing

/// Renderings of transformers, written by `make_goldens.py`.
struct Goldens {
  let templates: [(name: String, source: String)]
  let conversations: [Conversation]
  let results: JSONValue

  struct Conversation {
    let name: String
    let messages: JSONValue
    let tools: JSONValue?
    let addGenerationPrompt: Bool
    let variables: JSONObject
  }

  static let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appending(path: "Goldens/chat_templates")

  /// The time that the script uses for `strftime_now`.
  static let now = CivilTime(year: 2024, month: 7, day: 26, hour: 9, minute: 5, second: 3)

  static func json(_ file: URL) throws -> JSONValue { try JSONValue(parsing: Data(contentsOf: file)) }

  init(templates folder: URL, conversations: URL, results: URL) throws {
    let files = try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
    templates = try files.filter { $0.pathExtension == "jinja" }.sorted { $0.path < $1.path }.map {
      ($0.lastPathComponent, String(decoding: try Data(contentsOf: $0), as: UTF8.self))
    }
    self.conversations = try #require(try Self.json(conversations).array).map { row in
      Conversation(
        name: try #require(row["name"]?.string), messages: try #require(row["messages"]), tools: row["tools"],
        addGenerationPrompt: row["add_generation_prompt"]?.bool ?? false,
        variables: row["variables"]?.object ?? JSONObject())
    }
    self.results = try Self.json(results)
  }

  /// The goldens of the repository.
  static func committed() throws -> Goldens {
    try Goldens(
      templates: folder.appending(path: "templates"), conversations: folder.appending(path: "conversations.json"),
      results: folder.appending(path: "goldens.json"))
  }

  /// The goldens of another folder of templates, made by `Scripts/compare-templates`.
  static func named() throws -> Goldens? {
    let environment = ProcessInfo.processInfo.environment
    guard let templates = environment["SWIFTLET_TEMPLATES"], let results = environment["SWIFTLET_TEMPLATE_GOLDENS"]
    else { return nil }
    let conversations = environment["SWIFTLET_CONVERSATIONS"].map { URL(filePath: $0) }
    return try Goldens(
      templates: URL(filePath: templates),
      conversations: conversations ?? folder.appending(path: "conversations.json"), results: URL(filePath: results))
  }

  /// The differences from transformers, one line each, and the number of renderings compared.
  func differences() -> (lines: [String], compared: Int) {
    var lines: [String] = []
    var compared = 0
    for (file, source) in templates {
      let template = Result { () throws(SwiftletError) in try ChatTemplate(source) }
      for conversation in conversations {
        guard let expected = results[file]?[conversation.name] else {
          lines.append("\(file), \(conversation.name): no golden")
          continue
        }
        compared += 1
        let rendering = template.flatMap { template in
          Result { () throws(SwiftletError) in try Self.render(template, conversation) }
        }
        if let difference = Self.difference(rendering, expected) {
          lines.append("\(file), \(conversation.name): \(difference)")
        }
      }
    }
    return (lines, compared)
  }

  static func render(
    _ template: ChatTemplate, _ conversation: Conversation
  ) throws(SwiftletError) -> ChatTemplate.Rendering {
    try template.render(
      messages: Self.messages(conversation.messages), tools: conversation.tools,
      addGenerationPrompt: conversation.addGenerationPrompt, variables: conversation.variables, now: now)
  }

  /// The messages with their null members, which `render_jinja_template` keeps.
  private static func messages(_ json: JSONValue) throws(SwiftletError) -> [Message] {
    var messages = try Message.list(json)
    for index in messages.indices {
      if let members = json[index]?.object { messages[index].members = members }
    }
    return messages
  }

  static func difference(_ rendering: Result<ChatTemplate.Rendering, SwiftletError>, _ expected: JSONValue) -> String? {
    switch (rendering, expected["text"]?.string) {
    case (.success(let rendering), let text?):
      if !rendering.text.utf8.elementsEqual(text.utf8) { return difference(rendering.text, text) }
      let spans = expected["spans"]?.array?.map { ($0[0]?.integer ?? 0)..<($0[1]?.integer ?? 0) } ?? []
      return spans == rendering.generationSpans ? nil : "spans \(rendering.generationSpans), not \(spans)"
    case (.failure(let error), let text?): return "\(error); expected \(text.debugDescription)"
    case (.success(let rendering), nil):
      return "rendered \(rendering.text.debugDescription), expected \(expected["error"]?.string ?? "an error")"
    case (.failure(let error), nil):
      guard ProcessInfo.processInfo.environment["SWIFTLET_TEMPLATE_ERRORS"] != nil else { return nil }
      let message = expected["error"]?.string ?? ""
      return message.hasSuffix(error.reason) ? nil : "ERROR \(error), not \(expected["line"]?.integer ?? 0): \(message)"
    }
  }

  private static func difference(_ text: String, _ expected: String) -> String {
    let place = zip(text.unicodeScalars, expected.unicodeScalars).enumerated().first { $1.0 != $1.1 }?.offset
    let start = max((place ?? min(text.unicodeScalars.count, expected.unicodeScalars.count)) - 40, 0)
    func cut(_ text: String) -> String { String(text.unicodeScalars.dropFirst(start).prefix(100)).debugDescription }
    return "at \(start + 40) \(cut(text)), expected \(cut(expected))"
  }
}

@Suite("Renderings match transformers")
struct GoldenTests {
  @Test("Templates in the repository")
  func committed() throws {
    let (lines, compared) = try Goldens.committed().differences()
    #expect(lines.isEmpty, "\(lines.prefix(20).joined(separator: "\n"))")
    #expect(compared > 300)
  }

  @Test("Templates in another folder", .enabled(if: ProcessInfo.processInfo.environment["SWIFTLET_TEMPLATES"] != nil))
  func named() throws {
    let (lines, compared) = try #require(try Goldens.named()).differences()
    for line in lines { print("DIFFERENCE \(line)") }
    print("COMPARED \(compared) renderings, \(lines.count) differ")
    #expect(lines.isEmpty)
  }
}
