import Diagnostics
import Essentials
import Tensors

/// Writes GGUF files, version 3, atomically (see `AtomicFile`).
public enum GGUFWriter {
  /// The longest tensor name that llama.cpp reads, in bytes (`GGML_MAX_NAME` minus the terminating zero).
  public static let maxTensorNameLength = 63

  /// Writes metadata and tensors in the given order, loading one tensor at a time.
  ///
  /// Tensors are aligned to `general.alignment` bytes, or to 32 if the metadata has no such key.
  /// - Throws: `SwiftletError`, or any error of a tensor's `load`; an existing file then stays unchanged.
  public static func write(metadata: GGUFMetadata, tensors: [TensorSource], to url: URL) throws {
    let path = url.path
    try TensorSource.requireDistinctNames(tensors, path: path)
    let alignment = try alignment(metadata, path: path)
    let header = try header(metadata, tensors, alignment: alignment, path: path)
    let file = try AtomicFile(replacing: url)
    try file.write(header)
    for tensor in tensors {
      try tensor.write(to: file, path: path)
      let byteCount = try tensor.byteCount(path: path)
      try file.write([UInt8](repeating: 0, count: padding(after: byteCount, to: alignment)))
    }
    try file.commit()
  }

  private static func padding(after count: Int, to alignment: Int) -> Int {
    (alignment - count % alignment) % alignment
  }

  private static func alignment(_ metadata: GGUFMetadata, path: String) throws(SwiftletError) -> Int {
    guard let value = metadata["general.alignment"] else { return 32 }
    guard case .uint32(let alignment) = value, alignment.nonzeroBitCount == 1, alignment <= 1 << 20 else {
      throw SwiftletError.checkpoint(
        path: path, reason: "general.alignment must be a uint32 power of two up to 1048576; remove it")
    }
    return Int(alignment)
  }

  private static func header(
    _ metadata: GGUFMetadata, _ tensors: [TensorSource], alignment: Int, path: String
  ) throws(SwiftletError) -> [UInt8] {
    var bytes = GGUFBytes()
    bytes.content = Array("GGUF".utf8)
    bytes.append(UInt32(3))
    bytes.append(UInt64(tensors.count))
    bytes.append(UInt64(metadata.entries.count))
    for (key, value) in metadata.entries {
      bytes.append(key)
      bytes.append(value)
    }
    var offset = 0
    for tensor in tensors {
      guard let type = tensor.type.ggmlID, tensor.shape.count <= 4 else {
        throw SwiftletError.checkpoint(
          path: path,
          reason: "GGUF cannot store the tensor \(tensor.name.quotedExcerpt) of type \(tensor.type.rawValue) with "
            + "\(tensor.shape.count) dimensions; choose another type or shape")
      }
      guard tensor.name.utf8.count <= maxTensorNameLength else {
        throw SwiftletError.checkpoint(
          path: path,
          reason: "the tensor name \(tensor.name.quotedExcerpt) is longer than \(maxTensorNameLength) bytes; shorten it"
        )
      }
      let byteCount = try tensor.byteCount(path: path)
      let (end, overflow) = offset.addingReportingOverflow(byteCount)
      if overflow || end > Int.max - alignment {
        throw SwiftletError.checkpoint(
          path: path, reason: "the tensors exceed the maximum file size; choose a smaller type")
      }
      bytes.append(tensor.name)
      bytes.append(UInt32(tensor.shape.count))
      for dimension in tensor.shape.reversed() { bytes.append(UInt64(dimension)) }
      bytes.append(type)
      bytes.append(UInt64(offset))
      offset = end + padding(after: end, to: alignment)
    }
    bytes.content += [UInt8](repeating: 0, count: padding(after: bytes.content.count, to: alignment))
    return bytes.content
  }
}

/// Encodes the fields of a GGUF header.
private struct GGUFBytes {
  var content: [UInt8] = []

  mutating func append<Scalar: BitwiseCopyable>(_ scalar: Scalar) {
    withUnsafeBytes(of: scalar) { content.append(contentsOf: $0) }
  }

  mutating func append(_ text: String) {
    append(UInt64(text.utf8.count))
    content.append(contentsOf: text.utf8)
  }

  mutating func append(_ value: GGUFValue) {
    switch value {
    case .uint8(let value): append(UInt32(0), value)
    case .int8(let value): append(UInt32(1), value)
    case .uint16(let value): append(UInt32(2), value)
    case .int16(let value): append(UInt32(3), value)
    case .uint32(let value): append(UInt32(4), value)
    case .int32(let value): append(UInt32(5), value)
    case .float32(let value): append(UInt32(6), value)
    case .bool(let value): append(UInt32(7), UInt8(value ? 1 : 0))
    case .string(let value):
      append(UInt32(8))
      append(value)
    case .array(let values):
      append(UInt32(9))
      append(values)
    case .uint64(let value): append(UInt32(10), value)
    case .int64(let value): append(UInt32(11), value)
    case .float64(let value): append(UInt32(12), value)
    }
  }

  private mutating func append<Scalar: BitwiseCopyable>(_ type: UInt32, _ scalar: Scalar) {
    append(type)
    append(scalar)
  }

  private mutating func append(_ array: GGUFArray) {
    switch array {
    case .uint8(let values): append(0, values)
    case .int8(let values): append(1, values)
    case .uint16(let values): append(2, values)
    case .int16(let values): append(3, values)
    case .uint32(let values): append(4, values)
    case .int32(let values): append(5, values)
    case .float32(let values): append(6, values)
    case .bool(let values): append(7, values.map { UInt8($0 ? 1 : 0) })
    case .string(let values):
      append(UInt32(8))
      append(UInt64(values.count))
      for value in values { append(value) }
    case .array(let values):
      append(UInt32(9))
      append(UInt64(values.count))
      for value in values { append(value) }
    case .uint64(let values): append(10, values)
    case .int64(let values): append(11, values)
    case .float64(let values): append(12, values)
    }
  }

  private mutating func append<Scalar: BitwiseCopyable>(_ type: UInt32, _ scalars: [Scalar]) {
    append(type)
    append(UInt64(scalars.count))
    scalars.withUnsafeBytes { content.append(contentsOf: $0) }
  }
}
