import Diagnostics
import Datasets
import Models
import Tensors

/// Estimates what a training run will need, with its settings or with others. Plans, automatic checkpointing and
/// `findsBatchSize` all use it.
package struct RunEstimator {
  private let model: CausalLM
  private let adapter: Adapter?
  private let updateRule: (any UpdateRule)?
  private let teacher: Transformer?
  private let set: TrainingSet
  private let sizes: [Workload.Size]
  private let evaluationSizes: [Workload.Size]
  /// The lengths of the prefixes that all training sequences, and all validation sequences, share.
  private let shared: Int
  private let evaluationShared: Int
  private let activations: ActivationMemory
  /// The machine's memory when the estimator was created, and the part that the program itself used.
  let system: SystemMemory
  private let program: Int
  /// The processes that share the run.
  private var ranks: Int

  /// - Parameters:
  ///   - updateRule: replaces the update rule of the configurations, whose state it estimates.
  ///   - teacher: the model whose predictions are learned, if there is one.
  ///   - ranks: the processes that share the run.
  ///   - ranksPerHost: how many of them share this machine's memory.
  package init(
    _ model: CausalLM, adapter: Adapter?, trainingSet: TrainingSet, validationSet: TrainingSet? = nil,
    updateRule: (any UpdateRule)? = nil, teacher: CausalLM? = nil, system: SystemMemory? = nil, ranks: Int = 1,
    ranksPerHost: Int = 1
  ) {
    let backend = model.transformer.backend
    var system = system ?? SystemMemory.of(backend)
    if backend.availableMemory == nil { system = system.shared(by: ranksPerHost) }
    self.ranks = ranks
    self.model = model
    self.adapter = adapter
    self.updateRule = updateRule
    self.teacher = teacher?.transformer
    set = trainingSet
    sizes = Workload.itemSizes(trainingSet)
    evaluationSizes = validationSet.map { Workload.itemSizes($0) } ?? []
    let canShare = model.transformer.canSharePrefix
    shared = canShare ? trainingSet.sharedPrefix() : 0
    evaluationShared = canShare ? validationSet?.sharedPrefix() ?? 0 : 0
    activations = ActivationMemory(model.transformer)
    self.system = system
    program = max(0, system.resident - backend.memoryStatistics.inUse)
  }

  /// The same run shared by another number of processes, each on a host of its own.
  private func shared(by ranks: Int) -> RunEstimator {
    var other = self
    other.ranks = max(1, ranks)
    return other
  }

  // MARK: Settings

  /// Settings to estimate.
  struct Settings {
    var configuration: TrainingConfiguration
    var maxLength = Int.max
    var quantizes = false
  }

  // MARK: Plans

  /// What a run with these settings needs.
  /// - Parameters:
  ///   - calibrated: whether to measure this machine for a second, to predict the time.
  ///   - ranks: plans for another number of ranks, each on a host like this one.
  ///   - network: what connects the ranks; `nil` to predict the time of the computation only.
  package func plan(
    _ configuration: TrainingConfiguration, calibrated: Bool, ranks: Int? = nil, network: Network? = nil
  ) throws(SwiftletError) -> RunPlan {
    if let ranks, ranks != self.ranks {
      return try shared(by: ranks).plan(configuration, calibrated: calibrated, network: network)
    }
    let workload = self.workload(Settings(configuration: configuration))
    let memory = try memory(Settings(configuration: configuration), workload)
    var plan = RunPlan(
      memory: memory, system: system, steps: workload.steps, tokens: workload.tokens,
      stepsPerEpoch: BatchOrder(itemCount: sizes.count, configuration).stepsPerEpoch, tokensPerEpoch: set.tokenCount,
      largestBatch: workload.largest.tokens, sharedPrefix: workload.shared)
    plan.ranks = self.ranks
    plan.exchange = network.map { exchange(over: $0, backward: 0) }
    var calibration: Calibration?
    if calibrated {
      let measured = try Calibration(
        model.transformer, configuration, updateRule: updateRule, trained: trained, trainsWeights: adapter == nil,
        tokens: workload.largest.tokens,
        length: Int(workload.total.squares / Double(max(1, workload.total.tokens))))
      calibration = measured
      var seconds = seconds(workload, memory, measured)
      if let network {
        let batch = seconds / Double(max(1, workload.steps * configuration.gradientAccumulationSteps))
        let exchange = exchange(over: network, backward: batch * (adapter == nil ? 2 / 3 : 1 / 2))
        plan.exchange = exchange
        seconds += Double(workload.steps) * exchange.exposed
      }
      plan.time = RunPlan.Time(
        step: seconds / Double(max(1, workload.steps)), total: seconds,
        operationsPerSecond: measured.operationsPerSecond)
    }
    // Alternatives matter to someone who reads the plan, or if the run does not fit.
    guard calibrated || !plan.fits else { return plan }
    for change in changes(of: configuration) {
      let workload = self.workload(change.settings)
      let memory = try self.memory(change.settings, workload)
      plan.alternatives.append(
        RunPlan.Alternative(
          change: change.change, memory: memory,
          secondsPerStep: calibration.map { seconds(workload, memory, $0) / Double(max(1, workload.steps)) },
          fits: memory.needed <= system.reachable, changesResult: change.changesResult))
    }
    return plan
  }

  /// - Parameter backward: the time of a step's last backward pass, in seconds.
  private func exchange(over network: Network, backward: Double) -> ExchangeEstimate {
    let isInHostMemory = model.transformer.backend.availableMemory == nil
    let parameters = adapter?.parameters ?? model.transformer.parameters
    let inLayers = parameters.reduce(0) { $0 + ($1.name.contains(".layers.") ? $1.value.count : 0) }
    return ExchangeEstimate(
      floats: trainedCount, inLayers: inLayers, sendsWeights: adapter == nil, ranks: ranks, network: network,
      backward: isInHostMemory ? backward : 0)
  }

  private func workload(_ settings: Settings) -> Workload {
    let sizes = settings.maxLength == .max ? sizes : Workload.itemSizes(set, maxLength: settings.maxLength)
    let isShared = model.transformer.sharesPrefix(settings.configuration)
    if let grpo = groupSettings(settings.configuration) {
      let groups = Workload.groupSizes(
        sizes, grpo, batches: grpo.batchesPerGeneration(settings.configuration),
        sharesPrompts: isShared && !model.transformer.configuration.isRecurrent)
      return Workload(groups, settings.configuration, ranks: ranks)
    }
    if settings.configuration.rowKind.sequences > 1 {
      let sizes = Workload.itemSizes(
        set, maxLength: settings.maxLength, sharesPrompts: isShared && !model.transformer.configuration.isRecurrent)
      return Workload(sizes, settings.configuration, ranks: ranks)
    }
    return Workload(
      sizes, settings.configuration, shared: isShared ? min(shared, settings.maxLength - 1) : 0, ranks: ranks)
  }

  private func seconds(_ workload: Workload, _ memory: MemoryEstimate, _ calibration: Calibration) -> Double {
    let work = WorkEstimate(model.transformer, trainsWeights: adapter == nil)
    // Ranks that share the optimizer state update their share of the weights.
    let trained = trainedCount / (adapter == nil ? ranks : 1)
    return work.operations(workload.total, checkpointedLayers: memory.checkpointedLayers)
      / calibration.operationsPerSecond + Double(workload.steps * trained) * calibration.secondsPerWeight
  }

  // MARK: Changes

  private struct Change {
    let change: RunPlan.Change
    let settings: Settings
    let changesResult: Bool

    init(_ change: RunPlan.Change, settings: Settings, changesResult: Bool = false) {
      self.change = change
      self.settings = settings
      self.changesResult = changesResult
    }
  }

  /// Single changes of the settings, in the order in which to try them.
  private func changes(of configuration: TrainingConfiguration) -> [Change] {
    var changes: [Change] = []
    var smaller = configuration
    while smaller.reduceBatch() {
      changes.append(
        Change(
          .batch(size: smaller.trainBatchSize, accumulation: smaller.gradientAccumulationSteps),
          settings: Settings(configuration: smaller)))
    }
    if configuration.checkpointing == .never || configuration.checkpointing == .auto {
      var other = configuration
      other.checkpointing = .always
      changes.append(Change(.checkpointing, settings: Settings(configuration: other)))
    }
    if adapter == nil, updateRule == nil, !configuration.optimizer.kind.isEightBit,
      !configuration.optimizer.kind.isPaged,
      let kind = configuration.optimizer.kind.inEightBits
    {
      var other = configuration
      other.optimizer.kind = kind
      changes.append(
        Change(.optimizer(kind), settings: Settings(configuration: other), changesResult: true))
    }
    if adapter != nil, model.transformer.linearLayers.contains(where: { $0.weight.value.type.isFloat }) {
      changes.append(
        Change(
          .quantization, settings: Settings(configuration: configuration, quantizes: true), changesResult: true))
    }
    if groupSettings(configuration) != nil { return changes }
    let longest = set.items.reduce(0) { max($0, $1.reduce(0) { max($0, $1.count) }) }
    if longest >= 16 {
      changes.append(
        Change(
          .maxLength(longest / 2), settings: Settings(configuration: configuration, maxLength: longest / 2),
          changesResult: true))
    }
    return changes
  }

  /// The configuration with the batch size reduced until the run fits or a batch is a single row.
  package func fittingBatch(_ configuration: TrainingConfiguration) throws(SwiftletError) -> TrainingConfiguration {
    var fitting = configuration
    while try memory(Settings(configuration: fitting), workload(Settings(configuration: fitting))).needed
      > system.reachable,
      fitting.reduceBatch()
    {}
    return fitting
  }

  // MARK: Memory

  /// The memory of a run with this workload.
  func memory(_ settings: Settings, _ workload: Workload) throws(SwiftletError) -> MemoryEstimate {
    var estimate = try fixed(settings)
    let (tokens, targets) = (workload.largest.tokens, workload.mostTargets)
    let budget = budget(settings.configuration.checkpointing, besides: estimate, workload)
    let checkpointed = activations.checkpointed(tokens: tokens, budget: budget)
    estimate.checkpointedLayers = checkpointed
    estimate.activations = activations.kept(tokens: tokens, checkpointed: checkpointed)
    estimate.working =
      activations.peak(workload.largest, targets: targets, checkpointed: checkpointed) - estimate.activations
    if let teacher {
      // Its pass comes first; then its hidden states are kept, and its logits exist beside the model's.
      let passed = ActivationMemory(teacher).evaluation(tokens: tokens, targets: 0)
      let vocabulary = teacher.configuration.vocabularySize
      let logits = 8 * Tape.logitChunkRows(vocabulary: vocabulary, of: targets) * vocabulary
      let kept = 4 * tokens * teacher.configuration.hiddenSize + logits
      estimate.working = max(estimate.working + kept, passed - estimate.activations)
    }
    if settings.configuration.gradientAccumulationSteps == 1, ranks == 1 {
      separateGradients(&estimate, workload.largest)
    }
    let held = estimate.program + estimate.weights + estimate.adapter + estimate.optimizer
    let evaluated =
      held + max(largestEvaluation(settings.configuration), completionCaches(settings.configuration))
    estimate.evaluation = max(0, evaluated - estimate.total)
    return estimate
  }

  /// The settings of `grpo`, if that is the method.
  private func groupSettings(_ configuration: TrainingConfiguration) -> GRPOConfiguration? {
    if case .grpo(let settings) = configuration.method { settings } else { nil }
  }

  /// The KV caches of the completions that are sampled at the same time.
  private func completionCaches(_ configuration: TrainingConfiguration) -> Int {
    guard let settings = groupSettings(configuration) else { return 0 }
    let longest = (sizes + evaluationSizes).reduce(0) { max($0, $1.tokens) }
    let sampled = settings.promptsPerGeneration(configuration) * settings.generations
    return min(sampled, CompletionSampler.batchSize) * (longest + settings.maxCompletionLength)
      * KeyValueCache.bytesPerToken(model.transformer)
  }

  /// The peak of the validation batches, whose order is fixed.
  private func largestEvaluation(_ configuration: TrainingConfiguration) -> Int {
    var (sizes, shared, count) = (evaluationSizes, evaluationShared, max(1, configuration.evalBatchSize))
    if let settings = groupSettings(configuration) {
      sizes = Workload.groupSizes(
        sizes, settings, batches: 1, forValidation: true, sharesPrompts: !model.transformer.configuration.isRecurrent)
      (shared, count) = (0, max(1, count / settings.groupSize(forValidation: true)))
    }
    return stride(from: 0, to: sizes.count, by: count).reduce(0) { largest, start in
      var size = Workload.Size()
      for row in sizes[start..<min(sizes.count, start + count)] { size += row }
      size = size.sharing(shared)
      return max(largest, activations.evaluation(tokens: size.tokens, targets: size.targets))
    }
  }

  /// In a step of one batch, gradients are allocated while activations are released. The peak is either at the head,
  /// whose gradient is the first, or at the end.
  private func separateGradients(_ estimate: inout MemoryEstimate, _ size: Workload.Size) {
    let first = adapter == nil ? 4 * model.transformer.activeHead.value.count : 0
    let end = activations.end(size)
    if first + estimate.activations + estimate.working >= estimate.gradients + end {
      estimate.gradients = min(first, estimate.gradients)
    } else {
      (estimate.activations, estimate.working) = (0, end)
    }
  }

  /// How a run with these settings checkpoints its activations.
  package func checkpointing(_ configuration: TrainingConfiguration) throws(SwiftletError) -> CheckpointingPlan {
    let fixed = try fixed(Settings(configuration: configuration))
    let budget = budget(configuration.checkpointing, besides: fixed, workload(Settings(configuration: configuration)))
    return CheckpointingPlan(activations: activations, budget: budget)
  }

  /// The memory that does not depend on the batches.
  private func fixed(_ settings: Settings) throws(SwiftletError) -> MemoryEstimate {
    var estimate = MemoryEstimate()
    estimate.program = program
    estimate.weights = weightBytes(quantized: settings.quantizes)
    estimate.weights += teacher?.parameters.reduce(0) { $0 + $1.value.totalByteCount } ?? 0
    if adapter == nil, let reference = settings.configuration.method.settings?.referenceSettings,
      !reference.isPrecomputed
    {
      estimate.weights += 4 * trainedCount
    }
    estimate.adapter = adapter?.parameters.reduce(0) { $0 + $1.value.byteCount } ?? 0
    var largestUndivided = 0
    for parameter in trained {
      let rule =
        if let updateRule {
          updateRule
        } else {
          try settings.configuration.optimizer.updateRule(for: parameter.name, shape: parameter.value.shape)
        }
      let bytes = rule.state(for: parameter.value.shape).reduce(0) { $0 + $1.byteCount }
      estimate.optimizer += bytes
      if !rule.isElementwise { largestUndivided = max(largestUndivided, bytes) }
    }
    estimate.gradients = 4 * trainedCount
    if ranks > 1 {
      if adapter == nil {
        // Where ranks own whole parameters, a share is up to half of the largest parameter above the mean.
        estimate.optimizer = min(estimate.optimizer, estimate.optimizer / ranks + largestUndivided / 2)
      }
      estimate.exchange = min(ExchangeEstimate.scratchBytes, estimate.gradients)
    }
    estimate.isOptimizerPaged = settings.configuration.optimizer.kind.isPaged
    return estimate
  }

  /// The memory for activations: none or unlimited if the settings say so, else what the device has left, or what the
  /// machine has left, up to a quarter of its memory.
  private func budget(
    _ checkpointing: TrainingConfiguration.Checkpointing, besides fixed: MemoryEstimate, _ workload: Workload
  ) -> Int {
    switch checkpointing {
    case .always, .unsloth: return 0
    case .never: return .max
    case .auto:
      let least = activations.peak(
        workload.largest, targets: workload.mostTargets, checkpointed: activations.layerCount)
      let most = model.transformer.backend.availableMemory == nil ? system.total / 4 : system.total
      return max(0, min(most, system.reachable - fixed.needed - least))
    }
  }

  private var trained: [Parameter] { adapter?.parameters ?? model.transformer.parameters }

  private var trainedCount: Int { trained.reduce(0) { $0 + $1.value.count } }

  /// NF4 takes half a byte per weight and, with double quantization, one byte per block of 64. Tables that stay in a
  /// mapped file take memory where they are read.
  private func weightBytes(quantized: Bool) -> Int {
    var all = model.transformer.parameters.reduce(0) { $0 + $1.value.totalByteCount }
    if adapter != nil, model.transformer.backend.availableMemory == nil {
      for table in model.transformer.lookupTables where !table.isTrainable {
        let bytes = table.value.totalByteCount
        all -= bytes - Self.residentBytes(ofTable: bytes, rows: table.value.rows, read: set.tokenCount)
      }
    }
    guard quantized else { return all }
    return model.transformer.linearLayers.reduce(all) {
      $0 - $1.weight.value.totalByteCount + $1.weight.value.count * 33 / 64
    }
  }

  /// The memory that a mapped table takes if `read` tokens look up its rows. The system maps 64 KB around what is read.
  package static func residentBytes(ofTable bytes: Int, rows: Int, read: Int) -> Int {
    let unit = 64 << 10
    let row = (bytes / max(1, rows) + unit - 1) / unit * unit
    return min(bytes, min(read, rows) * row)
  }
}
