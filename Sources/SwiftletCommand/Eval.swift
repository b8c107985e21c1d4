import ArgumentParser
import Datasets
import Swiftlet
import Essentials
import Models
import Recipes
import Terminal

/// `swiftlet eval --model M --data F`
struct Eval: AsyncParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Measure the loss and perplexity of a model on a dataset.")

  @OptionGroup var modelOptions: ModelOptions
  @OptionGroup var device: DeviceOptions

  @Option(help: ArgumentHelp("A file or folder of rows in any format that training accepts.", valueName: "path"))
  var data: String?

  @Option(
    help: ArgumentHelp(
      """
      A recipe. The rows are prepared as for its validation loss: steps, chat template, max_length, packing. Without \
      --data, its validation rows are used.
      """, valueName: "recipe"))
  var config: String?

  @OptionGroup var batches: BatchOptions

  @Flag(help: "Measure the loss of assistant turns only.")
  var assistantOnlyLoss = false

  @Flag(inversion: .prefixedNo, help: "Measure the loss of completions only. (default: if rows have a prompt)")
  var completionOnlyLoss: Bool?

  @Flag(help: "With --json: also print each token's log-probability.")
  var logprobs = false

  @Flag(help: "Print JSON: {\"loss\", \"perplexity\", \"tokens\"}, and \"rows\" with --logprobs.")
  var json = false

  func validate() throws {
    if data == nil, config == nil { throw ValidationError("eval needs --data or --config") }
    if logprobs, !json { throw ValidationError("--logprobs needs --json") }
  }

  /// The rows to evaluate, after the recipe's steps.
  private func rows(_ recipe: Recipe, _ tokenizer: RowTokenizer) async throws -> any RowSource {
    if let data {
      let source = DatasetSource(path: data.expandingTilde)
      return try RecipeRows.validationRows(source, for: recipe, tokenizer: tokenizer)
    }
    var located = recipe
    located.data = try await DownloadProgress.show { try await DatasetLocation.find(recipe, progress: $0) }
    guard let rows = try RecipeRows(located, tokenizer: tokenizer).evaluation else {
      throw ValidationError("the recipe has no validation rows; add --data")
    }
    return rows
  }

  /// How rows are encoded: as for the recipe's validation loss, unless an option says otherwise.
  private func options(_ recipe: Recipe?) -> PreparationOptions {
    var options = recipe?.training.preparation(forValidation: true) ?? PreparationOptions()
    options.maxLength = batches.limit(otherwise: recipe == nil ? 1024 : options.maxLength)
    // Log-probabilities are those of rows, not of packed sequences.
    if logprobs { options.packing = nil }
    if options.packing == nil { options.shuffleSeed = nil }
    if assistantOnlyLoss { options.assistantOnlyLoss = true }
    if let completionOnlyLoss { options.completionOnlyLoss = completionOnlyLoss }
    return options
  }

  func run() async throws {
    let recipe = try config.map { try Recipe(commandLine: ["--config", $0]) }
    let options = options(recipe)
    // Find mistakes in the data before the model is loaded, if no step needs the model's template.
    var rows = try recipe == nil ? data.map { try DataFile.open($0.expandingTilde) } : nil
    let (model, _) = try await modelOptions.open(on: device)
    var tokenizer = try RowTokenizer(
      model.tokenizer, renderer: model.chatRenderer, eosToken: model.endOfSequence?.text,
      marksAssistant: options.assistantOnlyLoss)
    if let recipe {
      var recipe = try await DownloadProgress.show { try await recipe.locatingTemplate(progress: $0) }
      recipe.training.preparation.assistantOnlyLoss = options.assistantOnlyLoss
      let tokens = try recipe.tokens(of: model.tokenizer)
      tokenizer = try RowTokenizer(model.tokenizer, template: tokens.template, tokens.training)
      rows = try await self.rows(recipe, tokenizer)
    }
    guard let rows else { return }
    var bar = ProgressBar("evaluating", total: rows.count)
    let evaluation = try Evaluation(
      model, rows: rows, tokenizer: tokenizer, options: options, batchSize: batches.batchSize,
      logProbabilities: logprobs
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
