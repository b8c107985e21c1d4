import Auditing
import Checkpoints
import Collectives
import Datasets
import Diagnostics
import Essentials
import Models
import Recipes
import Reports
import Tensors
import Training

/// A training run from prepared rows to written results. `swiftlet sft` and `FineTuning` both carry it out.
public final class TrainingRun {
  /// The settings of the run.
  public let recipe: Recipe
  /// The model, with the adapter on it.
  public let model: CausalLM
  /// The adapter; `nil` if every weight is trained.
  public let adapter: Adapter?
  /// The device that computes, and the reason for its choice.
  public private(set) var device: DeviceSelection.Choice
  /// The folder of the results.
  public let output: URL
  /// The trainer, which holds the state of the run.
  public let trainer: Trainer
  /// The validation loss before training, for the loss curve and the model card; `nil` if it was not measured.
  public var lossBefore: Double?
  private let rows: PreparedRows
  private let reports: [any RunReport]
  private let estimator: RunEstimator

  /// Opens everything that a recipe names. Nothing is trained yet.
  /// - Parameters:
  ///   - recipe: the recipe.
  ///   - modelURL: the base model on this machine; see `ModelLocation`.
  ///   - teacherURL: the teacher on this machine, if the recipe names one; `nil` for the path in the recipe.
  ///   - data: the recipe's sources on this machine; see `DatasetLocation`.
  ///   - cache: where prepared rows are kept for the next run.
  ///   - backend: computes; `nil` for what the recipe's `device` selects.
  ///   - collective: the processes that share the run. All must create the same run and call the same functions; only
  ///     rank 0 writes files.
  ///   - loading: called with the number of layers read and of all layers, if they are quantized on loading.
  ///   - preparing: called with the number of rows prepared and of all rows.
  /// - Throws: `SwiftletError`, in the terms of a recipe.
  public convenience init(
    _ recipe: Recipe, modelURL: URL, teacherURL: URL? = nil, data: DataArguments? = nil, cache: PreparationCache? = nil,
    on backend: (any Backend)? = nil, collective: any Collective = SingleProcess(),
    loading: (Int, Int) -> Void = { _, _ in }, preparing: (_ done: Int, _ total: Int) -> Void = { _, _ in }
  ) throws {
    try RunAgreement(collective: collective).check(recipe)
    // Prepare the rows before the weights are read, to find mistakes in them sooner.
    let (files, tokenizer, tokens, rows) = try Recipe.translating {
      if collective.rank == 0 { try Self.checkWritable(URL(fileURLWithPath: recipe.training.outputDir)) }
      let plain = try ModelFiles(opening: modelURL)
      let tokens = try recipe.tokens(of: plain.tokenizer())
      let files = try plain.adding(tokens.added)
      let tokenizer = try files.tokenizer()
      let rowTokenizer = try RowTokenizer(tokenizer, template: tokens.template, tokens.training)
      var located = recipe
      located.data = data ?? recipe.data
      let rows = try RecipeRows(located, tokenizer: rowTokenizer)
      return (
        files, tokenizer, tokens,
        try collective.leadersFirst {
          try PreparedRows(
            training: rows.train, validation: rows.evaluation, tokenizer: rowTokenizer, recipe.training, cache: cache,
            progress: preparing)
        }
      )
    }
    let device =
      try backend.map { DeviceSelection.Choice(backend: $0) }
      ?? Self.open(recipe.model.device, collective)
    let quantization = recipe.model.quantization
    let model = try CausalLM(
      files, tokenizer: tokenizer, chatTemplate: tokens.template, on: device.backend, inFloat32: recipe.lora == nil,
      quantization: quantization, progress: quantization == nil ? { _, _ in } : loading)
    do {
      try self.init(
        recipe.taking(tokens, of: files), model: model, rows: rows, teacherURL: teacherURL, collective: collective)
      self.device = device
    } catch let error as SwiftletError {
      throw error.inRecipeTerms
    }
  }

  /// Sets up the run of a model on prepared rows: attaches the adapter, fits the batch into memory, and resumes, as the
  /// settings ask.
  package init(
    _ recipe: Recipe, model: CausalLM, rows: PreparedRows, teacherURL: URL? = nil,
    components: Trainer.Components = Trainer.Components(),
    callbacks: [any TrainerCallback] = [], collective: any Collective = SingleProcess()
  ) throws {
    var components = components
    if components.rewards == nil {
      components.rewards = try recipe.training.method.settings?.rewards(locate: recipe.locate)
    }
    let output = URL(fileURLWithPath: recipe.training.outputDir)
    if collective.rank == 0 {
      try Self.checkWritable(output)
      AtomicFolder.recover(in: output)
    }
    try RunAgreement(collective: collective).check(model, rows)
    // The saved files and the answers end with the token that the rows are trained to end with.
    if let token = recipe.training.eosToken { try model.setEndOfSequence(token) }
    // Like TRL, name a padding token even if the tokenizer has none.
    let implied = model.padding == nil ? model.endOfSequence?.text : nil
    if let token = recipe.training.padToken ?? implied { try model.setPadding(token) }
    if recipe.training.method.scoresSequences {
      try model.transformer.addSequenceHead(
        labels: rows.labels?.names ?? SequenceHead.defaultLabels(1), padding: model.padding?.id,
        seed: UInt64(truncatingIfNeeded: recipe.training.seed))
    }
    let adapter = try recipe.lora.map { lora in
      try Adapter(
        lora.training(addedTokens: model.files.addedTokenIDs, of: model.transformer), on: model.transformer,
        seed: UInt64(truncatingIfNeeded: recipe.training.seed))
    }
    let teacher = try recipe.training.distillation.map { distillation in
      let url = teacherURL ?? ModelLocation.file(in: URL(fileURLWithPath: recipe.locate(distillation.teacher)))
      return try CausalLM(opening: url, on: model.transformer.backend)
    }
    let estimator = RunEstimator(
      model, adapter: adapter, trainingSet: rows.training.set, validationSet: rows.validation?.set,
      updateRule: components.updateRule, teacher: teacher, ranks: collective.size, ranksPerHost: collective.hostSize)
    let configuration = try Self.fitting(recipe.training, estimator, collective)
    let reports = collective.rank == 0 ? recipe.reports.reports(output: output) : []
    trainer = try Trainer(
      model, adapter: adapter, configuration: configuration, trainingSet: rows.training.set,
      validationSet: rows.validation?.set, output: output, baseName: recipe.model.name,
      activationBudget: estimator.checkpointing(configuration).budget, callbacks: reports, components: components,
      collective: collective, rows: rows.sources.training, validationRows: rows.sources.validation, teacher: teacher)
    trainer.callbacks = callbacks
    self.recipe = recipe
    self.model = model
    device = DeviceSelection.Choice(backend: model.transformer.backend)
    self.adapter = adapter
    self.output = output
    self.rows = rows
    self.reports = reports
    self.estimator = estimator
    try resume()
  }

  /// Opens what computes, a GPU for each of the ranks on this host.
  private static func open(
    _ selection: DeviceSelection, _ collective: any Collective
  ) throws(SwiftletError) -> DeviceSelection.Choice {
    let devices = try selection.devices(forProcess: collective.hostRank, of: collective.hostSize)
    return try selection.open(among: devices)
  }

  /// The settings with the batch size that fits on every rank, if they ask for one.
  private static func fitting(
    _ configuration: TrainingConfiguration, _ estimator: RunEstimator, _ collective: any Collective
  ) throws(SwiftletError) -> TrainingConfiguration {
    guard configuration.findsBatchSize else { return configuration }
    var fitting = try estimator.fittingBatch(configuration)
    let least = try collective.minimum(fitting.trainBatchSize)
    while fitting.trainBatchSize > least, fitting.reduceBatch() {}
    return fitting
  }

  /// Fails now if the output folder cannot be written, rather than after training.
  private static func checkWritable(_ folder: URL) throws(SwiftletError) {
    do {
      try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
      let probe = folder.appendingPathComponent(".swiftlet-probe")
      try Data().write(to: probe)
      try FileManager.default.removeItem(at: probe)
    } catch {
      throw SwiftletError.training("`outputDir` \(folder.path) cannot be written; choose another folder")
    }
  }

  private func resume() throws {
    switch recipe.training.resume {
    case .fromStart: return
    // Rank 0 reads it for all.
    case .latest where trainer.collective.rank > 0: try trainer.resume(from: output)
    case .latest:
      guard let last = Trainer.checkpoints(in: output).last else {
        throw SwiftletError.training("\(output.path) has no checkpoint-N; leave out `resume`")
      }
      try trainer.resume(from: last)
    case .checkpoint(let path): try trainer.resume(from: URL(fileURLWithPath: recipe.locate(path)))
    }
  }

  // MARK: Running

  /// Trains until the last step, or until a callback stops or pauses the run.
  /// - Throws: `SwiftletError` if a loss is not finite or a checkpoint cannot be saved, in the terms of a recipe.
  @discardableResult public func train() throws -> Trainer.Ending { try Recipe.translating { try trainer.train() } }

  /// What the run needs, and what other settings would need.
  /// - Parameters:
  ///   - calibrated: whether to measure this machine for a second, to predict the time.
  ///   - ranks: the number of processes that share the run, each on a host like this one; `nil` for those of this run.
  ///   - network: what connects them; `nil` to predict the time of the computation only.
  public func plan(calibrated: Bool = false, ranks: Int? = nil, network: Network? = nil) throws -> RunPlan {
    try Recipe.translating {
      try estimator.plan(trainer.configuration, calibrated: calibrated, ranks: ranks, network: network)
    }
  }

  /// Tests which learning rates lower the loss. This trains the adapter or the weights, so don't train or save this run
  /// afterward; create another.
  /// - Parameter progress: called with the number of steps taken and of all.
  public func findLearningRate(
    progress: (Int, Int) -> Void = { _, _ in }
  ) throws -> LearningRateRangeTest {
    try Recipe.translating {
      if let metric = trainer.configuration.method.settings?.progressMetric {
        throw SwiftletError.training(
          "a learning rate for \(trainer.configuration.method.name.rawValue) cannot be found from the loss, because only "
            + "the \(metric) shows progress")
      }
      if trainer.configuration.distillation != nil {
        throw SwiftletError.training(
          "a learning rate is found by the loss of the rows' tokens, but a teacher's predictions are learned; set "
            + "`learningRate` yourself")
      }
      return try LearningRateRangeTest(
        model, adapter: adapter, configuration: trainer.configuration, trainingSet: rows.training.set,
        measured: (rows.validation ?? rows.training).set,
        activationBudget: estimator.checkpointing(trainer.configuration).budget, runSteps: trainer.state.maxSteps,
        runEpochs: trainer.state.numTrainEpochs, progress: progress)
    }
  }

  /// What published practice would find odd about the settings, a sentence each.
  public func advice(_ plan: RunPlan) -> [String] {
    recipe.advice(rows: rows.training.report.keptRows, steps: plan.steps, stepsPerEpoch: plan.stepsPerEpoch)
  }

  /// Asks the recipe's questions, or others, in the course of the run.
  /// - Throws: `SwiftletError` for a file of questions that cannot be read.
  public func interview(_ questions: [Prompt]? = nil) throws -> Interview {
    Interview(
      try questions ?? recipe.readQuestions(), of: model, maxNewTokens: recipe.data.maxNewTokens, output: output,
      after: trainer.state.globalStep)
  }

  /// Runs `body` with the model as it was before training.
  /// - Returns: `nil` if that model is gone: every weight is trained and the run was resumed.
  public func beforeTraining<Value>(_ body: () throws -> Value) rethrows -> Value? {
    if trainer.state.globalStep == 0 { return try body() }
    guard let adapter else { return nil }
    adapter.isEnabled = false
    defer { adapter.isEnabled = true }
    return try body()
  }

  /// The loss on the validation rows with the current weights; `nil` without such rows.
  public func evaluate() throws -> LossSums? { try rows.validation.map { try trainer.evaluate($0.set) } }

  // MARK: Facts

  /// The number of ranks that saved the checkpoint which this run continues from, if it isn't that of this run: the
  /// result is then not the same to the bit.
  public var otherRanksOfCheckpoint: Int? {
    trainer.resumedRanks.flatMap { $0 == trainer.collective.size ? nil : $0 }
  }

  /// The training rows as tokens and labels.
  package var trainingSet: TrainingSet { rows.training.set }

  /// What preparing the training rows found.
  public var report: PreparationReport { rows.training.report }

  /// The number of validation rows; `nil` if there are none.
  public var validationRows: Int? { rows.validation?.report.keptRows }

  /// The number of trained parameters, and of all parameters.
  public var parameterCounts: (trainable: Int, total: Int) {
    let trainable = trainer.parameters.reduce(0) { $0 + $1.value.count }
    let base = model.transformer.parameters.reduce(0) { $0 + $1.value.count }
    return (trainable, adapter == nil ? base : base + trainable)
  }

  /// The size of the weights in bytes, as stored and as it would be without 4-bit quantization.
  public var weightBytes: (stored: Int, unquantized: Int) {
    model.transformer.parameters.reduce(into: (0, 0)) { sum, parameter in
      let value = parameter.value
      sum.0 += value.totalByteCount
      sum.1 += value.scales.map { value.count * $0.original.blockByteCount } ?? value.byteCount
    }
  }

  /// The errors of reports that could not be written.
  public var reportFailures: [SwiftletError] { reports.compactMap { $0.failure?.inRecipeTerms } }

  // MARK: Results

  /// Writes the adapter or model, tokenizer, log, settings, loss curve and model card, and what `Verification` needs;
  /// of several ranks, only rank 0 does.
  /// - Parameter progress: called with the number of answers recorded for verification and of all.
  /// - Throws: `SwiftletError` if a file cannot be written.
  public func write(progress: (Int, Int) -> Void = { _, _ in }) throws {
    guard trainer.collective.rank == 0 else { return }
    try trainer.saveModel(to: output, type: trainer.savedElementType)
    try trainer.state.write(to: output.appendingPathComponent("trainer_state.json"))
    try recipe.writeArguments(to: output.appendingPathComponent("training_args.json"))
    try AtomicFile.write(
      report.json.text(.pretty) + "\n", to: output.appendingPathComponent("preparation_report.json"))
    // Without Cairo there is no picture. The log has the losses.
    if LossCurve.isAvailable { try writeLossCurve() }
    try writeCard()
    try recordVerification(progress)
  }

  /// Records losses and answers, or scores; tokenizer and template, for `Verification`.
  private func recordVerification(_ progress: (Int, Int) -> Void) throws {
    var record = try VerificationRecord(
      of: model, adapter: adapter, rows: (rows.validation ?? rows.training).set,
      answerCount: recipe.training.verificationAnswers, progress: progress)
    record.quantization = recipe.model.quantization
    record.validationLoss = trainer.state.logHistory.last { $0["eval_loss"] != nil }?["eval_loss"]?.double
    try record.write(for: output)
  }

  private func writeLossCurve() throws {
    let method = recipe.lora.map { "LoRA r=\($0.rank)" } ?? "full fine-tuning"
    let name = URL(fileURLWithPath: recipe.model.name).lastPathComponent
    let subtitle = "\(name), \(method)"
    var curve: LossCurve
    if let metric = recipe.training.method.settings?.progressMetric {
      let title = metric.prefix(1).uppercased() + metric.dropFirst()
      curve = LossCurve(title: title, subtitle: subtitle, state: trainer.state, metric: metric)
    } else {
      curve = LossCurve(title: "Training loss", subtitle: subtitle, state: trainer.state)
      if let lossBefore { curve.add(lossBefore: lossBefore) }
    }
    curve.apply(recipe.reports.lossCurve)
    try curve.write(to: output.appendingPathComponent("loss_curve.png"))
    try curve.write(to: output.appendingPathComponent("loss_curve.svg"))
  }

  /// Writes the model card.
  /// - Parameter answers: answers before and after training.
  /// - Throws: `SwiftletError` if the file cannot be written.
  public func writeCard(answers: [ModelCard.Answer] = []) throws {
    var card = ModelCard(recipe: recipe, state: trainer.state, files: model.files)
    card.lossBefore = lossBefore
    card.trainRows = rows.trainingRowCount
    card.validationRows = validationRows
    card.trainableParameters = parameterCounts.trainable
    card.totalParameters = parameterCounts.total
    card.answers = answers
    if !model.files.addedTokenIDs.isEmpty { card.vocabularySize = model.transformer.configuration.vocabularySize }
    card.labels = model.transformer.sequenceHead?.labels
    card.method = recipe.training.method.name.rawValue
    card.hasLossCurve = LossCurve.isAvailable
    try card.write(to: output)
  }
}

extension Recipe {
  /// The questions of the recipe; those of a file are read.
  /// - Throws: `SwiftletError` naming file and row.
  func readQuestions() throws(SwiftletError) -> [Prompt] {
    switch data.questions {
    case .inline(let questions): questions
    case .file(let path): try Prompt.read(locate(path))
    }
  }
}
