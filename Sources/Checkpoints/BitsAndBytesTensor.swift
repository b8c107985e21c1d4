import Diagnostics
import OrderedJSON
import Tensors

/// The suffixes of the tensors with which bitsandbytes stores the statistics of a 4-bit tensor
/// (`QuantState.as_dict(packed=True)`). The tensor's own name holds the packed codes, `[bytes, 1]`.
private enum Suffix {
  static let absmax = ".absmax"
  static let quantMap = ".quant_map"
  static let nestedAbsmax = ".nested_absmax"
  static let nestedQuantMap = ".nested_quant_map"
  static func state(_ type: ElementType) -> String { ".quant_state.bitsandbytes__\(type.rawValue)" }
}

extension SafetensorsCheckpoint {
  /// The tensor named `name`, or `nil` if there is none. If it is quantized and its scales are in tensors of their own, the
  /// result has its original shape and carries its scales: 4-bit codes of bitsandbytes, codes of MLX, and 8-bit floats.
  /// - Parameter columns: the number of columns that the weight must have, which codes of MLX don't say.
  /// - Throws: `SwiftletError` if the codes and their scales are inconsistent or incomplete.
  public func weight(named name: String, columns: Int? = nil) throws(SwiftletError) -> Tensor? {
    guard let stored = tensor(named: name) else { return nil }
    switch stored.type {
    case .uint32: if let columns { return try affineWeight(named: name, stored, columns: columns) }
    case .float8: return try float8Weight(named: name, stored)
    default: break
    }
    for type in [ElementType.nf4, .fp4] {
      if let state = tensor(named: name + Suffix.state(type)) {
        return try FourBitReader(checkpoint: self, name: name, type: type).tensor(stored, state)
      }
    }
    if stored.type == .uint8, tensor(named: name + Suffix.absmax) != nil {
      throw .corrupt(
        path(of: name) ?? "",
        "the tensor \(name.quotedExcerpt) is quantized but \((name + Suffix.state(.nf4)).quotedExcerpt) is missing")
    }
    return stored
  }
}

/// Assembles one 4-bit tensor and validates all of its parts.
private struct FourBitReader {
  let checkpoint: SafetensorsCheckpoint
  let name: String
  let type: ElementType

  private func failure(_ reason: String) -> SwiftletError {
    .corrupt(checkpoint.path(of: name) ?? "", "the quantized tensor \(name.quotedExcerpt) \(reason)")
  }

  func tensor(_ stored: Tensor, _ stateBytes: Tensor) throws(SwiftletError) -> Tensor {
    let state = try json(stateBytes)
    guard state["quant_type"]?.string == type.rawValue else {
      throw failure("has a quant_type other than \(type.rawValue) in its state")
    }
    guard let blockSize = state["blocksize"]?.integer, FourBitFormat.blockSizes.contains(blockSize) else {
      throw failure("has no valid blocksize in its state (a power of two from 32 to 4096)")
    }
    guard let dimensions = state["shape"]?.array?.map(\.integer), !dimensions.isEmpty else {
      throw failure("has no shape in its state")
    }
    let shape = dimensions.compactMap(\.self)
    guard shape.count == dimensions.count, let count = TensorEntry.byteCount(of: .uint8, shape: shape), count > 0 else {
      throw failure("has an invalid shape in its state")
    }
    // The codes may be stored as any type (bnb_4bit_quant_storage); only their bytes matter.
    guard stored.byteCount == count / 2 + count % 2 else {
      throw failure("has \(stored.byteCount) bytes but its shape \(shape) needs \(count / 2 + count % 2)")
    }
    guard let dtype = state["dtype"]?.string, let original = ElementType(rawValue: dtype), original.isFloat else {
      throw failure("has no floating-point dtype in its state")
    }
    if let map = checkpoint.tensor(named: name + Suffix.quantMap) { try check(map) }
    let blocks = (count - 1) / blockSize + 1
    let doubleQuantized = checkpoint.tensor(named: name + Suffix.nestedAbsmax) != nil
    let absmax = try statistic(Suffix.absmax, doubleQuantized ? .uint8 : .float32, blocks)
    let scales = BlockScales(
      count: count, blockSize: blockSize, absmax: absmax,
      nested: doubleQuantized ? try nested(state, blocks: blocks) : nil,
      original: original)
    return Tensor(
      type: type, shape: shape, storage: stored.storage, byteOffset: stored.byteOffset, scales: scales)
  }

  private func json(_ bytes: Tensor) throws(SwiftletError) -> JSONValue {
    guard bytes.type == .uint8 else { throw failure("has a state of another type than uint8") }
    do {
      return try bytes.withBytes { (bytes) throws(SwiftletError) in try JSONValue(parsing: bytes) }
    } catch {
      throw failure("has a state that is not valid JSON (\(error))")
    }
  }

  private func statistic(_ suffix: String, _ type: ElementType, _ count: Int) throws(SwiftletError) -> Tensor {
    guard let tensor = checkpoint.tensor(named: name + suffix) else { throw failure("has no \(suffix.dropFirst())") }
    guard tensor.type == type, tensor.count == count else {
      throw failure(
        "has \(tensor.count) \(tensor.type.rawValue) values in \(suffix.dropFirst()) but needs \(count) of type "
          + type.rawValue)
    }
    return tensor
  }

  private func nested(_ state: JSONValue, blocks: Int) throws(SwiftletError) -> BlockScales.Nested {
    guard state["nested_blocksize"]?.integer == FourBitFormat.nestedBlockSize else {
      throw failure("has a nested_blocksize other than \(FourBitFormat.nestedBlockSize) in its state")
    }
    guard let offset = state["nested_offset"]?.double, Float(offset).isFinite else {
      throw failure("has no nested_offset in its state")
    }
    return BlockScales.Nested(
      map: try statistic(Suffix.nestedQuantMap, .float32, 256),
      absmax: try statistic(Suffix.nestedAbsmax, .float32, (blocks - 1) / FourBitFormat.nestedBlockSize + 1),
      offset: Float(offset))
  }

  /// Checks the quantization levels. A file with other levels uses a different code.
  private func check(_ map: Tensor) throws(SwiftletError) {
    let levels = FourBitFormat.levels(of: type)
    let isExpected =
      map.type == .float32
      && map.withBytes { bytes in
        bytes.count == 64
          && levels.indices.allSatisfy {
            abs(bytes.loadUnaligned(fromByteOffset: 4 * $0, as: Float.self) - levels[$0]) < 1e-6
          }
      }
    guard isExpected else { throw failure("has a quant_map that is not \(type.rawValue)'s") }
  }
}

extension TensorSource {
  /// The tensors that bitsandbytes stores for a 4-bit tensor: its codes and their statistics. Returns any other tensor
  /// unchanged.
  /// - Parameter dtype: the type to which readers dequantize the weight.
  public static func bitsandbytes(name: String, _ tensor: Tensor, dtype: ElementType) -> [TensorSource] {
    guard let scales = tensor.scales else { return [TensorSource(name: name, tensor: tensor)] }
    let bytes = Tensor(
      type: .uint8, shape: [tensor.byteCount, 1], storage: tensor.storage, byteOffset: tensor.byteOffset)
    var state: [(String, JSONValue)] = [
      ("quant_type", .string(tensor.type.rawValue)), ("blocksize", .integer(scales.blockSize)),
      ("dtype", .string(dtype.rawValue)), ("shape", .array(tensor.shape.map { .integer($0) })),
    ]
    var sources = [
      TensorSource(name: name, tensor: bytes), TensorSource(name: name + Suffix.absmax, tensor: scales.absmax),
      TensorSource(
        name: name + Suffix.quantMap,
        tensor: CPUBackend.shared.tensor(FourBitFormat.levels(of: tensor.type), [16])),
    ]
    if let nested = scales.nested {
      state += [
        ("nested_blocksize", .integer(FourBitFormat.nestedBlockSize)), ("nested_dtype", "float32"),
        ("nested_offset", .number(Double(nested.offset))),
      ]
      sources += [
        TensorSource(name: name + Suffix.nestedAbsmax, tensor: nested.absmax),
        TensorSource(name: name + Suffix.nestedQuantMap, tensor: nested.map),
      ]
    }
    let text = Array(JSONValue.object(JSONObject(state)).text().utf8)
    return sources + [
      TensorSource(name: name + Suffix.state(tensor.type), tensor: CPUBackend.shared.tensor(bytes: text))
    ]
  }
}
