import Checkpoints
import Datasets
import Foundation
import Models
import Tensors

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

  /// Opens and prepares all that the recipe names; nothing is trained yet.
  /// - Parameters:
  ///   - modelURL: where the base model is.
  ///   - data: the recipe's sources once they are on this machine, see `DatasetLocation`.
  ///   - cache: where prepared rows are kept for the next run, and out of memory.
  ///   - preparing: told how many of how many rows are prepared.
  /// - Throws: one-sentence errors of the modules involved.
  public init(
    _ recipe: Recipe, modelURL: URL, data: DataArguments? = nil, cache: PreparationCache? = nil,
    on backend: any Backend = CPUBackend.shared, preparing: (_ done: Int, _ total: Int) -> Void = { _, _ in }
  ) throws {
    try Self.checkSupported(recipe)
    self.recipe = recipe
    output = URL(fileURLWithPath: recipe.training.outputDir)
    try Self.checkWritable(output)
    let files = try ModelFiles(opening: modelURL)
    let tokenizer = try files.tokenizer()
    let template = try recipe.chatTemplate()
    let rowTokenizer = try RowTokenizer(
      tokenizer, template: template, endOfText: recipe.training.eosToken,
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
    model = try CausalLM(files, tokenizer: tokenizer, chatTemplate: template, on: backend, widened: recipe.lora == nil)
    let decoder = model.decoder
    adapter = try recipe.lora.map {
      try Adapter(LoRAConfiguration($0), on: decoder, seed: UInt64(truncatingIfNeeded: recipe.training.seed))
    }
    trainer = try SFTTrainer(
      model, adapter: adapter, arguments: recipe.training, trainingSet: prepared.set,
      evaluationSet: evaluation?.set, output: output, baseName: recipe.model.modelNameOrPath,
      activationBudget: Self.activationBudget(recipe))
    try resume()
  }

  /// Layers are checkpointed once their activations would take more than this.
  private static func activationBudget(_ recipe: Recipe) -> Int {
    let isAsked = recipe.origins["gradient_checkpointing"] != nil
    if isAsked, recipe.training.gradientCheckpointing { return 0 }
    return isAsked ? .max : Int(ProcessInfo.processInfo.physicalMemory / 4)
  }

  private static func checkSupported(_ recipe: Recipe) throws(TrainingError) {
    if recipe.model.loadIn4Bit {
      throw TrainingError("load_in_4bit is not supported yet; a GGUF base can be 4-bit already")
    }
    if recipe.training.findsBatchSize {
      throw TrainingError("auto_find_batch_size is not supported yet; set per_device_train_batch_size")
    }
    if recipe.lora?.initialization == .gaussian {
      throw TrainingError("init_lora_weights: gaussian is not supported yet; leave it out")
    }
    if recipe.lora?.usesDoRA == true { throw TrainingError("use_dora is not supported yet; leave it out") }
  }

  /// A folder that cannot be written is found out before the run, not after.
  private static func checkWritable(_ folder: URL) throws(TrainingError) {
    do {
      try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
      let probe = folder.appendingPathComponent(".swiftlet-probe")
      try Data().write(to: probe)
      try FileManager.default.removeItem(at: probe)
    } catch {
      throw TrainingError("output_dir \(folder.path) cannot be written; choose another with --output_dir")
    }
  }

  private func resume() throws {
    switch recipe.training.resume {
    case .fromStart: return
    case .latest:
      guard let last = SFTTrainer.checkpoints(in: output).last else {
        throw TrainingError("\(output.path) has no checkpoint-N to resume from; leave out resume_from_checkpoint")
      }
      try trainer.resume(from: last)
    case .checkpoint(let path): try trainer.resume(from: URL(fileURLWithPath: recipe.locate(path)))
    }
  }

  /// Weights that training changes, and all there are.
  public var parameterCounts: (trainable: Int, total: Int) {
    let trainable = trainer.parameters.reduce(0) { $0 + $1.value.count }
    let base = model.decoder.parameters.reduce(0) { $0 + $1.value.count }
    return (trainable, adapter == nil ? base : base + trainable)
  }

  /// Bytes that the model's weights take, as stored.
  public var weightBytes: Int { model.decoder.parameters.reduce(0) { $0 + $1.value.byteCount } }

  /// The number of held-out rows.
  public var evaluationRows: Int? { evaluation?.report.keptRows }

  /// The loss on the held-out rows as the model is now; `nil` without such rows.
  public func evaluate() -> LossSums? { evaluation.map { trainer.evaluate($0.set) } }

  /// Writes the adapter or model, tokenizer, log, arguments, loss curve and model card.
  public func write(answers: [ModelCard.Answer] = []) throws {
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
    var facts = ModelCard.Facts()
    facts.trainRows = trainRows
    facts.evalRows = evaluationRows
    facts.trainableParameters = parameterCounts.trainable
    facts.totalParameters = parameterCounts.total
    facts.answers = answers
    try ModelCard(recipe: recipe, state: trainer.state, facts: facts).write(to: output)
  }
}

extension LoRAConfiguration {
  /// The configuration that a recipe's keys describe.
  init(_ arguments: LoRAArguments) {
    self.init()
    r = arguments.rank
    loraAlpha = arguments.alpha
    loraDropout = arguments.dropout
    useRSLoRA = arguments.usesRSLoRA
    modulesToSave = arguments.modulesToSave
    for pattern in arguments.rankPattern { rankPattern[pattern.pattern] = pattern.value }
    for pattern in arguments.alphaPattern { alphaPattern[pattern.pattern] = pattern.value }
    switch arguments.targetModules {
    case .allLinear: targetModules = .allLinear
    case .names(let names): targetModules = .names(names)
    case .pattern(let pattern): targetModules = .pattern(pattern)
    case nil: targetModules = .names(["q_proj", "v_proj", "qkv_proj"])
    }
  }
}
