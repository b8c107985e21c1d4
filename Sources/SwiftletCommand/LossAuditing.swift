import Auditing
import Datasets
import Diagnostics
import Essentials
import Models
import Swiftlet
import Terminal

/// The part of `swiftlet audit` that runs a model over the rows.
struct LossAuditing {
  private let recipe: Recipe
  private let rows: RecipeRows
  private let adapterFolder: String?
  private let most: Int

  /// - Parameters:
  ///   - adapter: the folder of an adapter to compare with the base model.
  ///   - most: the most rows of each set to measure.
  init(_ recipe: Recipe, _ rows: RecipeRows, adapter: String?, most: Int) {
    self.recipe = recipe
    self.rows = rows
    adapterFolder = adapter
    self.most = most
  }

  /// The findings of both models.
  func findings() async throws -> [Finding] {
    let url = try await DownloadProgress.show {
      try await ModelLocation.find(
        recipe.locate(recipe.model.name), revision: recipe.model.revision, progress: $0)
    }
    let device = try recipe.model.device.open(
      kernelCache: DeviceSelection.kernelCache(environment: ProcessInfo.processInfo.environment))
    let folder = adapterFolder.map { URL(fileURLWithPath: $0.expandingTilde) }
    let plain = try ModelFiles(opening: url)
    let tokens = try recipe.tokens(of: plain.tokenizer())
    let files = try plain.adding(tokens.added).extended(by: folder)
    let model = try CausalLM(
      files, tokenizer: files.tokenizer(), chatTemplate: tokens.template, on: device.backend,
      quantization: recipe.model.quantization)
    let training = RowLosses.sample(rows.train.count, count: most)
    if training.count < rows.train.count {
      Printing.note(
        "Measuring \(training.count) of \(rows.train.count) rows, evenly spread; --loss-rows N changes that.")
    }
    let base = try measure(model, tokens, rows.train, training, "base model")
    Printing.note("Loss under the base model: \(base.summary).")
    let audit = LossAudit(base: base)
    guard let folder else { return audit.beforeTraining() }

    let held = rows.evaluation.map { RowLosses.sample($0.count, count: most) } ?? []
    let heldBase = try rows.evaluation.map { try measure(model, tokens, $0, held, "base model, validation") }
    let adapter = try Adapter(reading: folder, onto: model.transformer)
    defer { withExtendedLifetime(adapter) {} }
    let trained = try measure(model, tokens, rows.train, training, "adapter")
    Printing.note("Loss with the adapter: \(trained.summary).")
    let heldTrained = try rows.evaluation.map { try measure(model, tokens, $0, held, "adapter, validation") }
    var neighbors: [Int: [Int]] = [:]
    if let evaluation = rows.evaluation {
      neighbors = LossAudit.neighbors(
        of: training, in: rows.train, among: held, in: evaluation,
        textField: recipe.training.preparation.textField)
    }
    let validation = heldBase.flatMap { before in heldTrained.map { (before, $0) } }
    return audit.beforeTraining() + audit.afterTraining(trained, neighbors: neighbors, validation: validation)
  }

  private func measure(
    _ model: CausalLM, _ tokens: RecipeTokens, _ source: any RowSource, _ indices: [Int], _ label: String
  ) throws -> RowLosses {
    let tokenizer = try RowTokenizer(model.tokenizer, template: tokens.template, tokens.training)
    var bar = ProgressBar("measuring: \(label)", total: indices.count, quantity: .items("rows"))
    defer { bar.clear() }
    return try RowLosses(model, source, indices, tokenizer: tokenizer, options: recipe.training.preparation) {
      bar.update($0, total: $1)
    }
  }
}
