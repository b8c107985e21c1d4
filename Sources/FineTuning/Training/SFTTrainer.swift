import Checkpoints
import Datasets
import Foundation
import Models
import Tensors

/// Supervised fine-tuning: goes over prepared rows in the reference's order, takes AdamW steps, logs, evaluates and
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
  public private(set) var state = TrainerState()

  private let trainingSet: TrainingSet
  private let evaluationSet: TrainingSet?
  private let output: URL?
  private let baseName: String
  private let order: BatchOrder
  private let schedule: LearningRateSchedule
  private let optimizer: AdamW
  private let step: TrainingStep
  private var elapsedBefore = 0.0

  /// - Parameters:
  ///   - adapter: on the model already; `nil` to train every weight, which must be float32 (`widened`).
  ///   - output: where checkpoints go; `nil` for none.
  ///   - baseName: what the adapter's files call the base model.
  ///   - activationBudget: bytes that activations may take before layers are checkpointed.
  /// - Throws: `TrainingError` for arguments that this trainer cannot honour.
  public init(
    _ model: CausalLM, adapter: Adapter?, arguments: TrainingArguments, trainingSet: TrainingSet,
    evaluationSet: TrainingSet? = nil, output: URL? = nil, baseName: String = "", activationBudget: Int = 2 << 30
  ) throws(TrainingError) {
    try Self.checkSupported(arguments)
    self.model = model
    self.adapter = adapter
    self.arguments = arguments
    self.trainingSet = trainingSet
    self.evaluationSet = evaluationSet
    self.output = output
    self.baseName = baseName
    order = BatchOrder(
      itemCount: trainingSet.items.count, batchSize: arguments.trainBatchSize,
      accumulationSteps: arguments.gradientAccumulationSteps,
      seed: UInt64(truncatingIfNeeded: arguments.dataSeed ?? arguments.seed),
      sampling: arguments.samplingStrategy == .random ? .random : .sequential, dropsLast: arguments.dropsLastBatch)
    guard order.stepsPerEpoch > 0 else {
      throw TrainingError("there are no training rows; check the data set and the steps that filter it")
    }
    let total = arguments.maxSteps ?? Int((arguments.epochs * Double(order.stepsPerEpoch)).rounded(.up))
    schedule = LearningRateSchedule(arguments, totalSteps: total)
    let parameters = try Self.trainable(model, adapter)
    optimizer = AdamW(parameters, arguments, on: model.decoder.backend)
    step = TrainingStep(
      decoder: model.decoder, parameters: parameters, arguments: arguments,
      checkpoints: CheckpointingPlan(model.decoder.configuration, budget: activationBudget))
    state.maxSteps = total
    state.numTrainEpochs = arguments.maxSteps == nil
      ? Int(arguments.epochs.rounded(.up)) : (total + order.stepsPerEpoch - 1) / order.stepsPerEpoch
    state.trainBatchSize = arguments.trainBatchSize
    state.loggingSteps = TrainingArguments.interval(arguments.loggingSteps, ofTotal: total)
    state.evalSteps = TrainingArguments.interval(arguments.evalSteps ?? arguments.loggingSteps, ofTotal: total)
    state.saveSteps = TrainingArguments.interval(arguments.saveSteps, ofTotal: total)
  }

  private static func checkSupported(_ arguments: TrainingArguments) throws(TrainingError) {
    if arguments.lossType == .dft { throw TrainingError("loss_type: dft is not supported yet; leave it out") }
    if arguments.neftuneNoiseAlpha != nil {
      throw TrainingError("neftune_noise_alpha is not supported yet; leave it out")
    }
    if arguments.optimizer.isEightBit {
      throw TrainingError("optim: \(arguments.optimizer.rawValue) is not supported yet; use adamw_torch")
    }
  }

  private static func trainable(_ model: CausalLM, _ adapter: Adapter?) throws(TrainingError) -> [Parameter] {
    if let adapter { return adapter.parameters }
    for parameter in model.decoder.parameters {
      guard parameter.value.type == .float32 else {
        throw TrainingError("\(parameter.name) is \(parameter.value.type); training every weight needs float32")
      }
      parameter.isTrainable = true
    }
    return model.decoder.parameters
  }

  /// What is trained.
  public var parameters: [Parameter] { step.parameters }

  // MARK: Running

  /// Trains to the end, or until a callback stops it.
  /// - Throws: `TrainingError` for a loss that is not finite, `CheckpointError` where saving fails.
  public func train() throws {
    for callback in callbacks { callback.trainingBegins(state) }
    let clock = ContinuousClock()
    let begin = clock.now
    func elapsed() -> Double { elapsedBefore + (clock.now - begin) / .seconds(1) }
    if arguments.evalOnStart, state.globalStep == 0 { try evaluateAndLog() }
    var since = Window()
    while state.globalStep < state.maxSteps {
      let (epoch, firstStep) = order.position(after: state.globalStep)
      for items in order.steps(epoch: epoch, from: firstStep) {
        let report = try take(items.map { trainingSet.batch($0) })
        since.add(report)
        state.globalStep += 1
        state.epoch = Double(state.globalStep) / Double(order.stepsPerEpoch)
        state.numInputTokensSeen += report.tokens
        for callback in callbacks { callback.stepEnded(report, state) }
        let endsEpoch = state.globalStep % order.stepsPerEpoch == 0
        if isDue(arguments.loggingStrategy, every: state.loggingSteps, endsEpoch)
          || (arguments.logsFirstStep && state.globalStep == 1)
        {
          log(since, elapsed: elapsed())
          since = Window()
        }
        if isDue(arguments.evalStrategy, every: state.evalSteps, endsEpoch) { try evaluateAndLog() }
        if isSaveDue(endsEpoch) { try saveCheckpoint(elapsed: elapsed()) }
        let isStopped = callbacks.contains { $0.shouldStop(state) }
        if isStopped || state.globalStep == state.maxSteps {
          if since.steps > 0, arguments.loggingStrategy != .no { log(since, elapsed: elapsed()) }
          return
        }
      }
    }
  }

  /// One optimizer step on these batches.
  private func take(_ batches: [Batch]) throws(TrainingError) -> StepReport {
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

  /// Steps since the last log.
  private struct Window {
    var steps = 0
    var loss = 0.0
    var sums = LossSums()
    var last: StepReport?

    mutating func add(_ report: StepReport) {
      steps += 1
      loss += report.loss
      sums += report.sums
      last = report
    }
  }

  private func log(_ window: Window, elapsed: Double) {
    guard let last = window.last else { return }
    let log = TrainingLog(
      step: state.globalStep, epoch: state.epoch, loss: window.loss / Double(window.steps), gradNorm: last.gradientNorm,
      learningRate: last.learningRate, numTokens: state.numInputTokensSeen,
      meanTokenAccuracy: Double(window.sums.correct) / Double(max(1, window.sums.count)), elapsed: elapsed)
    state.append(log)
    for callback in callbacks { callback.logged(log, state) }
  }

  private func isDue(_ strategy: TrainingArguments.IntervalStrategy, every steps: Int, _ endsEpoch: Bool) -> Bool {
    switch strategy {
    case .no: false
    case .steps: state.globalStep % max(1, steps) == 0
    case .epoch: endsEpoch
    }
  }

  private func isSaveDue(_ endsEpoch: Bool) -> Bool {
    switch arguments.saveStrategy {
    case .no: false
    case .steps: state.globalStep % max(1, state.saveSteps) == 0
    case .epoch: endsEpoch
    case .best: state.bestGlobalStep == state.globalStep
    }
  }

  // MARK: Evaluating

  /// The mean loss a token over `set`, whatever the batch size.
  public func evaluate(_ set: TrainingSet) -> LossSums {
    var sums = LossSums()
    let size = max(1, arguments.evalBatchSize)
    for start in stride(from: 0, to: set.items.count, by: size) {
      sums += TrainingStep.loss(set.batch(start..<min(set.items.count, start + size)), model.decoder)
    }
    return sums
  }

  private func evaluateAndLog() throws {
    guard let evaluationSet else { return }
    let begin = ContinuousClock().now
    let sums = evaluate(evaluationSet)
    let log = EvaluationLog(
      step: state.globalStep, epoch: state.epoch, loss: sums.loss / Double(max(1, sums.count)), tokens: sums.count,
      runtime: (ContinuousClock().now - begin) / .seconds(1))
    state.append(log, checkpoint: output?.appendingPathComponent("checkpoint-\(state.globalStep)").path)
    for callback in callbacks { callback.evaluated(log, state) }
  }

  // MARK: Saving

  /// Writes what was trained: the adapter, or the whole model; and the tokenizer.
  public func saveModel(to folder: URL) throws {
    if let adapter {
      try adapter.write(to: folder, base: baseName)
    } else {
      try model.write(to: folder, type: .float32)
    }
    try model.tokenizer.writeFiles(to: folder)
  }

  /// Writes `checkpoint-N` beside its predecessors, whole or not at all.
  private func saveCheckpoint(elapsed: Double) throws {
    guard let output else { return }
    let name = "checkpoint-\(state.globalStep)"
    let folder = output.appendingPathComponent(name)
    try AtomicFolder.write(folder) { temporary in
      try saveModel(to: temporary)
      if !arguments.saveOnlyModel {
        try optimizer.write(to: temporary.appendingPathComponent("optimizer.safetensors"))
      }
      try state.write(to: temporary.appendingPathComponent("trainer_state.json"))
    }
    if let limit = arguments.saveTotalLimit { removeCheckpoints(beyond: limit, in: output) }
    for callback in callbacks { callback.saved(name, state) }
  }

  private func removeCheckpoints(beyond limit: Int, in output: URL) {
    let kept = max(1, limit)
    let best = state.bestModelCheckpoint.map { URL(fileURLWithPath: $0).lastPathComponent }
    let removable = Self.checkpoints(in: output).filter {
      !(arguments.loadBestModelAtEnd && $0.lastPathComponent == best)
    }
    for folder in removable.dropLast(kept) { try? FileManager.default.removeItem(at: folder) }
  }

  /// The complete `checkpoint-N` folders in `output`, by rising N.
  public static func checkpoints(in output: URL) -> [URL] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: output.path)) ?? []
    let numbered = names.compactMap { name in
      name.hasPrefix("checkpoint-") ? Int(name.dropFirst("checkpoint-".count)).map { ($0, name) } : nil
    }
    return numbered.sorted { $0.0 < $1.0 }.map { output.appendingPathComponent($0.1) }
  }

  /// Takes a run up where a checkpoint left it: weights, moments, schedule, data order and log go on as if nothing had
  /// happened.
  /// - Throws: `TrainingError` or `CheckpointError` if the checkpoint does not belong to this run.
  public func resume(from folder: URL) throws {
    let saved = try TrainerState(contentsOf: folder.appendingPathComponent("trainer_state.json"))
    guard saved.maxSteps == state.maxSteps else {
      throw TrainingError(
        "\(folder.path) is of a run of \(saved.maxSteps) steps, this one has \(state.maxSteps); resume with the same "
          + "recipe and data")
    }
    let file = adapter == nil ? nil : folder.appendingPathComponent("adapter_model.safetensors")
    let weights = try SafetensorsCheckpoint(path: file ?? folder)
    for parameter in parameters {
      let name = adapter == nil ? parameter.name : Adapter.fileName(of: parameter)
      guard let tensor = weights.tensor(named: name), tensor.count == parameter.value.count, tensor.type == .float32
      else { throw TrainingError("\(folder.path) has no float32 tensor \(name) that fits this run") }
      let count = tensor.count
      model.decoder.backend.copyRows(
        Columns(tensor.reshaped([1, count])), 0, to: Columns(parameter.value.reshaped([1, count])), 0, count: 1)
    }
    try optimizer.read(from: folder.appendingPathComponent("optimizer.safetensors"))
    guard optimizer.step == saved.globalStep else {
      throw TrainingError("\(folder.path): the optimizer is at step \(optimizer.step), the log at \(saved.globalStep)")
    }
    elapsedBefore = saved.logHistory.last?["elapsed_s"]?.double ?? 0
    state = saved
  }
}
