import Checkpoints
import Foundation
import Models
import Tensors

/// AdamW (Loshchilov and Hutter 2019) over a list of parameters, as torch computes it.
final class AdamW {
  private let parameters: [Parameter]
  private let decayed: [Bool]
  private let arguments: TrainingArguments
  private let backend: any Backend
  private var moments: [(m: Tensor, v: Tensor)] = []
  /// Steps taken.
  private(set) var step = 0

  init(_ parameters: [Parameter], _ arguments: TrainingArguments, on backend: any Backend) {
    self.parameters = parameters
    self.arguments = arguments
    self.backend = backend
    decayed = parameters.map { Self.isDecayed($0.name) }
    moments = parameters.map { parameter in
      let zeros = { () -> Tensor in
        let tensor = backend.empty(parameter.value.shape, .float32)
        backend.clear(tensor)
        return tensor
      }
      return (zeros(), zeros())
    }
  }

  /// transformers decays everything but biases and norms; an adapter's matrices count as weights.
  static func isDecayed(_ name: String) -> Bool {
    let parts = name.split(separator: ".")
    if parts.last == "bias" { return false }
    return !parts.contains { $0 == "norm" || $0.hasSuffix("norm") }
  }

  /// Takes one step with the gradients that the parameters have, times `gradientScale`, and forgets them.
  func update(learningRate: Double, gradientScale: Float) {
    step += 1
    for (index, parameter) in parameters.enumerated() {
      guard let gradient = parameter.gradient else { continue }
      let numbers = AdamWStep(
        step: step, learningRate: Float(learningRate), beta1: Float(arguments.adamBeta1),
        beta2: Float(arguments.adamBeta2), epsilon: Float(arguments.adamEpsilon),
        weightDecay: decayed[index] ? Float(arguments.weightDecay) : 0, gradientScale: gradientScale)
      backend.adamW(parameter.value, gradient: gradient, m: moments[index].m, v: moments[index].v, numbers)
      parameter.gradient = nil
    }
  }

  /// What a checkpoint keeps: both moments of every parameter under its name.
  func write(to url: URL) throws {
    let tensors = zip(parameters, moments).flatMap { parameter, moments in
      [
        TensorSource(name: "\(parameter.name).exp_avg", tensor: moments.m),
        TensorSource(name: "\(parameter.name).exp_avg_sq", tensor: moments.v),
      ]
    }
    try SafetensorsWriter.write(tensors, metadata: ["step": String(step)], to: url)
  }

  /// Takes up what `write` kept.
  /// - Throws: `TrainingError` if the file does not belong to these parameters.
  func read(from url: URL) throws {
    let file = try SafetensorsCheckpoint(path: url)
    guard let step = file.metadata["step"].flatMap(Int.init) else {
      throw TrainingError("\(url.path) has no step; resume from another checkpoint")
    }
    for (parameter, moments) in zip(parameters, moments) {
      for (name, target) in [("exp_avg", moments.m), ("exp_avg_sq", moments.v)] {
        guard let tensor = file.tensor(named: "\(parameter.name).\(name)"), tensor.shape == target.shape else {
          throw TrainingError(
            "\(url.path) has no \(name) for \(parameter.name); resume with the recipe that wrote the checkpoint")
        }
        let rows = tensor.reshaped([1, tensor.count])
        backend.copyRows(Columns(rows), 0, to: Columns(target.reshaped([1, target.count])), 0, count: 1)
      }
    }
    self.step = step
  }
}
