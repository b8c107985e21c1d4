import Diagnostics
import Checkpoints
import Essentials
import Models
import Tensors

/// Updates parameters by an update rule and keeps the rule's state for each of them.
package final class Optimizer {
  private let parameters: [Parameter]
  private let decayed: [Bool]
  /// What each parameter's learning rate is multiplied by.
  private let rateFactors: [Float]
  private let weightDecay: Float
  /// Steps of warmup that the optimizer itself takes, whatever the schedule does.
  private let warmupSteps: Int
  private var averageShares = AverageShares()
  /// Whether the weights are those to evaluate and save, for rules that average them.
  private var isEvaluating = true
  /// The update rule of each parameter.
  private let rules: [any UpdateRule]
  private let backend: any Backend
  /// The state of each parameter; empty for parameters whose state another rank keeps.
  private let states: [[Tensor]]
  private let parallelism: DataParallelism?
  /// The number of steps taken.
  package private(set) var step = 0

  /// - Parameters:
  ///   - rule: replaces the update rule of `configuration`.
  ///   - embeddingRateFactor: what the learning rate of embeddings and output layers is multiplied by.
  ///   - warmupSteps: the run's steps of warmup. Schedule-free optimizers raise the learning rate in them.
  ///   - folder: where a paged optimizer keeps its state on disk.
  ///   - parallelism: decides which parameters this rank updates; `nil` for all.
  /// - Throws: `SwiftletError` for settings that contradict each other, or if there is no room for a paged state.
  package init(
    _ parameters: [Parameter], _ configuration: OptimizerConfiguration, rule: (any UpdateRule)? = nil,
    embeddingRateFactor: Double = 1, warmupSteps: Int = 0, on backend: any Backend,
    pagesIn folder: URL = FileManager.default.temporaryDirectory,
    parallelism: DataParallelism? = nil
  ) throws(SwiftletError) {
    let rules = try configuration.updateRules(for: parameters, replacedBy: rule)
    self.parameters = parameters
    self.rules = rules
    self.backend = backend
    self.parallelism = parallelism
    weightDecay = Float(configuration.weightDecay)
    self.warmupSteps = configuration.kind == .scheduleFreeAdamW ? warmupSteps : 0
    decayed = parameters.map { Self.isDecayed($0.name) }
    rateFactors = parameters.map { parameter in
      if Self.isEmbedding(parameter.name) { return Float(embeddingRateFactor) }
      // As in PEFT's LoRA+, vectors count as B.
      let isB = parameter.name.contains("lora_B") || parameter.value.shape.count == 1
      return isB ? Float(configuration.loraPlusRatio ?? 1) : 1
    }
    let isPaged = configuration.kind.isPaged
    if isPaged { try? FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true) }
    var states: [[Tensor]] = []
    for (index, parameter) in parameters.enumerated() {
      var state: [Tensor] = []
      for part in Self.ownShape(of: parameter, index, parallelism).map({ rules[index].state(for: $0) }) ?? [] {
        if isPaged {
          do {
            state.append(try backend.pagedZeros(part.shape, part.type, in: folder.path))
          } catch { throw SwiftletError.training("`optimizer`: \(configuration.kind.rawValue): \(error)") }
        } else {
          let tensor = backend.empty(part.shape, part.type)
          backend.clear(tensor)
          state.append(tensor)
        }
      }
      states.append(state)
    }
    self.states = states
  }

  private var averages: Bool { rules.contains(where: \.averagesWeights) }

  /// The shape of the part of a parameter that this rank updates: the parameter's, or a vector if it shares it with
  /// other ranks; `nil` if it updates nothing of it.
  private static func ownShape(of parameter: Parameter, _ index: Int, _ parallelism: DataParallelism?) -> [Int]? {
    let count = parallelism?.elements(of: index).count ?? parameter.value.count
    return count == parameter.value.count ? parameter.value.shape : count == 0 ? nil : [count]
  }

  /// Whether weight decay applies to a parameter. As in transformers: to all but biases and norms, so also to adapters.
  static func isDecayed(_ name: String) -> Bool {
    let parts = name.split(separator: ".")
    if parts.last == "bias" { return false }
    return !parts.contains { $0 == "norm" || $0.hasSuffix("norm") }
  }

  /// Whether a parameter embeds tokens or predicts them.
  static func isEmbedding(_ name: String) -> Bool {
    ["embed_tokens.weight", "lm_head.weight", "trainable_tokens_delta"].contains { name.hasSuffix($0) }
  }

  /// Takes one step with the parameters' gradients times `gradientScale`, then drops the gradients.
  package func update(learningRate: Double, gradientScale: Float) {
    let learningRate = step < warmupSteps ? learningRate * Double(step + 1) / Double(warmupSteps) : learningRate
    let averageShare = averageShares.next(learningRate)
    step += 1
    for (index, parameter) in parameters.enumerated() {
      defer { parameter.gradient = nil }
      guard let gradient = parameter.gradient, let shape = Self.ownShape(of: parameter, index, parallelism) else {
        continue
      }
      let own = parallelism?.elements(of: index) ?? 0..<parameter.value.count
      let update = UpdateStep(
        number: step, learningRate: Float(learningRate) * rateFactors[index],
        weightDecay: decayed[index] ? weightDecay : 0,
        gradientScale: gradientScale, averageShare: Float(averageShare))
      rules[index].update(
        parameter.value.elements(own).reshaped(shape), gradient: gradient.elements(own).reshaped(shape),
        state: states[index], update, on: backend)
    }
  }

  /// Makes the weights those to evaluate and save, or those to train, if the update rule distinguishes them. All ranks
  /// must call it together.
  /// - Returns: whether weights changed.
  package func exchangeWeights(forEvaluation: Bool) throws -> Bool {
    guard isEvaluating != forEvaluation else { return false }
    isEvaluating = forEvaluation
    guard step > 0, averages else { return false }
    for (index, parameter) in parameters.enumerated() {
      guard let shape = Self.ownShape(of: parameter, index, parallelism) else { continue }
      let own = parallelism?.elements(of: index) ?? 0..<parameter.value.count
      rules[index].exchange(
        parameter.value.elements(own).reshaped(shape), state: states[index], forEvaluation: forEvaluation, on: backend)
    }
    try parallelism?.gatherWeights()
    return true
  }

  private func stateTensors(of index: Int) -> [StateTensor] { rules[index].state(for: parameters[index].value.shape) }

  /// State tensors with their names in a checkpoint.
  private func named(_ states: [[Tensor]]) -> [(name: String, tensor: Tensor)] {
    parameters.indices.flatMap { index in
      zip(stateTensors(of: index), states[index]).map { ("\(parameters[index].name).\($0.name)", $1) }
    }
  }

  /// Collects the state on rank 0 if the ranks share it. All ranks must call it together.
  /// - Parameter folder: where the state of other ranks is kept, in files, until `write` has written it.
  package func gatherState(in folder: URL) throws -> [[Tensor]] {
    try parallelism?.completeState(states, in: folder.path, stateTensors) ?? states
  }

  /// Writes the state to a safetensors file.
  /// - Parameter states: what `gatherState` returned; `nil` for the state of this process.
  package func write(_ states: [[Tensor]]? = nil, to url: URL) throws {
    let tensors = named(states ?? self.states).map { TensorSource(name: $0.name, tensor: $0.tensor) }
    var metadata = averages ? averageShares.metadata : [:]
    metadata["step"] = String(step)
    if let ranks = parallelism?.collective.size { metadata["ranks"] = String(ranks) }
    try SafetensorsWriter.write(tensors, metadata: metadata, to: url)
  }

  /// The number of ranks of the run that wrote a state.
  static func ranks(ofStateIn url: URL) -> Int {
    (try? SafetensorsCheckpoint(contentsOf: url))?.metadata["ranks"].flatMap { Int($0) } ?? 1
  }

  /// Reads a state that `write` wrote. With several ranks, rank 0 reads it and sends each what it keeps.
  /// - Throws: `SwiftletError` if the state belongs to other parameters or another rule.
  package func read(from url: URL) throws {
    let isReader = parallelism?.collective.rank ?? 0 == 0
    let saved = isReader ? try savedState(url) : (step: 0, shares: AverageShares(), states: states.map { _ in [] })
    step = try parallelism?.broadcast(saved.step) ?? saved.step
    averageShares = try parallelism.map { AverageShares(try $0.sum(saved.shares.numbers)) } ?? saved.shares
    isEvaluating = true
    for (index, tensors) in saved.states.enumerated() {
      if let parallelism {
        try parallelism.distribute(tensors, to: states[index], of: index)
      } else {
        for (tensor, target) in zip(tensors, states[index]) { backend.copy(tensor, to: target) }
      }
    }
  }

  /// The step and the state of every parameter in a file.
  private func savedState(_ url: URL) throws -> (step: Int, shares: AverageShares, states: [[Tensor]]) {
    let file = try SafetensorsCheckpoint(contentsOf: url)
    guard let step = file.metadata["step"].flatMap(Int.init) else {
      throw SwiftletError.training("\(url.path): the step is missing; resume from another checkpoint")
    }
    guard let shares = AverageShares(metadata: file.metadata) ?? (averages ? nil : AverageShares()) else {
      throw SwiftletError.training("\(url.path): the average's state is missing; resume from another checkpoint")
    }
    let states = try parameters.enumerated().map { index, parameter in
      try stateTensors(of: index).map { part in
        let name = "\(parameter.name).\(part.name)"
        guard let tensor = file.tensor(named: name), tensor.shape == part.shape, tensor.type == part.type else {
          throw SwiftletError.training(
            "\(url.path): \(name) is missing or has another shape; resume with the settings that wrote the checkpoint")
        }
        return tensor
      }
    }
    guard file.tensorNames.count == states.joined().count else {
      throw SwiftletError.training(
        "\(url.path): this is the state of another optimizer; resume with the settings that wrote the checkpoint")
    }
    return (step, shares, states)
  }
}
