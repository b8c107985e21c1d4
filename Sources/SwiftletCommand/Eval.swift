import ArgumentParser
import Datasets
import Swiftlet
import Essentials
import Terminal

/// `swiftlet eval --model M --data F`
struct Eval: AsyncParsableCommand {
  static let configuration = CommandConfiguration(abstract: "The loss and perplexity of a model on rows.")

  @OptionGroup var modelOptions: ModelOptions
  @OptionGroup var device: DeviceOptions

  @Option(help: "Rows in any form that training takes.")
  var data: String

  @Option(help: "Tokens of a row that count; the rest is cut off. 0 for no limit.")
  var maxLength = 1024

  @Option(help: "Rows a batch.")
  var batchSize = 8

  @Flag(help: "Count the assistant's turns only.")
  var assistantOnlyLoss = false

  @Flag(inversion: .prefixedNo, help: "Count completions only; by default where rows have a prompt.")
  var completionOnlyLoss: Bool?

  @Flag(help: "With --json: the log-probability of every token.")
  var logprobs = false

  @Flag(help: "Print {\"loss\", \"perplexity\", \"tokens\", \"rows\"}.")
  var json = false

  func validate() throws {
    guard batchSize > 0, maxLength >= 0 else {
      throw ValidationError("--batch-size must be positive, --max-length not negative")
    }
    if logprobs, !json { throw ValidationError("--logprobs prints through --json; add it") }
  }

  func run() async throws {
    let rows = try DataFile.open(data)
    var options = PreparationOptions()
    options.maxLength = maxLength == 0 ? nil : maxLength
    options.assistantOnlyLoss = assistantOnlyLoss
    options.completionOnlyLoss = completionOnlyLoss
    let (model, _) = try await modelOptions.open(on: device)
    var bar = ProgressBar("evaluating", total: rows.count)
    let evaluation = try Evaluation(
      model, rows: rows, options: options, batchSize: batchSize, logProbabilities: logprobs
    ) { done, _ in bar.update(done) }
    bar.clear()
    if json {
      Printing.json(evaluation.json)
    } else {
      Printing.result("loss        \(Format.loss(evaluation.loss))")
      Printing.result("perplexity  \(Format.loss(evaluation.perplexity))")
      Printing.result("tokens      \(evaluation.tokens)")
    }
  }
}
