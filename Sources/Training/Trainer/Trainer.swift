import Collectives
import Datasets
import Diagnostics
import Essentials
import Models
import Tensors

/// Trains a model on prepared rows: visits them in the order of TRL's `SFTTrainer`, takes optimizer steps, logs,
/// evaluates and saves checkpoints. `Documentation/Numerics.md` describes what it computes.
///
/// `FineTuning` in the module `Swiftlet` prepares everything that a trainer needs. The members of the configuration
/// that concern rows, tokenizer and resuming are applied there.
public final class Trainer {
  /// The model, whose weights or adapter training changes.
  public let model: CausalLM
  /// The adapter; `nil` if every weight is trained.
  public let adapter: Adapter?
  /// The configuration that the run was created with.
  public let configuration: TrainingConfiguration
  /// Callbacks added after creation. They are called after those passed at creation.
  public var callbacks: [any TrainerCallback] = []
  /// The progress of the run.
  public internal(set) var state = TrainerState()

  /// What the configuration's loss, update rule and schedule can be replaced by.
  public struct Components: Sendable {
    /// A loss that replaces `lossType` and `labelSmoothing`.
    public var loss: (any TrainingLoss)?
    /// An update rule that replaces that of `optimizer`, whose weight decay still applies.
    public var updateRule: (any UpdateRule)?
    /// A learning rate schedule that replaces `scheduler`, its options and warmup.
    public var schedule: (any Schedule)?
    /// Rewards that replace those of the method `grpo`.
    public var rewards: [any Reward]?
    /// Replaces the model as the source of completions, for the method `grpo`.
    package var completions: (any CompletionSource & Sendable)?

    /// Creates components. Those that are `nil` follow the configuration.
    public init(
      loss: (any TrainingLoss)? = nil, updateRule: (any UpdateRule)? = nil, schedule: (any Schedule)? = nil,
      rewards: [any Reward]? = nil
    ) {
      self.loss = loss
      self.updateRule = updateRule
      self.schedule = schedule
      self.rewards = rewards
    }
  }

  /// How and why a run ended.
  public enum Ending: Sendable, Hashable {
    /// The run took all of its steps.
    case complete
    /// A callback stopped the run before its last step.
    case stopped
    /// A callback paused it. Resume from this checkpoint, which is `nil` if there is no output folder.
    case paused(checkpoint: URL?)
  }

  private let ownCallbacks: [any TrainerCallback]
  private var trainingSet: TrainingSet
  private var validationSet: TrainingSet?
  /// Makes the batches, if the run learns from the model's own completions.
  let rollouts: Rollouts?
  private let validationRows: (any RowSource)?
  package let output: URL?
  let baseName: String
  private let order: BatchOrder
  private let schedule: any Schedule
  let optimizer: Optimizer
  /// The ranks of the run.
  package let collective: any Collective
  let parallelism: DataParallelism?
  let step: TrainingStep
  private let actions: StepSchedule
  /// The steps left in the current epoch.
  private var epochSteps: ArraySlice<[[Int]]> = []
  private var begin = ContinuousClock.now
  /// The number of ranks that saved the checkpoint which this run continues from; `nil` if it starts anew. Known to
  /// rank 0 only.
  package var resumedRanks: Int?
  /// Seconds that the run took before it was resumed.
  var elapsedBefore = 0.0

  /// Creates a trainer.
  /// - Parameters:
  ///   - model: the model to train in place.
  ///   - adapter: an adapter on that model; `nil` to train every weight, which must be float32.
  ///   - configuration: how training runs.
  ///   - trainingSet: the rows to train on.
  ///   - validationSet: the rows for the validation loss.
  ///   - output: the folder for checkpoints; `nil` to save none.
  ///   - baseName: the name of the base model in the adapter's files.
  ///   - activationBudget: the memory for activations, in bytes, beyond which layers recompute theirs; `nil` to follow
  ///     `configuration.checkpointing`.
  ///   - callbacks: are told about the run's progress, and can end it.
  ///   - collective: the processes that share the run. All must create the same trainer and call the same functions.
  ///   - components: a loss, an update rule or a schedule of your own.
  ///   - rows: the rows that the training set was made of, whose columns rewards need; only for the method `grpo`.
  ///   - validationRows: those of the validation set.
  ///   - teacher: the model of `configuration.distillation`, whose predictions are learned.
  /// - Throws: `SwiftletError` for a configuration that contradicts itself, or rows that do not fit the model.
  public init(
    _ model: CausalLM, adapter: Adapter?, configuration: TrainingConfiguration, trainingSet: TrainingSet,
    validationSet: TrainingSet? = nil, output: URL? = nil, baseName: String = "", activationBudget: Int? = nil,
    callbacks: [any TrainerCallback] = [], components: Components = Components(),
    collective: any Collective = SingleProcess(), rows: (any RowSource)? = nil,
    validationRows: (any RowSource)? = nil, teacher: CausalLM? = nil
  ) throws(SwiftletError) {
    try Self.check(configuration, model, teacher)
    try Self.check(trainingSet, model)
    if let validationSet { try Self.check(validationSet, model) }
    try Self.check(configuration, hasValidationSet: validationSet != nil, hasOutput: output != nil)
    if let problem = configuration.methodProblem(trainsAdapter: adapter != nil) {
      throw SwiftletError.training(problem)
    }
    if let problem = configuration.routerLossProblem(model.transformer.configuration.experts) {
      throw SwiftletError.training(problem)
    }
    try Self.checkHead(configuration.method, model.transformer.sequenceHead, [trainingSet, validationSet])
    self.model = model
    self.adapter = adapter
    self.configuration = configuration
    self.trainingSet = trainingSet
    self.validationSet = validationSet
    self.output = output
    self.baseName = baseName
    ownCallbacks = callbacks + Self.earlyStopping(configuration)
    self.collective = collective
    order = BatchOrder(itemCount: trainingSet.items.count, configuration, ranks: collective.size)
    guard order.stepsPerEpoch > 0 else {
      if !trainingSet.items.isEmpty {
        throw SwiftletError.training(
          "there are \(trainingSet.items.count) rows, but a batch needs \(order.batchSize); add rows, or lower "
            + "`trainBatchSize`")
      }
      throw SwiftletError.training("there are no training rows; check the dataset and the steps that filter it")
    }
    rollouts = try Self.rollouts(model, configuration, trainingSet, rows, components, collective)
    self.validationRows = validationRows
    let total = configuration.totalSteps(stepsPerEpoch: order.stepsPerEpoch)
    schedule = components.schedule ?? LearningRateSchedule(configuration, totalSteps: total)
    actions = StepSchedule(configuration, totalSteps: total, stepsPerEpoch: order.stepsPerEpoch)
    let parameters = try Self.trainableParameters(model, adapter)
    let rules = try configuration.optimizer.updateRules(for: parameters, replacedBy: components.updateRule)
    if adapter?.hasExpertUpdates == true, components.updateRule == nil, !rules.allSatisfy(\.isElementwise) {
      throw SwiftletError.training(
        "`optimizer`: \(configuration.optimizer.kind.rawValue) depends on the rows and columns of A and B, which an adapter "
          + "on experts (target_parameters) has in another order than PEFT; use adamw_torch")
    }
    let parallelism = try DataParallelism(
      collective, parameters: parameters, trainsEveryWeight: adapter == nil, rules: rules,
      on: model.transformer.backend)
    self.parallelism = parallelism
    optimizer = try Optimizer(
      parameters, configuration.optimizer, rule: components.updateRule,
      embeddingRateFactor: configuration.embeddingRateFactor,
      warmupSteps: configuration.warmupStepCount(ofTotal: total), on: model.transformer.backend,
      pagesIn: output ?? FileManager.default.temporaryDirectory, parallelism: parallelism)
    let reference = configuration.method.settings?.referenceSettings.map {
      ReferenceModel(
        model.transformer, adapter: adapter, parameters: parameters, keepsWeights: !$0.isPrecomputed)
    }
    step = TrainingStep(
      transformer: model.transformer, parameters: parameters, configuration: configuration,
      loss: components.loss ?? configuration.loss,
      checkpoints: try Self.checkpoints(
        model, adapter, configuration, trainingSet, updateRule: components.updateRule, budget: activationBudget),
      reference: reference, teacher: teacher?.transformer,
      parallelism: parallelism)
    state = Self.initialState(configuration, order, actions)
    precomputeReference()
  }

  private static func rollouts(
    _ model: CausalLM, _ configuration: TrainingConfiguration, _ set: TrainingSet, _ rows: (any RowSource)?,
    _ components: Components, _ collective: any Collective
  ) throws(SwiftletError) -> Rollouts? {
    guard case .grpo(let settings) = configuration.method else { return nil }
    guard collective.size == 1 else {
      throw SwiftletError.training("grpo runs in one process; start it without mpirun")
    }
    guard let rows else { throw SwiftletError.training("grpo needs the rows of its prompts; pass `rows`") }
    return try Rollouts(
      model, settings, configuration, prompts: Rollouts.Prompts(set: set, rows: rows), source: components.completions,
      rewards: components.rewards)
  }

  /// Computes the reference's log-probabilities, if the method asks for it. The weights are still those before training.
  private func precomputeReference() {
    guard let reference = configuration.method.settings?.referenceSettings, reference.isPrecomputed else { return }
    let size = reference.precomputeBatchSize
    step.precomputeReference(of: &trainingSet, batchSize: size ?? configuration.trainBatchSize)
    if var set = validationSet {
      step.precomputeReference(of: &set, batchSize: size ?? configuration.evalBatchSize)
      validationSet = set
    }
  }

  private static func check(
    _ configuration: TrainingConfiguration, hasValidationSet: Bool, hasOutput: Bool
  ) throws(SwiftletError) {
    if configuration.evalStrategy != .no, !hasValidationSet {
      throw SwiftletError.training(
        "`evalStrategy`: \(configuration.evalStrategy.rawValue) needs validation rows; set `validationSet`")
    }
    if configuration.loadBestModelAtEnd, !hasOutput {
      throw SwiftletError.training("`loadBestModelAtEnd` needs an output folder to keep the best checkpoint in")
    }
    if configuration.labelSmoothing > 0, configuration.lossType == .dft {
      throw SwiftletError.training("`labelSmoothing` cannot be combined with `lossType` dft; leave out one of them")
    }
    if let problem = configuration.schedulerOptions.problem(
      for: configuration.scheduler, peak: configuration.learningRate)
    {
      throw SwiftletError.training("`schedulerOptions` \(problem)")
    }
  }

  /// Checks that the teacher of a distillation predicts the model's tokens.
  private static func check(
    _ configuration: TrainingConfiguration, _ model: CausalLM, _ teacher: CausalLM?
  ) throws(SwiftletError) {
    guard let distillation = configuration.distillation else { return }
    guard configuration.method == .sft else {
      throw SwiftletError.training("`distillation` belongs to sft, not to \(configuration.method.name.rawValue)")
    }
    guard configuration.labelSmoothing == 0, configuration.lossType != .dft else {
      throw SwiftletError.training(
        "`labelSmoothing` and `lossType` concern the tokens of the rows, but a teacher's predictions are learned; leave "
          + "them out")
    }
    guard (0...1).contains(distillation.beta), distillation.temperature > 0, distillation.temperature.isFinite else {
      throw SwiftletError.training("`beta` must be from 0 to 1, and `temperature` positive")
    }
    guard let teacher else { throw SwiftletError.training("distillation needs a teacher; pass `teacher`") }
    try teacher.checkGenerates()
    let sizes = [model, teacher].map(\.transformer.configuration.vocabularySize)
    guard sizes[0] == sizes[1] else {
      throw SwiftletError.training(
        "the teacher has a vocabulary of \(sizes[1]) tokens, but the model one of \(sizes[0]); use a teacher with the "
          + "same tokenizer")
    }
    func spelling(_ token: Int32, _ model: CausalLM) -> [UInt8]? { model.tokenizer.token(token).map { Array($0.utf8) } }
    if let token = (0..<Int32(clamping: sizes[0])).first(where: { spelling($0, model) != spelling($0, teacher) }) {
      throw SwiftletError.training(
        "token \(token) is another one for the teacher than for the model; use a teacher with the same tokenizer")
    }
  }

  /// Checks that the model has the head that the method trains, for the labels that the rows have.
  private static func checkHead(
    _ method: TrainingMethod, _ head: SequenceHead?, _ sets: [TrainingSet?]
  ) throws(SwiftletError) {
    guard method.scoresSequences else {
      if head == nil { return }
      throw SwiftletError.training(
        "the model is a sequence classifier, which \(method.name.rawValue) can't train; use a language model")
    }
    let largest = sets.compactMap { $0?.values.max() }.max() ?? 0
    let isFitting = head.map { method.name == .reward ? $0.isReward : Int(largest) < $0.labels.count } ?? false
    guard isFitting else {
      throw SwiftletError.training("the model has no head for the labels of the rows; add one with `TrainingRun`")
    }
  }

  private static func earlyStopping(_ configuration: TrainingConfiguration) -> [any TrainerCallback] {
    guard let patience = configuration.earlyStoppingPatience else { return [] }
    return [EarlyStopping(patience: patience, threshold: configuration.earlyStoppingThreshold)]
  }

  private static func checkpoints(
    _ model: CausalLM, _ adapter: Adapter?, _ configuration: TrainingConfiguration, _ trainingSet: TrainingSet,
    updateRule: (any UpdateRule)?, budget: Int?
  ) throws(SwiftletError) -> CheckpointingPlan {
    if let budget { return CheckpointingPlan(activations: ActivationMemory(model.transformer), budget: budget) }
    return try RunEstimator(model, adapter: adapter, trainingSet: trainingSet, updateRule: updateRule)
      .checkpointing(configuration)
  }

  private static func initialState(
    _ configuration: TrainingConfiguration, _ order: BatchOrder, _ actions: StepSchedule
  ) -> TrainerState {
    var state = TrainerState()
    state.maxSteps = actions.totalSteps
    state.numTrainEpochs =
      configuration.maxSteps == nil
      ? Int(clamping: configuration.epochs.rounded(.up))
      : (actions.totalSteps + order.stepsPerEpoch - 1) / order.stepsPerEpoch
    state.trainBatchSize = configuration.trainBatchSize
    state.loggingSteps = actions.loggingSteps
    state.evalSteps = actions.evalSteps
    state.saveSteps = actions.saveSteps
    return state
  }

  /// Checks that the model has every token of the rows, which may have been tokenized elsewhere.
  /// - Throws: `SwiftletError` naming the row and the token.
  package static func check(_ set: TrainingSet, _ model: CausalLM) throws(SwiftletError) {
    let ids = Int32(0)..<Int32(clamping: model.transformer.configuration.vocabularySize)
    guard let bounds = set.idBounds, !ids.contains(bounds.lowerBound) || !ids.contains(bounds.upperBound) else {
      return
    }
    for index in 0..<set.documentCount {
      guard let example = set.example(index) else { continue }
      let stray =
        example.ids.first { !ids.contains($0) }
        ?? example.labels.first { !ids.contains($0) && $0 != TokenBatch.ignoredLabel }
      if let stray {
        throw SwiftletError.training(
          "row \(example.row + 1): token \(stray) is not in the model's vocabulary of \(ids.upperBound); "
            + "tokenize the rows with the model's tokenizer")
      }
    }
  }

  private static func trainableParameters(_ model: CausalLM, _ adapter: Adapter?) throws(SwiftletError) -> [Parameter] {
    if let adapter { return adapter.parameters }
    for parameter in model.transformer.parameters {
      guard parameter.value.type == .float32 else {
        throw SwiftletError.training(
          "\(parameter.name) is \(parameter.value.type), but training every weight needs float32; "
            + "open the model in float32"
        )
      }
      guard !parameter.value.storage.isMappedFile else {
        throw SwiftletError.training(
          "\(parameter.name) is in read-only memory; open the model in float32 to train every weight")
      }
      parameter.isTrainable = true
    }
    return model.transformer.parameters
  }

  /// The parameters that training changes.
  public var parameters: [Parameter] { step.parameters }

  // MARK: Running

  /// Trains until the last step, or until a callback stops or pauses the run. Then loads the best checkpoint if
  /// `loadBestModelAtEnd` is set.
  /// - Throws: `SwiftletError` if a loss is not finite or a checkpoint cannot be saved.
  @discardableResult public func train() throws -> Ending {
    var hasNextStep = try start()
    while hasNextStep { hasNextStep = try advance() }
    return try finish()
  }

  /// Starts or resumes a run: tells the callbacks, and evaluates if an evaluation is due.
  /// - Returns: whether there is a step to take.
  package func start() throws -> Bool {
    for callback in allCallbacks { callback.trainingBegan(state) }
    epochSteps = []
    begin = ContinuousClock.now
    if try isEvaluationDue() {
      try evaluateAndLog()
      if state.globalStep > 0, actions.actions(at: try position()).saves { try saveCheckpoint() }
    }
    let position = try position()
    return !actions.actions(at: position).ends && !position.isPausing
  }

  /// Takes one optimizer step and does what follows it: log, evaluate, save.
  /// - Returns: whether there is another step to take.
  package func advance() throws -> Bool {
    try exchangeWeights(forEvaluation: false)
    let (epoch, firstStep) = order.position(after: state.globalStep)
    if epochSteps.isEmpty { epochSteps = order.steps(epoch: epoch, from: firstStep)[...] }
    guard let items = epochSteps.popFirst() else { return false }
    let own = items.enumerated().filter { $0.offset % collective.size == collective.rank }.map(\.element)
    let report = try take(batches(own, after: batchCount(after: state.globalStep)))
    record(report, epoch: epoch, stepsInEpoch: firstStep)
    for callback in allCallbacks { callback.stepEnded(report, state) }
    var due = actions.actions(at: try position(canPause: false))
    if due.logs { log(report) }
    if due.evaluates { try evaluateAndLog() }
    // The evaluation may have found the best loss, or made a callback stop the run.
    let position = try position()
    due = actions.actions(at: position)
    if due.saves { try saveCheckpoint() }
    return !due.ends && !position.isPausing
  }

  /// Makes the weights those to evaluate and save, or those to train, if the optimizer distinguishes them.
  func exchangeWeights(forEvaluation: Bool) throws {
    if try optimizer.exchangeWeights(forEvaluation: forEvaluation) { adapter?.parametersChanged() }
  }

  private func batches(_ items: [[Int]], after first: Int) throws -> [TokenBatch] {
    guard let rollouts else { return items.map { trainingSet.batch($0) } }
    return try rollouts.batches(of: items, after: first) { batch in
      step.logProbabilities(of: batch, temperature: rollouts.temperature)
    }
  }

  /// The number of batches in the first `steps` steps of the run, on each rank.
  func batchCount(after steps: Int) -> Int {
    let (epoch, step) = order.position(after: steps)
    return epoch * order.batchesPerEpoch + min(step * order.accumulationSteps, order.batchesPerEpoch)
  }

  /// Ends a run: saves the checkpoint of a pause, or loads the best checkpoint; then tells the callbacks.
  package func finish() throws -> Ending {
    let ending: Ending
    if try position().isPausing {
      try saveCheckpoint(resumable: true)
      ending = .paused(checkpoint: output?.appendingPathComponent("checkpoint-\(state.globalStep)"))
    } else {
      // Rank 0 may still be writing the best checkpoint.
      try collective.barrier()
      try exchangeWeights(forEvaluation: true)
      if configuration.loadBestModelAtEnd, let best = state.bestModelCheckpoint, let output {
        try readWeights(from: output.appendingPathComponent(URL(fileURLWithPath: best).lastPathComponent))
      }
      ending = state.globalStep == state.maxSteps ? .complete : .stopped
    }
    for callback in allCallbacks { callback.trainingEnded(ending, state) }
    return ending
  }

  var allCallbacks: [any TrainerCallback] { ownCallbacks + callbacks }

  private var wantsPause: Bool { allCallbacks.contains { $0.shouldPause() } }

  /// The position in the run. All ranks agree on it: if one should stop or pause, all do.
  /// - Parameter canPause: whether callbacks can request a pause.
  private func position(canPause: Bool = true) throws(SwiftletError) -> StepSchedule.Position {
    let wantsStop = allCallbacks.contains { $0.shouldStop(state) }
    let votes = try collective.sum([wantsStop ? 1 : 0, canPause && wantsPause ? 1 : 0])
    return StepSchedule.Position(
      step: state.globalStep, epoch: state.epoch, isStopping: votes[0] > 0, isPausing: votes[1] > 0,
      isBest: state.bestGlobalStep == state.globalStep)
  }

  /// Whether an evaluation is due that has not been logged: before the first step, or after a step whose evaluation a
  /// pause interrupted.
  private func isEvaluationDue() throws(SwiftletError) -> Bool {
    actions.actions(at: try position()).evaluates
      && !state.logHistory.contains { $0["eval_loss"] != nil && $0["step"]?.integer == state.globalStep }
  }

  /// Seconds since the first step began, those before a resume included.
  var elapsed: Double { elapsedBefore + (ContinuousClock.now - begin) / .seconds(1) }

  /// Computes gradients and updates the weights.
  private func take(_ batches: [TokenBatch]) throws -> StepReport {
    let (own, norm) = try step.gradients(batches, step: state.globalStep)
    let (sums, tokens) = try summed(own, tokens: batches.reduce(0) { $0 + $1.ids.count })
    let rate = schedule.rate(at: state.globalStep, of: state.maxSteps)
    let limit = configuration.maxGradNorm
    // PyTorch adds 1e-6 to the norm and never scales up.
    let scale = limit > 0 ? min(1, limit / (norm + 1e-6)) : 1
    optimizer.update(learningRate: rate, gradientScale: Float(scale))
    try parallelism?.gatherWeights()
    adapter?.parametersChanged()
    return StepReport(
      step: state.globalStep + 1, loss: sums.loss / Double(max(1, sums.count)), gradientNorm: norm, learningRate: rate,
      tokens: tokens, predictedTokens: sums.count, correctTokens: sums.correct, metrics: sums.metrics)
  }

  /// The sums over all ranks.
  private func summed(_ sums: LossSums, tokens: Int = 0) throws(SwiftletError) -> (sums: LossSums, tokens: Int) {
    guard collective.size > 1 else { return (sums, tokens) }
    let names = step.metricNames
    let metrics = names.map { sums.metrics[$0] ?? MetricSum(0, weight: 0) }
    let all = try collective.sum(
      [sums.loss, Double(sums.count), Double(sums.correct), sums.entropy, Double(tokens)]
        + metrics.flatMap { [$0.sum, $0.weight] })
    var total = LossSums()
    (total.loss, total.count, total.correct) = (all[0], Int(all[1]), Int(all[2]))
    total.entropy = all[3]
    for (index, name) in names.enumerated() {
      let (sum, weight) = (all[5 + 2 * index], all[6 + 2 * index])
      if weight > 0 { total.metrics[name] = MetricSum(sum, weight: weight) }
    }
    return (total, Int(all[4]))
  }

  private func record(_ report: StepReport, epoch: Int, stepsInEpoch: Int) {
    let batches = min((stepsInEpoch + 1) * order.accumulationSteps, order.batchesPerEpoch)
    state.globalStep += 1
    state.epoch = Double(epoch) + Double(batches) / Double(order.batchesPerEpoch)
    state.numInputTokensSeen += report.tokens
    state.unlogged.add(report)
    if let settings = configuration.method.settings?.referenceSettings, settings.isSynced,
      state.globalStep % settings.syncSteps == 0
    {
      step.reference?.mix(share: settings.mixup)
    }
  }

  private func log(_ last: StepReport) {
    let log = TrainingLog(
      step: state.globalStep, epoch: state.epoch, loss: state.unlogged.meanLoss, gradNorm: last.gradientNorm,
      learningRate: last.learningRate, numTokens: state.numInputTokensSeen,
      meanTokenAccuracy: step.loss.metricNames.isEmpty ? state.unlogged.accuracy : nil, elapsed: elapsed,
      metrics: state.unlogged.metrics.mapValues { $0.mean })
    state.unlogged = UnloggedSteps()
    state.append(log)
    for callback in allCallbacks { callback.logged(log, state) }
  }

  // MARK: Evaluating

  /// The sums of the losses over a set, which do not depend on the batch size. All ranks must call it together.
  /// - Throws: `SwiftletError` if another rank fails, and what the loss throws.
  public func evaluate(_ set: TrainingSet) throws -> LossSums {
    try sums(over: set) { false } ?? LossSums()
  }

  /// The sums of the losses over a set; `nil` if `isInterrupted` returned true before the end.
  private func sums(over set: TrainingSet, until isInterrupted: () -> Bool) throws -> LossSums? {
    try exchangeWeights(forEvaluation: true)
    var sums = LossSums()
    let size = rollouts?.validationPrompts ?? max(1, configuration.evalBatchSize)
    for start in stride(from: collective.rank * size, to: set.items.count, by: size * collective.size) {
      // Ranks could not agree on an interruption here without waiting for each other at every batch.
      if collective.size == 1, isInterrupted() { return nil }
      sums += try step.validate(validationBatch(start..<min(set.items.count, start + size), of: set))
    }
    return try summed(sums).sums
  }

  private func validationBatch(_ items: Range<Int>, of set: TrainingSet) throws -> TokenBatch {
    guard let rollouts else { return set.batch(items) }
    guard let validationRows else {
      throw SwiftletError.training("grpo needs the rows of its validation prompts; pass `validationRows`")
    }
    return try rollouts.validationBatch(items, of: Rollouts.Prompts(set: set, rows: validationRows))
  }

  private func evaluateAndLog() throws {
    guard let validationSet else { return }
    let begin = ContinuousClock.now
    guard let sums = try sums(over: validationSet, until: { wantsPause }) else { return }
    let log = EvaluationLog(
      step: state.globalStep, epoch: state.epoch, loss: sums.loss / Double(max(1, sums.count)), tokens: sums.count,
      runtime: (ContinuousClock.now - begin) / .seconds(1), metrics: sums.metrics.mapValues { $0.mean })
    // If this is the best, saving its checkpoint sets the path.
    state.append(log, checkpoint: state.bestModelCheckpoint)
    for callback in allCallbacks { callback.evaluated(log, state) }
  }
}
