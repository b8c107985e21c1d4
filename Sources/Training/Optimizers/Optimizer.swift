import Diagnostics
import Checkpoints
import Foundation
import Models
import Tensors

/// Takes steps on parameters by an update rule, and keeps what the rule remembers of each of them.
package final class Optimizer {
  private let parameters: [Parameter]
  private let decayed: [Bool]
  private let weightDecay: Float
  private let rule: any UpdateRule
  private let backend: any Backend
  private let states: [[Tensor]]
  /// Steps taken.
  package private(set) var step = 0

  /// - Parameter folder: where a paged optimizer keeps its state on disk.
  /// - Throws: `SwiftletError` for settings that contradict each other, or where a paged state has no room.
  package init(
    _ parameters: [Parameter], _ arguments: TrainingArguments, on backend: any Backend,
    pagesIn folder: URL = FileManager.default.temporaryDirectory
  ) throws(SwiftletError) {
    let rule = try arguments.updateRule()
    self.parameters = parameters
    self.rule = rule
    self.backend = backend
    weightDecay = Float(arguments.weightDecay)
    decayed = parameters.map { Self.isDecayed($0.name) }
    let isPaged = arguments.optimizer.isPaged
    if isPaged { try? FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true) }
    var states: [[Tensor]] = []
    for parameter in parameters {
      var state: [Tensor] = []
      for part in rule.state(for: parameter.value.shape) {
        do {
          state.append(
            isPaged
              ? try backend.pageable(part.shape, part.type, in: folder.path) : backend.empty(part.shape, part.type))
        } catch { throw SwiftletError.training("`optimizer`: \(arguments.optimizer.rawValue): \(error)") }
        if !isPaged, let last = state.last { backend.clear(last) }
      }
      states.append(state)
    }
    self.states = states
  }

  /// transformers decays everything but biases and norms; an adapter's matrices count as weights.
  static func isDecayed(_ name: String) -> Bool {
    let parts = name.split(separator: ".")
    if parts.last == "bias" { return false }
    return !parts.contains { $0 == "norm" || $0.hasSuffix("norm") }
  }

  /// Takes one step with the gradients that the parameters have, times `gradientScale`, and forgets them.
  package func update(learningRate: Double, gradientScale: Float) {
    step += 1
    for (index, parameter) in parameters.enumerated() {
      guard let gradient = parameter.gradient else { continue }
      let update = UpdateStep(
        number: step, learningRate: Float(learningRate), weightDecay: decayed[index] ? weightDecay : 0,
        gradientScale: gradientScale)
      rule.apply(to: parameter.value, gradient: gradient, state: states[index], update, on: backend)
      parameter.gradient = nil
    }
  }

  /// The tensors of the state under the names that a checkpoint gives them.
  private var namedStates: [(name: String, tensor: Tensor)] {
    zip(parameters, states).flatMap { parameter, state in
      zip(rule.state(for: parameter.value.shape), state).map { ("\(parameter.name).\($0.name)", $1) }
    }
  }

  /// Writes what a checkpoint keeps.
  package func write(to url: URL) throws {
    let tensors = namedStates.map { TensorSource(name: $0.name, tensor: $0.tensor) }
    try SafetensorsWriter.write(tensors, metadata: ["step": String(step)], to: url)
  }

  /// Takes up what `write` kept.
  /// - Throws: `SwiftletError` if the file does not belong to these parameters and this rule.
  package func read(from url: URL) throws {
    let file = try SafetensorsCheckpoint(contentsOf: url)
    guard let step = file.metadata["step"].flatMap(Int.init) else {
      throw SwiftletError.training("\(url.path) has no step; resume from another checkpoint")
    }
    let states = namedStates
    for (name, target) in states {
      guard let tensor = file.tensor(named: name), tensor.shape == target.shape, tensor.type == target.type else {
        throw SwiftletError.training(
          "\(url.path) has no \(name) that fits; resume with the settings that wrote the checkpoint")
      }
      backend.copy(tensor, to: target)
    }
    guard file.tensorNames.count == states.count else {
      throw SwiftletError.training(
        "\(url.path) is the state of another optimizer; resume with the settings that wrote the checkpoint")
    }
    self.step = step
  }
}
