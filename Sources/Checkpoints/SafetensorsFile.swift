import Diagnostics
import Essentials
import OrderedJSON
import Tensors

extension ElementType {
  /// The name of this type in a safetensors header; `nil` for block-quantized types.
  var safetensorsName: String? {
    switch self {
    case .float64: "F64"
    case .float32: "F32"
    case .float16: "F16"
    case .bfloat16: "BF16"
    case .int64: "I64"
    case .int32: "I32"
    case .int16: "I16"
    case .int8: "I8"
    case .uint32: "U32"
    case .uint8: "U8"
    case .float8: "F8_E4M3"
    case .bool: "BOOL"
    default: nil
    }
  }

  /// The type with this name in a safetensors header; `nil` if Swiftlet does not support it.
  init?(safetensorsName: String) {
    guard let type = Self.allCases.first(where: { $0.safetensorsName == safetensorsName }) else { return nil }
    self = type
  }
}

/// One safetensors file: the header's length in eight bytes, the header in JSON, then the tensors.
/// Format: https://github.com/huggingface/safetensors#format
struct SafetensorsFile: Sendable {
  let directory: TensorDirectory
  let metadata: [String: String]
  /// The longest header that the reference implementation accepts, in bytes.
  static let maxHeaderLength = 100_000_000

  init(_ url: URL) throws(SwiftletError) {
    let file = try MappedFile(url)
    let (header, dataStart) = try Self.header(of: file)
    var entries: [TensorEntry] = []
    var metadata: [String: String] = [:]
    for (name, value) in header.members {
      if name == "__metadata__" {
        metadata = try Self.metadata(value, of: file)
      } else {
        entries.append(try Self.entry(name, value, dataStart: dataStart, of: file))
      }
    }
    directory = try TensorDirectory(file: file, entries: entries)
    self.metadata = metadata
    try Self.requireNoGaps(in: directory, dataStart: dataStart)
  }

  private static func header(of file: MappedFile) throws(SwiftletError) -> (JSONObject, dataStart: Int) {
    try file.withBytes { (bytes) throws(SwiftletError) in
      guard bytes.count >= 8 else {
        throw .corrupt(file.path, "is too short for a safetensors file")
      }
      let length = UInt64(littleEndian: bytes.loadUnaligned(as: UInt64.self))
      guard length <= UInt64(maxHeaderLength), length <= UInt64(bytes.count - 8) else {
        throw .corrupt(
          file.path, "claims a safetensors header of \(length) bytes in a file of \(bytes.count) bytes")
      }
      let dataStart = 8 + Int(length)
      let value: JSONValue
      do {
        value = try JSONValue(parsing: bytes[8..<dataStart])
      } catch {
        throw .corrupt(file.path, "the safetensors header is not valid JSON (\(error))")
      }
      guard let header = value.object else {
        throw .corrupt(file.path, "the safetensors header is \(value.kind), not an object")
      }
      return (header, dataStart)
    }
  }

  private static func metadata(_ value: JSONValue, of file: MappedFile) throws(SwiftletError) -> [String: String] {
    guard let object = value.object else {
      throw .corrupt(file.path, "__metadata__ is \(value.kind), not an object")
    }
    var metadata: [String: String] = [:]
    for (key, value) in object.members {
      guard let text = value.string else {
        throw .corrupt(file.path, "__metadata__ has \(value.kind) for \(key.quotedExcerpt), not a string")
      }
      metadata[key] = text
    }
    return metadata
  }

  private static func entry(
    _ name: String, _ value: JSONValue, dataStart: Int, of file: MappedFile
  ) throws(SwiftletError) -> TensorEntry {
    func corrupt(_ problem: String) -> SwiftletError {
      .corrupt(file.path, "the tensor \(name.quotedExcerpt) \(problem)")
    }
    guard let typeName = value["dtype"]?.string else { throw corrupt("has no dtype") }
    guard let type = ElementType(safetensorsName: typeName) else {
      throw SwiftletError.checkpoint(
        path: file.path,
        reason: "the tensor \(name.quotedExcerpt) has the type \(typeName.quotedExcerpt), which is not supported; "
          + "convert it to BF16, F16 or F32")
    }
    guard let shape = integers(value["shape"]) else { throw corrupt("has no shape of non-negative integers") }
    guard let byteCount = TensorEntry.byteCount(of: type, shape: shape) else { throw corrupt("has an invalid shape") }
    guard let offsets = integers(value["data_offsets"]), offsets.count == 2, offsets[0] <= offsets[1] else {
      throw corrupt("has no pair of ascending data_offsets")
    }
    guard offsets[1] - offsets[0] == byteCount else {
      throw corrupt("spans \(offsets[1] - offsets[0]) bytes but its shape needs \(byteCount)")
    }
    let (offset, overflow) = dataStart.addingReportingOverflow(offsets[0])
    if overflow { throw corrupt("extends past the end of the file") }
    return TensorEntry(name: name, type: type, shape: shape, offset: offset, byteCount: byteCount)
  }

  /// An array of non-negative integers.
  private static func integers(_ value: JSONValue?) -> [Int]? {
    guard let elements = value?.array else { return nil }
    var integers: [Int] = []
    for element in elements {
      guard case .integer(let integer) = element, integer >= 0 else { return nil }
      integers.append(integer)
    }
    return integers
  }

  /// Checks that every byte belongs to a tensor, as the format requires. This also detects a name that appears twice in
  /// the header, since the JSON parser keeps only the last one, and appended data.
  private static func requireNoGaps(in directory: TensorDirectory, dataStart: Int) throws(SwiftletError) {
    var end = dataStart
    for entry in directory.entries.filter({ $0.byteCount > 0 }).sorted(by: { $0.offset < $1.offset }) {
      if entry.offset != end { break }
      end += entry.byteCount
    }
    if end != directory.file.byteCount {
      throw .corrupt(
        directory.file.path, "the bytes after offset \(end) belong to no tensor, or a tensor name appears twice")
    }
  }
}
