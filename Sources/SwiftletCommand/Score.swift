import ArgumentParser
import Datasets
import Essentials
import Models
import OrderedJSON
import Swiftlet
import Terminal

/// `swiftlet score --model M (--text T | --data F)`
struct Score: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Score texts with a classifier or a reward model.",
    usage: """
      swiftlet score --model <model> [--adapter <adapter>] --text <text> [--json]
      swiftlet score --model <model> [--adapter <adapter>] --data <path> [--json]
      """,
    discussion: """
      The model is the result of swiftlet classify or swiftlet reward, or any sequence classifier that transformers or \
      PEFT saved. Each line of the output is a row: its most likely label and the probabilities of all, or its reward. \
      If the rows have a label, the accuracy is measured too.
      """)

  @OptionGroup var modelOptions: ModelOptions
  @OptionGroup var device: DeviceOptions

  @Option(name: [.short, .long], help: ArgumentHelp("A text, or - to read it from standard input.", valueName: "text"))
  var text: String?

  @Option(
    help: ArgumentHelp(
      "A file or folder of rows with text, messages, or prompt and completion.", valueName: "path"))
  var data: String?

  @OptionGroup var batches: BatchOptions

  @Flag(help: "Print JSON: {\"rows\": [{\"label\", \"probabilities\"} or {\"reward\"}]}, and \"accuracy\".")
  var json = false

  func validate() throws {
    guard (text == nil) != (data == nil) else { throw ValidationError("score needs --text or --data") }
  }

  func run() async throws {
    let rows: any RowSource
    if let data {
      rows = try DataFile.open(data.expandingTilde)
    } else {
      let given = text == "-" ? String(decoding: try OpenFile.standardInput.readToEnd(), as: UTF8.self) : text ?? ""
      rows = InMemoryRows([JSONObject([("text", .string(given))])])
    }
    let (model, _) = try await modelOptions.open(on: device)
    var bar = ProgressBar("scoring", total: rows.count)
    defer { bar.clear() }
    let scoring = try Scoring(
      model, rows: rows, maxLength: batches.limit(otherwise: 1024), batchSize: batches.batchSize
    ) { done, _ in bar.update(done) }
    bar.clear()
    if json { return Printing.json(scoring.json) }
    for row in scoring.rows { Printing.result(Self.line(row, scoring)) }
    if let accuracy = scoring.accuracy {
      Printing.note("\(Format.percent(accuracy)) of \(scoring.rows.count) rows have their own label.")
    }
  }

  private static func line(_ row: Scoring.Row, _ scoring: Scoring) -> String {
    if scoring.isReward { return String(cFormat: "%.4f", Double(row.scores[0])) }
    let probabilities = row.probabilities
    let order = probabilities.indices.sorted { (-probabilities[$0], $0) < (-probabilities[$1], $1) }
    return order.map { "\(scoring.labels[$0].printable) \(String(cFormat: "%.4f", probabilities[$0]))" }
      .joined(separator: "  ")
  }
}
