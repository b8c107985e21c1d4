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
  private let rule: any UpdateRule
  private let backend: any Backend
  /// The state of each parameter; empty for parameters whose state another rank keeps.
  private let states: [[Tensor]]
  private let parallelism: DataParallelism?
  /// The number of steps taken.
  package private(set) var step = 0

  /// - Parameters:
  ///   - rule: replaces the update rule of `configuration`.
  ///   - folder: where a paged optimizer keeps its state on disk.
  ///   - parallelism: decides which parameters this rank updates; `nil` for all.
  /// - Throws: `SwiftletError` for settings that contradict each other, or if there is no room for a paged state.
  package init(
    _ parameters: [Parameter], _ configuration: OptimizerConfiguration, rule: (any UpdateRule)? = nil,
    on backend: any Backend, pagesIn folder: URL = FileManager.default.temporaryDirectory,
    parallelism: DataParallelism? = nil
  ) throws(SwiftletError) {
    let rule = if let rule { rule } else { try configuration.updateRule() }
    self.parameters = parameters
    self.rule = rule
    self.backend = backend
    self.parallelism = parallelism
    weightDecay = Float(configuration.weightDecay)
    decayed = parameters.map { Self.isDecayed($0.name) }
    rateFactors = parameters.map { parameter in
      // As in PEFT's LoRA+, vectors count as B.
      let isB = parameter.name.contains("lora_B") || parameter.value.shape.count == 1
      return isB ? Float(configuration.loraPlusRatio ?? 1) : 1
    }
    let isPaged = configuration.kind.isPaged
    if isPaged { try? FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true) }
    var states: [[Tensor]] = []
    for (index, parameter) in parameters.enumerated() {
      var state: [Tensor] = []
      let isOwned = parallelism?.ownedParameters.contains(index) ?? true
      for part in isOwned ? rule.state(for: parameter.value.shape) : [] {
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

  /// Whether weight decay applies to a parameter. As in transformers: to all but biases and norms, so also to adapters.
  static func isDecayed(_ name: String) -> Bool {
    let parts = name.split(separator: ".")
    if parts.last == "bias" { return false }
    return !parts.contains { $0 == "norm" || $0.hasSuffix("norm") }
  }

  /// Takes one step with the parameters' gradients times `gradientScale`, then drops the gradients.
  package func update(learningRate: Double, gradientScale: Float) {
    step += 1
    for (index, parameter) in parameters.enumerated() {
      defer { parameter.gradient = nil }
      guard let gradient = parameter.gradient, parallelism?.ownedParameters.contains(index) ?? true else { continue }
      let update = UpdateStep(
        number: step, learningRate: Float(learningRate) * rateFactors[index],
        weightDecay: decayed[index] ? weightDecay : 0,
        gradientScale: gradientScale)
      rule.update(parameter.value, gradient: gradient, state: states[index], update, on: backend)
    }
  }

  /// State tensors with their names in a checkpoint.
  private func named(_ states: [[Tensor]]) -> [(name: String, tensor: Tensor)] {
    zip(parameters, states).flatMap { parameter, state in
      zip(rule.state(for: parameter.value.shape), state).map { ("\(parameter.name).\($0.name)", $1) }
    }
  }

  /// Collects the state on rank 0 if the ranks share it. All ranks must call it together.
  /// - Parameter folder: where the state of other ranks is kept, in files, until `write` has written it.
  package func gatherState(in folder: URL) throws -> [[Tensor]] {
    try parallelism?.completeState(states, in: folder.path) { rule.state(for: $0.value.shape) } ?? states
  }

  /// Writes the state to a safetensors file.
  /// - Parameter states: what `gatherState` returned; `nil` for the state of this process.
  package func write(_ states: [[Tensor]]? = nil, to url: URL) throws {
    let tensors = named(states ?? self.states).map { TensorSource(name: $0.name, tensor: $0.tensor) }
    try SafetensorsWriter.write(tensors, metadata: ["step": String(step)], to: url)
  }

  /// Reads a state that `write` wrote.
  /// - Throws: `SwiftletError` if the state belongs to other parameters or another rule.
  package func read(from url: URL) throws {
    let file = try SafetensorsCheckpoint(contentsOf: url)
    guard let step = file.metadata["step"].flatMap(Int.init) else {
      throw SwiftletError.training("\(url.path): the step is missing. Resume from another checkpoint.")
    }
    let states = named(self.states)
    for (name, target) in states {
      guard let tensor = file.tensor(named: name), tensor.shape == target.shape, tensor.type == target.type else {
        throw SwiftletError.training(
          "\(url.path): \(name) is missing or has another shape. Resume with the settings that wrote the checkpoint.")
      }
      backend.copy(tensor, to: target)
    }
    let expected = parameters.reduce(0) { $0 + rule.state(for: $1.value.shape).count }
    guard file.tensorNames.count == expected else {
      throw SwiftletError.training(
        "\(url.path): this is the state of another optimizer. Resume with the settings that wrote the checkpoint.")
    }
    self.step = step
  }
}
