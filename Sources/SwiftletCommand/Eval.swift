import ArgumentParser
import Datasets
import Swiftlet
import Essentials
import Models
import Recipes
import Terminal

/// `swiftlet eval --model M --data F`
struct Eval: AsyncParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Measure the loss and perplexity of a model on rows.")

  @OptionGroup var modelOptions: ModelOptions
  @OptionGroup var device: DeviceOptions

  @Option(help: "A data file or folder, with rows in any form that training accepts.")
  var data: String?

  @Option(help: "A recipe: its steps and maximum length apply, and its validation rows are used without --data.")
  var config: String?

  @Option(help: "The maximum length of a row in tokens; longer rows are truncated. 0 for no limit. (default: 1024)")
  var maxLength: Int?

  @Option(help: "Rows per batch.")
  var batchSize = 8

  @Flag(help: "Measure the loss of the assistant's turns only.")
  var assistantOnlyLoss = false

  @Flag(inversion: .prefixedNo, help: "Measure the loss of completions only; by default if rows have a prompt.")
  var completionOnlyLoss: Bool?

  @Flag(help: "With --json: print the log-probability of every token.")
  var logprobs = false

  @Flag(help: "Print {\"loss\", \"perplexity\", \"tokens\"}, and \"rows\" with --logprobs.")
  var json = false

  func validate() throws {
    if data == nil, config == nil { throw ValidationError("eval needs --data or --config") }
    guard batchSize > 0, maxLength ?? 0 >= 0 else {
      throw ValidationError("--batch-size must be positive, --max-length not negative")
    }
    if logprobs, !json { throw ValidationError("--logprobs needs --json") }
  }

  /// The rows to evaluate, after the recipe's steps.
  private func rows(_ recipe: Recipe, _ model: CausalLM) async throws -> any RowSource {
    let tokenizer = try RowTokenizer(model.tokenizer, template: recipe.chatTemplate(), recipe.training)
    if let data {
      let source = DatasetSource(path: data.expandingTilde)
      return try RecipeRows.validationRows(source, for: recipe, tokenizer: tokenizer)
    }
    var located = recipe
    located.data = try await DatasetLocation.find(recipe, progress: DownloadProgress().report)
    guard let rows = try RecipeRows(located, tokenizer: tokenizer).evaluation else {
      throw ValidationError("the recipe has no validation rows. Add --data.")
    }
    return rows
  }

  func run() async throws {
    let recipe = try config.map { try Recipe(commandLine: ["--config", $0]) }
    var options = recipe?.training.preparation ?? PreparationOptions()
    options.packing = nil
    options.shuffleSeed = nil
    if recipe == nil { options.maxLength = 1024 }
    if let maxLength { options.maxLength = maxLength == 0 ? nil : maxLength }
    if assistantOnlyLoss { options.assistantOnlyLoss = true }
    if let completionOnlyLoss { options.completionOnlyLoss = completionOnlyLoss }
    // Find mistakes in the data before the model is loaded, if no step needs the model's template.
    var rows = try recipe == nil ? data.map { try DataFile.open($0.expandingTilde) } : nil
    let (model, _) = try await modelOptions.open(on: device)
    if let recipe { rows = try await self.rows(recipe, model) }
    guard let rows else { return }
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
