import Diagnostics
import Tensors

/// Takes weights from a model's files, checks their shapes, and quantizes those that are to be.
struct WeightReader {
  let files: ModelFiles
  let backend: any Backend
  let inFloat32: Bool
  /// How linear layers that the file has as floats become 4-bit codes; `nil` to leave all as stored.
  let quantization: QuantizationConfiguration?

  /// What the weights of a model that has none yet are taken to be stored as: `dtype` of its configuration.
  private var shapeOnlyType: ElementType {
    let name = files.configurationJSON["dtype"]?.string ?? files.configurationJSON["torch_dtype"]?.string
    return name.flatMap(ElementType.init(rawValue:)).flatMap { $0.isFloat ? $0 : nil } ?? .bfloat16
  }

  /// A matrix, as stored unless all is to be widened.
  func matrix(_ name: String, _ shape: [Int]) throws(SwiftletError) -> Parameter {
    let tensor = try tensor(name, shape)
    let isReadable = tensor.type.isQuantized || [.float32, .float16, .bfloat16].contains(tensor.type)
    guard inFloat32 || !isReadable else { return Parameter(name: name, value: tensor) }
    defer { tensor.releasePages() }
    return Parameter(name: name, value: backend.converted(tensor, to: .float32))
  }

  /// A norm's weight or a bias: small, and always float32.
  func vector(_ name: String, _ count: Int) throws(SwiftletError) -> Parameter {
    let tensor = try tensor(name, [count])
    return Parameter(name: name, value: files.hasWeights ? backend.converted(tensor, to: .float32) : tensor)
  }

  func linear(_ path: String, _ outputs: Int, _ inputs: Int, bias: Bool) throws(SwiftletError) -> Linear {
    Linear(
      path: path, weight: try linearWeight(path, [outputs, inputs]),
      bias: bias ? try vector("\(path).bias", outputs) : nil)
  }

  /// The matrix of the linear layer at `path`: quantized where it is to be and is not yet.
  func linearWeight(_ path: String, _ shape: [Int]) throws(SwiftletError) -> Parameter {
    let name = "\(path).weight"
    guard let quantization, quantization.quantizes(path) else { return try matrix(name, shape) }
    guard files.hasWeights else {
      return Parameter(name: name, value: backend.empty(shape, quantization.format.type))
    }
    let tensor = try tensor(name, shape)
    if tensor.type.isQuantized { return Parameter(name: name, value: tensor) }
    guard let codes = backend.quantized(tensor, to: quantization.format) else {
      throw SwiftletError.model(
        "\(files.url.path): \(name) has a value that is not finite, so it cannot be quantized; get the file again")
    }
    // Only one tensor of the file is in memory beside what is quantized.
    tensor.releasePages()
    return Parameter(name: name, value: codes)
  }

  private func tensor(_ name: String, _ shape: [Int]) throws(SwiftletError) -> Tensor {
    // Nobody touches the memory of a model without weights, so it takes none.
    if !files.hasWeights { return backend.empty(shape, shapeOnlyType) }
    let found: Tensor?
    do {
      found = try files.tensor(named: name)
    } catch {
      throw SwiftletError.model("\(error)")
    }
    guard let tensor = found else {
      throw SwiftletError.model("\(files.url.path): the tensor \(name) is missing; is the download complete?")
    }
    guard tensor.shape == shape else {
      throw SwiftletError.model("\(files.url.path): \(name) has shape \(tensor.shape), the configuration says \(shape)")
    }
    guard tensor.type.isFloat || tensor.type.isQuantized else {
      throw SwiftletError.model(
        "\(files.url.path): \(name) is stored as \(tensor.type.rawValue), which this model's layers cannot compute with; "
          + "convert it to bfloat16, float16 or float32")
    }
    return tensor
  }
}
