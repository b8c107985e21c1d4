import ArgumentParser
import Swiftlet
import Essentials
import Models
import OrderedJSON
import Terminal

/// `swiftlet compare --model M --adapter A --questions F`
struct Compare: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Compare answers with and without an adapter, side by side.")

  @OptionGroup var modelOptions: ModelOptions
  @OptionGroup var device: DeviceOptions
  @OptionGroup var sampling: SamplingFlags

  @Option(
    help: ArgumentHelp(
      "A text file with one question per line, or a dataset whose rows have a prompt, messages or a question.",
      valueName: "file"))
  var questions: String

  @Option(help: ArgumentHelp("Ask only the first n questions.", valueName: "n"))
  var limit: Int?

  @Flag(help: "Print JSON: a list of {\"question\", \"before\", \"after\"}.")
  var json = false

  @Flag(help: "Print the table as Markdown.")
  var markdown = false

  func validate() throws {
    guard modelOptions.adapter != nil else { throw ValidationError("compare needs --adapter") }
    if let limit, limit < 1 { throw ValidationError("--limit must be positive") }
  }

  func run() async throws {
    var asked = try Prompt.read(questions)
    if let limit { asked = Array(asked.prefix(limit)) }
    let (model, adapter) = try await modelOptions.open(on: device)
    adapter?.isEnabled = false
    let before = try ask(asked, model, "before")
    adapter?.isEnabled = true
    let after = try ask(asked, model, "after")
    let rows = zip(asked, zip(before, after)).map { ($0.text, $1.0, $1.1) }
    if json {
      Printing.json(
        .array(rows.map { ["question": .string($0.0), "before": .string($0.1), "after": .string($0.2)] }))
      return
    }
    let table = Table.comparison(rows.map { (question: $0.0, before: $0.1, after: $0.2) })
    let output = Output.standardOutput
    output.write(markdown ? table.markdown : table.text(width: output.columns(), style: output.style))
  }

  private func ask(_ questions: [Prompt], _ model: CausalLM, _ label: String) throws -> [String] {
    try Answers.ask(
      questions, model, sampling: sampling.options, maxNewTokens: sampling.maxNewTokens, label: label)
  }
}
