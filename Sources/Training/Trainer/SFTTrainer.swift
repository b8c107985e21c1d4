import Diagnostics
import Checkpoints
import Datasets
import Foundation
import Models
import Tensors

/// Supervised fine-tuning: goes over prepared rows in the reference's order, takes optimizer steps, logs, evaluates and
/// saves. What it computes is TRL's `SFTTrainer`; DESIGN in `Documentation/Numerics.md`.
public final class SFTTrainer {
  /// The model that is trained, in place.
  public let model: CausalLM
  /// The adapter, or `nil` where every weight is trained.
  public let adapter: Adapter?
  /// How training runs.
  public let arguments: TrainingArguments
  /// Asked along the way.
  public var callbacks: [any TrainerCallback] = []
  /// How far the run is.
  public internal(set) var state = TrainerState()
  /// Callbacks passed at creation, and the early stop that the arguments ask for.
  private let ownCallbacks: [any TrainerCallback]

  private let trainingSet: TrainingSet
  private let evaluationSet: TrainingSet?
  package let output: URL?
  let baseName: String
  private let order: BatchOrder
  private let schedule: LearningRateSchedule
  let optimizer: Optimizer
  private let step: TrainingStep
  private var begin = ContinuousClock.now
  /// Seconds that the run took before it was interrupted.
  var elapsedBefore = 0.0

  /// A trainer of `model` on rows that are prepared.
  /// - Parameters:
  ///   - model: what is trained, in place.
  ///   - adapter: on the model already; `nil` to train every weight, which must be float32 (`widened`).
  ///   - arguments: how training runs.
  ///   - trainingSet: the rows to train on.
  ///   - evaluationSet: the rows to evaluate on.
  ///   - output: where checkpoints go; `nil` for none.
  ///   - baseName: what the adapter's files call the base model.
  ///   - activationBudget: bytes that activations may take before layers are checkpointed; `nil` for what the
  ///     arguments say and the machine has.
  ///   - callbacks: told of every event before those in `self.callbacks`.
  /// - Throws: `SwiftletError` for arguments that this trainer cannot honour.
  public init(
    _ model: CausalLM, adapter: Adapter?, arguments: TrainingArguments, trainingSet: TrainingSet,
    evaluationSet: TrainingSet? = nil, output: URL? = nil, baseName: String = "", activationBudget: Int? = nil,
    callbacks: [any TrainerCallback] = []
  ) throws(SwiftletError) {
    try Self.check(trainingSet, model)
    if let evaluationSet { try Self.check(evaluationSet, model) }
    if arguments.evalStrategy != .no, evaluationSet == nil {
      throw SwiftletError.training(
        "`evalStrategy`: \(arguments.evalStrategy.rawValue) needs validation rows; set `validationSet`")
    }
    if arguments.loadBestModelAtEnd, output == nil {
      throw SwiftletError.training("`loadBestModelAtEnd` needs an output folder to keep the best checkpoint in")
    }
    self.model = model
    self.adapter = adapter
    self.arguments = arguments
    self.trainingSet = trainingSet
    self.evaluationSet = evaluationSet
    self.output = output
    self.baseName = baseName
    ownCallbacks = callbacks + Self.earlyStop(arguments)
    order = BatchOrder(itemCount: trainingSet.items.count, arguments)
    guard order.stepsPerEpoch > 0 else {
      throw SwiftletError.training("there are no training rows; check the data set and the steps that filter it")
    }
    let total = arguments.totalSteps(stepsPerEpoch: order.stepsPerEpoch)
    schedule = LearningRateSchedule(arguments, totalSteps: total)
    let parameters = try Self.trainable(model, adapter)
    optimizer = try Optimizer(
      parameters, arguments, on: model.transformer.backend,
      pagesIn: output ?? FileManager.default.temporaryDirectory)
    let checkpoints =
      if let activationBudget {
        CheckpointingPlan(activations: ActivationMemory(model.transformer), budget: activationBudget)
      } else {
        try RunEstimator(model, adapter: adapter, trainingSet: trainingSet).checkpointing(arguments)
      }
    step = TrainingStep(
      transformer: model.transformer, parameters: parameters, arguments: arguments, checkpoints: checkpoints)
    state.maxSteps = total
    state.numTrainEpochs =
      arguments.maxSteps == nil
      ? Int(clamping: arguments.epochs.rounded(.up)) : (total + order.stepsPerEpoch - 1) / order.stepsPerEpoch
    state.trainBatchSize = arguments.trainBatchSize
    state.loggingSteps = TrainingArguments.interval(arguments.loggingSteps, ofTotal: total)
    state.evalSteps = TrainingArguments.interval(arguments.evalSteps ?? arguments.loggingSteps, ofTotal: total)
    state.saveSteps = TrainingArguments.interval(arguments.saveSteps, ofTotal: total)
  }

  private static func earlyStop(_ arguments: TrainingArguments) -> [any TrainerCallback] {
    guard let patience = arguments.earlyStoppingPatience else { return [] }
    return [EarlyStopping(patience: patience, threshold: arguments.earlyStoppingThreshold)]
  }

  /// Rows that hold tokens already may hold ids that the model does not have.
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
          "row \(example.row + 1) has the token \(stray), the model has \(ids.upperBound); tokenize it with the model's "
            + "tokenizer")
      }
    }
  }

  private static func trainable(_ model: CausalLM, _ adapter: Adapter?) throws(SwiftletError) -> [Parameter] {
    if let adapter { return adapter.parameters }
    for parameter in model.transformer.parameters {
      guard parameter.value.type == .float32 else {
        throw SwiftletError.training(
          "\(parameter.name) is \(parameter.value.type); training every weight needs float32")
      }
      parameter.isTrainable = true
    }
    return model.transformer.parameters
  }

  /// What is trained.
  public var parameters: [Parameter] { step.parameters }

  // MARK: Running

  /// How a run ended.
  public enum Ending: Sendable, Hashable {
    /// After its last step.
    case complete
    /// A callback ended it before that.
    case stopped
    /// A callback wants it to be resumed later, from this checkpoint; `nil` where there is no output folder.
    case paused(checkpoint: URL?)
  }

  /// Trains to the end, or until a callback stops it; then takes the best checkpoint's weights back if asked to.
  /// - Throws: `SwiftletError` for a loss that is not finite, or where saving fails.
  @discardableResult public func train() throws -> Ending {
    for callback in allCallbacks { callback.trainingBegins(state) }
    begin = ContinuousClock.now
    if isEvaluationOwed {
      try evaluateAndLog()
      if state.globalStep > 0 { try saveIfDue(isLast: isOver) }
    }
    var goesOn = !isOver && !isPaused
    while goesOn {
      let (epoch, firstStep) = order.position(after: state.globalStep)
      for items in order.steps(epoch: epoch, from: firstStep) {
        goesOn = try advance(items)
        if !goesOn { break }
      }
    }
    if isPaused {
      try saveCheckpoint(resumable: true)
      return .paused(checkpoint: output?.appendingPathComponent("checkpoint-\(state.globalStep)"))
    }
    if arguments.loadBestModelAtEnd, let best = state.bestModelCheckpoint, let output {
      try readWeights(from: output.appendingPathComponent(URL(fileURLWithPath: best).lastPathComponent))
    }
    return state.globalStep == state.maxSteps ? .complete : .stopped
  }

  /// One optimizer step on these batches of items, and what is due after it; whether the run goes on.
  private func advance(_ items: [[Int]]) throws -> Bool {
    let report = try take(items.map { trainingSet.batch($0) })
    let (epoch, stepsInEpoch) = order.position(after: state.globalStep)
    let batches = min((stepsInEpoch + 1) * order.accumulationSteps, order.batchesPerEpoch)
    state.globalStep += 1
    state.epoch = Double(epoch) + Double(batches) / Double(order.batchesPerEpoch)
    state.numInputTokensSeen += report.tokens
    state.unlogged.add(report)
    for callback in allCallbacks { callback.stepEnded(report, state) }
    let isLast = isOver
    if isDue(arguments.loggingStrategy, every: state.loggingSteps, isLast)
      || (arguments.logsFirstStep && state.globalStep == 1)
    {
      log(report)
    }
    if isEvaluationDue(isLast) { try evaluateAndLog() }
    try saveIfDue(isLast: isOver)
    return !isOver && !isPaused
  }

  /// A pause saves at its end, whatever is due.
  private func saveIfDue(isLast: Bool) throws { if !isPaused, isSaveDue(isLast) { try saveCheckpoint() } }

  /// Callbacks of the arguments first.
  var allCallbacks: [any TrainerCallback] { ownCallbacks + callbacks }

  /// Whether the run has taken its last step.
  private var isOver: Bool {
    state.globalStep >= state.maxSteps || allCallbacks.contains { $0.shouldStop(state) }
  }

  private var isPaused: Bool { allCallbacks.contains { $0.shouldPause() } }

  /// Seconds since the first step began, those before an interruption included.
  var elapsed: Double { elapsedBefore + (ContinuousClock.now - begin) / .seconds(1) }

  /// The weights' part of one optimizer step.
  private func take(_ batches: [TokenBatch]) throws(SwiftletError) -> StepReport {
    let (sums, norm) = try step.gradients(batches, step: state.globalStep)
    let rate = schedule.rate(at: state.globalStep)
    let limit = arguments.maxGradNorm
    // torch adds 1e-6 to the norm and never scales up.
    let scale = limit > 0 ? min(1, limit / (norm + 1e-6)) : 1
    optimizer.update(learningRate: rate, gradientScale: Float(scale))
    return StepReport(
      loss: sums.loss / Double(max(1, sums.count)), gradientNorm: norm, learningRate: rate,
      tokens: batches.reduce(0) { $0 + $1.ids.count }, sums: sums)
  }

  private func log(_ last: StepReport) {
    let log = TrainingLog(
      step: state.globalStep, epoch: state.epoch, loss: state.unlogged.meanLoss, gradNorm: last.gradientNorm,
      learningRate: last.learningRate, numTokens: state.numInputTokensSeen,
      meanTokenAccuracy: state.unlogged.accuracy, elapsed: elapsed)
    state.unlogged = UnloggedSteps()
    state.append(log)
    for callback in allCallbacks { callback.logged(log, state) }
  }

  /// As in transformers, what recurs also happens after the last step.
  private func isDue(_ strategy: TrainingArguments.IntervalStrategy, every steps: Int, _ isLast: Bool) -> Bool {
    switch strategy {
    case .no: false
    case .steps: isLast || state.globalStep % max(1, steps) == 0
    case .epoch: isLast || state.globalStep % order.stepsPerEpoch == 0
    }
  }

  private func isEvaluationDue(_ isLast: Bool) -> Bool {
    let begun = arguments.evalStrategy == .epoch ? state.epoch : Double(state.globalStep)
    return arguments.evalDelay <= begun && isDue(arguments.evalStrategy, every: state.evalSteps, isLast)
  }

  /// Whether an evaluation before the first step is wanted, or one that a pause kept from being made.
  private var isEvaluationOwed: Bool {
    if state.globalStep == 0 ? !arguments.evalOnStart : !isEvaluationDue(isOver) { return false }
    return !state.logHistory.contains { $0["eval_loss"] != nil && $0["step"]?.integer == state.globalStep }
  }

  private func isSaveDue(_ isLast: Bool) -> Bool {
    let isBest = state.bestGlobalStep == state.globalStep
    // What is to be taken back in the end has to be there.
    if isBest, arguments.loadBestModelAtEnd { return true }
    switch arguments.saveStrategy {
    case .no: return false
    case .steps: return isDue(.steps, every: state.saveSteps, isLast)
    case .epoch: return isDue(.epoch, every: 1, isLast)
    case .best: return isBest
    }
  }

  // MARK: Evaluating

  /// The sums of the losses over `set`; they do not depend on the batch size.
  public func evaluate(_ set: TrainingSet) -> LossSums { sums(over: set) { false } ?? LossSums() }

  /// The sums of the losses over `set`; `nil` once `isCut` says so.
  private func sums(over set: TrainingSet, until isCut: () -> Bool) -> LossSums? {
    var sums = LossSums()
    let size = max(1, arguments.evalBatchSize)
    for start in stride(from: 0, to: set.items.count, by: size) {
      if isCut() { return nil }
      sums += TrainingStep.loss(set.batch(start..<min(set.items.count, start + size)), model.transformer)
    }
    return sums
  }

  private func evaluateAndLog() throws {
    guard let evaluationSet else { return }
    let begin = ContinuousClock.now
    guard let sums = sums(over: evaluationSet, until: { isPaused }) else { return }
    let log = EvaluationLog(
      step: state.globalStep, epoch: state.epoch, loss: sums.loss / Double(max(1, sums.count)), tokens: sums.count,
      runtime: (ContinuousClock.now - begin) / .seconds(1))
    // Where it is saved, saving will tell.
    state.append(log, checkpoint: state.bestModelCheckpoint)
    for callback in allCallbacks { callback.evaluated(log, state) }
  }
}
