import Checkpoints
import Diagnostics
import Essentials
import Models
import Tensors

/// The model before training, which preference losses compare the trained model with: the base model, with the adapter
/// switched off, or a copy of the weights if every weight is trained.
final class ReferenceModel {
  private let adapter: Adapter?
  private let parameters: [Parameter]
  private var weights: [Tensor]
  private let backend: any Backend

  /// The file of a checkpoint with the copied weights, if they change during a run.
  static let fileName = "reference_model.safetensors"

  /// The model as it is now: without `adapter`, or with the values that `parameters` have.
  init(_ model: Transformer, adapter: Adapter?, parameters: [Parameter], keepsWeights: Bool) {
    self.adapter = adapter
    self.parameters = parameters
    backend = model.backend
    weights = adapter == nil && keepsWeights ? parameters.map { model.backend.scaled($0.value, 1) } : []
  }

  /// Runs `body` with the transformer as the reference.
  func use<Value>(_ body: () throws -> Value) rethrows -> Value {
    if let adapter {
      adapter.isEnabled = false
      defer { adapter.isEnabled = true }
      return try body()
    }
    // Without a copy, this is called before the first step only.
    guard !weights.isEmpty else { return try body() }
    swapWeights()
    defer { swapWeights() }
    return try body()
  }

  private func swapWeights() {
    for (index, parameter) in parameters.enumerated() {
      (parameter.value, weights[index]) = (weights[index], parameter.value)
    }
  }

  /// Moves the reference toward the trained model: reference = share · model + (1 − share) · reference (TR-DPO,
  /// arXiv:2404.09656).
  func mix(share: Double) {
    for (parameter, weight) in zip(parameters, weights) {
      backend.scale(weight, by: Float(1 - share))
      backend.add(parameter.value, scale: Float(share), into: weight)
    }
  }

  /// Writes the weights for a checkpoint.
  func write(to folder: URL) throws {
    try SafetensorsWriter.write(
      zip(parameters, weights).map { TensorSource(name: $0.name, tensor: $1) }, metadata: ["format": "pt"],
      to: folder.appendingPathComponent(Self.fileName))
  }

  /// Reads what `write` wrote.
  func read(from folder: URL) throws {
    let url = folder.appendingPathComponent(Self.fileName)
    let file = try SafetensorsCheckpoint(contentsOf: url)
    for (parameter, weight) in zip(parameters, weights) {
      guard let tensor = file.tensor(named: parameter.name), tensor.shape == weight.shape, tensor.type == .float32
      else {
        throw SwiftletError.training(
          "\(url.path): the float32 tensor \(parameter.name) is missing or has another shape; resume from another "
            + "checkpoint")
      }
      backend.copyRows(Columns(tensor.flat), 0, to: Columns(weight.flat), 0, count: 1)
    }
  }
}

extension Tensor {
  /// The elements as one row.
  fileprivate var flat: Tensor { reshaped([1, count]) }
}
