import Diagnostics
import Tensors

/// Reads weights from a model's files, checks their shapes, and converts or quantizes them on loading.
struct WeightReader {
  let files: ModelFiles
  let backend: any Backend
  let inFloat32: Bool
  /// How to quantize linear layers that are stored as floats; `nil` to keep them as stored.
  let quantization: QuantizationConfiguration?

  /// The type that the weights of a model without weight files are assumed to have: `dtype` in config.json.
  private var shapeOnlyType: ElementType {
    let name = files.configurationJSON["dtype"]?.string ?? files.configurationJSON["torch_dtype"]?.string
    return name.flatMap(ElementType.init(rawValue:)).flatMap { $0.isFloat ? $0 : nil } ?? .bfloat16
  }

  /// A matrix in its storage format, or in float32 if all weights are.
  /// - Parameter addedRows: by how many rows `shape` is larger than in the file; negative if it is smaller.
  func matrix(_ name: String, _ shape: [Int], addedRows: Int = 0) throws(SwiftletError) -> Parameter {
    var tensor = try tensor(name, shape, addedRows: addedRows)
    let isReadable = tensor.type.isQuantized || [.float32, .float16, .bfloat16].contains(tensor.type)
    let isKept = isReadable && !inFloat32
    if isKept {
      tensor = backend.resident(tensor)
    } else {
      let converted = backend.converted(tensor, to: .float32)
      tensor.releasePages()
      tensor = files.columnOrder(of: name).map { backend.reorderedColumns(converted, $0.inverse) } ?? converted
    }
    let parameter = Parameter(name: name, value: tensor)
    parameter.isReplaced = addedRows != 0
    return parameter
  }

  /// The weight of a norm, or a bias: small, and always float32.
  func vector(_ name: String, _ count: Int) throws(SwiftletError) -> Parameter { try vector(name, [count]) }

  /// A small parameter, always float32.
  func vector(_ name: String, _ shape: [Int]) throws(SwiftletError) -> Parameter {
    let tensor = try tensor(name, shape)
    return Parameter(name: name, value: files.hasWeights ? backend.converted(tensor, to: .float32) : tensor)
  }

  func linear(_ path: String, _ outputs: Int, _ inputs: Int, bias: Bool) throws(SwiftletError) -> Linear {
    let weight = try linearWeight(path, [outputs, inputs])
    return Linear(
      path: path, weight: weight, bias: bias ? try vector("\(path).bias", outputs) : nil,
      columnOrder: weight.value.type.isFloat ? nil : files.columnOrder(of: weight.name))
  }

  /// The matrix of the linear layer at `path`, quantized on loading if the configuration says so.
  func linearWeight(_ path: String, _ shape: [Int], addedRows: Int = 0) throws(SwiftletError) -> Parameter {
    let name = "\(path).weight"
    guard let quantization, quantization.quantizes(path) else {
      return try matrix(name, shape, addedRows: addedRows)
    }
    guard files.hasWeights else {
      return Parameter(name: name, value: backend.empty(shape, quantization.format.type))
    }
    let tensor = try tensor(name, shape, addedRows: addedRows)
    if tensor.type.isQuantized { return Parameter(name: name, value: backend.resident(tensor)) }
    guard let quantized = backend.quantized(tensor, to: quantization.format) else {
      throw SwiftletError.model(
        "\(name) can't be quantized: it has a value that is not finite; download the file again", in: files.url.path)
    }
    // At most one float tensor of the file stays in memory.
    tensor.releasePages()
    return Parameter(name: name, value: quantized)
  }

  private func tensor(_ name: String, _ shape: [Int], addedRows: Int = 0) throws(SwiftletError) -> Tensor {
    // Memory that is never touched costs nothing.
    if !files.hasWeights { return backend.empty(shape, shapeOnlyType) }
    if addedRows == 0 { return try storedTensor(name, shape) }
    let cpu = CPUBackend.shared
    var stored = try storedTensor(name, [shape[0] - addedRows] + shape.dropFirst())
    if inFloat32 { stored = cpu.converted(stored, to: .float32) }
    if addedRows > 0 { return cpu.addingMeanRows(addedRows, to: stored) }
    // Scales that are apart don't follow rows.
    return (stored.type.hasScales ? cpu.converted(stored, to: .float16) : stored).rows(0..<shape[0])
  }

  private func storedTensor(_ name: String, _ shape: [Int]) throws(SwiftletError) -> Tensor {
    let found: Tensor?
    do {
      found = try files.tensor(named: name, columns: shape.last)
    } catch {
      throw SwiftletError.model("\(error)")
    }
    guard var tensor = found else {
      throw SwiftletError.model(
        "the tensor \(files.fileName(of: name)) is missing; download the model again", in: files.url.path)
    }
    // GGUF files drop dimensions of 1, and MLX moves them.
    if tensor.shape != shape, tensor.shape.filter({ $0 != 1 }) == shape.filter({ $0 != 1 }) {
      tensor = tensor.reshaped(shape)
    }
    guard tensor.shape == shape else {
      throw SwiftletError.model(
        "\(name) has shape \(tensor.shape), but the configuration requires \(shape)", in: files.url.path)
    }
    guard tensor.type.isFloat || tensor.type.isQuantized else {
      throw SwiftletError.model(
        "\(name) is stored as \(tensor.type.rawValue), which is not supported for weights; convert it to bfloat16, "
          + "float16 or float32", in: files.url.path)
    }
    return tensor
  }
}
