import Diagnostics
import Checkpoints
import Datasets
import Foundation
import Models
import Tensors
import Recipes
import Reports
import Training

/// A recipe carried out: model opened, rows prepared, adapter attached, trained, and everything written that the
/// journeys promise.
public final class TrainingRun {
  /// What is carried out.
  public let recipe: Recipe
  /// The model, with the adapter on it.
  public let model: CausalLM
  /// The adapter, unless every weight is trained.
  public let adapter: Adapter?
  /// What preparing the training rows found.
  public let report: PreparationReport
  /// Where the results go.
  public let output: URL
  /// The trainer.
  public let trainer: SFTTrainer
  private let evaluation: (set: TrainingSet, report: PreparationReport)?
  private let trainRows: Int
  private let reports: [any RunReport]
  private let estimator: RunEstimator

  /// Opens and prepares all that the recipe names; nothing is trained yet.
  /// - Parameters:
  ///   - recipe: what is carried out.
  ///   - modelURL: where the base model is.
  ///   - data: the recipe's sources once they are on this machine, see `DatasetLocation`.
  ///   - cache: where prepared rows are kept for the next run, and out of memory.
  ///   - backend: what computes.
  ///   - loading: told how many layers have been read, and of how many, where they are quantized on the way.
  ///   - preparing: told how many of how many rows are prepared.
  /// - Throws: one-sentence errors of the modules involved.
  public init(
    _ recipe: Recipe, modelURL: URL, data: DataArguments? = nil, cache: PreparationCache? = nil,
    on backend: any Backend = CPUBackend.shared, loading: (Int, Int) -> Void = { _, _ in },
    preparing: (_ done: Int, _ total: Int) -> Void = { _, _ in }
  ) throws {
    try Self.checkSupported(recipe)
    self.recipe = recipe
    output = URL(fileURLWithPath: recipe.training.outputDir)
    try Self.checkWritable(output)
    AtomicFolder.recover(in: output)
    let files = try ModelFiles(opening: modelURL)
    let tokenizer = try files.tokenizer()
    let template = try recipe.chatTemplate()
    let rowTokenizer = try RowTokenizer(
      tokenizer, template: template, eosToken: recipe.training.eosToken,
      marksAssistant: recipe.training.assistantOnlyLoss)
    var located = recipe
    located.data = data ?? recipe.data
    let rows = try RecipeRows(located, tokenizer: rowTokenizer)
    func prepare(_ rows: any RowSource, forEvaluation: Bool) throws -> Preparation.Outcome {
      let options = PreparationOptions(recipe, forEvaluation: forEvaluation)
      return try Preparation(rowTokenizer, options: options, cache: cache)
        .prepare(rows) { preparing($0, rows.count) }
    }
    let prepared = try prepare(rows.train, forEvaluation: false)
    report = prepared.report
    trainRows = rows.train.count
    evaluation = try rows.evaluation.map { try prepare($0, forEvaluation: true) }
    let quantization = recipe.model.quantization
    model = try CausalLM(
      files, tokenizer: tokenizer, chatTemplate: template, on: backend, inFloat32: recipe.lora == nil,
      quantization: quantization, progress: quantization == nil ? { _, _ in } : loading)
    let transformer = model.transformer
    adapter = try recipe.lora.map {
      try Adapter(LoRAConfiguration($0), on: transformer, seed: UInt64(truncatingIfNeeded: recipe.training.seed))
    }
    estimator = RunEstimator(model, adapter: adapter, trainingSet: prepared.set, evaluationSet: evaluation?.set)
    let estimator = estimator
    let arguments = try Recipe.translating {
      try recipe.training.findsBatchSize ? estimator.fittingBatch(recipe.training) : recipe.training
    }
    let reports = recipe.reports.reports(output: output)
    self.reports = reports
    let (model, adapter, validation, output) = (model, adapter, evaluation, output)
    trainer = try Recipe.translating {
      try SFTTrainer(
        model, adapter: adapter, arguments: arguments, trainingSet: prepared.set,
        evaluationSet: validation?.set, output: output, baseName: recipe.model.modelNameOrPath,
        activationBudget: estimator.checkpointing(arguments).budget, callbacks: reports)
    }
    try Recipe.translating { try resume() }
  }

  /// Trains to the end, or until a callback stops or pauses the run.
  /// - Throws: `SwiftletError` for a loss that is not finite, or where saving fails.
  @discardableResult public func train() throws -> SFTTrainer.Ending {
    try Recipe.translating { try trainer.train() }
  }

  private static func checkSupported(_ recipe: Recipe) throws(SwiftletError) {
    if recipe.lora?.usesDoRA == true { throw SwiftletError.training("use_dora is not supported yet; leave it out") }
  }

  /// A folder that cannot be written is found out before the run, not after.
  private static func checkWritable(_ folder: URL) throws(SwiftletError) {
    do {
      try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
      let probe = folder.appendingPathComponent(".swiftlet-probe")
      try Data().write(to: probe)
      try FileManager.default.removeItem(at: probe)
    } catch {
      throw SwiftletError.training("output_dir \(folder.path) cannot be written; choose another with --output_dir")
    }
  }

  /// The recipe's questions, or these instead, to be asked along the run.
  /// - Throws: `SwiftletError` for a file of questions that cannot be read.
  public func interview(_ questions: [Question]? = nil) throws -> Interview {
    Interview(
      try questions ?? recipe.readQuestions(), of: model, maxNewTokens: recipe.data.maxNewTokens, output: output,
      after: trainer.state.globalStep)
  }

  /// What `body` gives for the model as it was before its training; `nil` where that model is gone, since every weight
  /// was trained and the run taken up again.
  public func beforeTraining<Value>(_ body: () throws -> Value) rethrows -> Value? {
    if trainer.state.globalStep == 0 { return try body() }
    guard let adapter else { return nil }
    adapter.isEnabled = false
    defer { adapter.isEnabled = true }
    return try body()
  }

  private func resume() throws {
    switch recipe.training.resume {
    case .fromStart: return
    case .latest:
      guard let last = SFTTrainer.checkpoints(in: output).last else {
        throw SwiftletError.training(
          "\(output.path) has no checkpoint-N to resume from; leave out resume_from_checkpoint")
      }
      try trainer.resume(from: last)
    case .checkpoint(let path): try trainer.resume(from: URL(fileURLWithPath: recipe.locate(path)))
    }
  }

  /// Weights that training changes, and all there are.
  public var parameterCounts: (trainable: Int, total: Int) {
    let trainable = trainer.parameters.reduce(0) { $0 + $1.value.count }
    let base = model.transformer.parameters.reduce(0) { $0 + $1.value.count }
    return (trainable, adapter == nil ? base : base + trainable)
  }

  /// Bytes that the model's weights take, as stored, and what they would take if none were 4-bit codes.
  public var weightBytes: (stored: Int, unquantized: Int) {
    model.transformer.parameters.reduce(into: (0, 0)) { sum, parameter in
      let value = parameter.value
      sum.0 += value.totalByteCount
      sum.1 += value.scales.map { value.count * $0.original.blockByteCount } ?? value.byteCount
    }
  }

  /// What the run needs, and what other settings would.
  /// - Parameter calibrated: whether to measure for a second how long it will take.
  public func plan(calibrated: Bool = false) throws -> RunPlan {
    try estimator.plan(trainer.arguments, calibrated: calibrated)
  }

  /// The number of held-out rows.
  public var evaluationRows: Int? { evaluation?.report.keptRows }

  /// The loss on the held-out rows as the model is now; `nil` without such rows.
  public func evaluate() -> LossSums? { evaluation.map { trainer.evaluate($0.set) } }

  /// Writes the adapter or model, tokenizer, log, arguments, loss curve and model card.
  public func write() throws {
    try trainer.saveModel(to: output)
    try trainer.state.write(to: output.appendingPathComponent("trainer_state.json"))
    try recipe.writeArguments(to: output.appendingPathComponent("training_args.json"))
    try AtomicFile.write(
      report.json.text(.pretty) + "\n", to: output.appendingPathComponent("preparation_report.json"))
    let method = recipe.lora.map { "LoRA r=\($0.rank)" } ?? "every weight"
    let name = URL(fileURLWithPath: recipe.model.modelNameOrPath).lastPathComponent
    let curve = LossCurve(title: "Training loss", subtitle: "\(name), \(method)", state: trainer.state)
    try curve.write(to: output.appendingPathComponent("loss_curve.png"))
    try curve.write(to: output.appendingPathComponent("loss_curve.svg"))
    try writeCard()
  }

  /// What the reports could not write.
  public var reportFailures: [SwiftletError] { reports.compactMap { $0.failure?.inRecipeTerms } }

  /// Writes the model card.
  public func writeCard(answers: [ModelCard.Answer] = []) throws {
    var card = ModelCard(recipe: recipe, state: trainer.state)
    card.trainRows = trainRows
    card.validationRows = evaluationRows
    card.trainableParameters = parameterCounts.trainable
    card.totalParameters = parameterCounts.total
    card.answers = answers
    try card.write(to: output)
  }
}

extension Recipe {
  /// The questions of the recipe, those of a file read.
  /// - Throws: `SwiftletError` naming file and row.
  func readQuestions() throws(SwiftletError) -> [Question] {
    switch data.questions {
    case .inline(let questions): questions.map { Question($0.text, system: $0.system) }
    case .file(let path): try Question.read(locate(path))
    }
  }
}
