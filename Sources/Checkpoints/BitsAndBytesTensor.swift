import Diagnostics
import OrderedJSON
import Tensors

/// A tensor of 4-bit codes as bitsandbytes lays it into a checkpoint: under its name the packed codes, `[bytes, 1]`;
/// under the name with a suffix its statistics (`QuantState.as_dict(packed=True)`).
private enum Suffix {
  static let absmax = ".absmax"
  static let quantMap = ".quant_map"
  static let nestedAbsmax = ".nested_absmax"
  static let nestedQuantMap = ".nested_quant_map"
  static func state(_ type: ElementType) -> String { ".quant_state.bitsandbytes__\(type.rawValue)" }
}

extension SafetensorsCheckpoint {
  /// The tensor of that name, with its scales if it is 4-bit codes of bitsandbytes; `nil` where there is none.
  /// - Throws: `SwiftletError` where codes and statistics do not fit each other.
  public func weight(named name: String) throws(SwiftletError) -> Tensor? {
    guard let stored = tensor(named: name) else { return nil }
    for type in [ElementType.nf4, .fp4] {
      if let state = tensor(named: name + Suffix.state(type)) {
        return try FourBitReader(checkpoint: self, name: name, type: type).tensor(stored, state)
      }
    }
    if stored.type == .uint8, tensor(named: name + Suffix.absmax) != nil {
      throw SwiftletError.checkpoint(
        path: path(of: name) ?? "",
        reason:
          "\(name.quotedExcerpt) is quantized, but \((name + Suffix.state(.nf4)).quotedExcerpt) is missing; get the file again"
      )
    }
    return stored
  }
}

/// Puts one tensor together, and believes nothing.
private struct FourBitReader {
  let checkpoint: SafetensorsCheckpoint
  let name: String
  let type: ElementType

  private func failure(_ reason: String) -> SwiftletError {
    SwiftletError.checkpoint(
      path: checkpoint.path(of: name) ?? "",
      reason: "the quantized tensor \(name.quotedExcerpt) \(reason); the file is damaged, get it again")
  }

  func tensor(_ stored: Tensor, _ stateBytes: Tensor) throws(SwiftletError) -> Tensor {
    let state = try json(stateBytes)
    guard state["quant_type"]?.string == type.rawValue else { throw failure("has another quant_type in its state") }
    guard let blockSize = state["blocksize"]?.integer, FourBitFormat.blockSizes.contains(blockSize) else {
      throw failure("has no blocksize from 32 to 4096 in its state")
    }
    guard let extents = state["shape"]?.array?.map(\.integer), !extents.isEmpty else {
      throw failure("has no shape in its state")
    }
    let shape = extents.compactMap(\.self)
    guard shape.count == extents.count, let count = TensorEntry.byteCount(of: .uint8, shape: shape), count > 0 else {
      throw failure("has an impossible shape in its state")
    }
    // The codes may be declared as any type (bnb_4bit_quant_storage); only their bytes matter.
    guard stored.byteCount == count / 2 + count % 2 else {
      throw failure("takes \(stored.byteCount) bytes where its shape \(shape) needs \(count / 2 + count % 2)")
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
    guard bytes.type == .uint8 else { throw failure("has a state that is not bytes") }
    do {
      return try bytes.withBytes { (bytes) throws(SwiftletError) in try JSONValue(parsing: bytes) }
    } catch {
      throw failure("has a state that is not JSON (\(error))")
    }
  }

  private func statistic(_ suffix: String, _ type: ElementType, _ count: Int) throws(SwiftletError) -> Tensor {
    guard let tensor = checkpoint.tensor(named: name + suffix) else { throw failure("lacks its \(suffix.dropFirst())") }
    guard tensor.type == type, tensor.count == count else {
      throw failure(
        "has \(tensor.count) values of type \(tensor.type.rawValue) as \(suffix.dropFirst()) where \(count) of type "
          + "\(type.rawValue) are needed")
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

  /// The levels are known; a file with others means something else by its codes.
  private func check(_ map: Tensor) throws(SwiftletError) {
    let levels = FourBitFormat.levels(of: type)
    let isOurs =
      map.type == .float32
      && map.withBytes { bytes in
        bytes.count == 64
          && levels.indices.allSatisfy {
            abs(bytes.loadUnaligned(fromByteOffset: 4 * $0, as: Float.self) - levels[$0]) < 1e-6
          }
      }
    guard isOurs else { throw failure("has another quant_map than \(type.rawValue)'s") }
  }
}

extension TensorSource {
  /// What bitsandbytes stores for a tensor of 4-bit codes: these and their statistics.
  /// - Parameter dtype: the float type that a reader is told the weight has when it is widened.
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
