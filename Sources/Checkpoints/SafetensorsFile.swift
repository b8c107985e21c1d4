import Diagnostics
import Foundation
import OrderedJSON
import Tensors

extension ElementType {
  /// The name of this type in a safetensors header; `nil` for GGML's block types.
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
    case .uint8: "U8"
    case .bool: "BOOL"
    default: nil
    }
  }

  /// The type by its name in a safetensors header.
  init?(safetensorsName: String) {
    guard let type = Self.allCases.first(where: { $0.safetensorsName == safetensorsName }) else { return nil }
    self = type
  }
}

/// One safetensors file: eight bytes with the length of the header, the header in JSON, the tensors.
/// Format: https://github.com/huggingface/safetensors#format
struct SafetensorsFile: Sendable {
  let directory: TensorDirectory
  let metadata: [String: String]
  /// The longest header that the reference reader accepts.
  static let longestHeader = 100_000_000

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
    try Self.requireNoHoles(in: directory, dataStart: dataStart)
  }

  private static func header(of file: MappedFile) throws(SwiftletError) -> (JSONObject, dataStart: Int) {
    let damaged = "the file is cut short, damaged or of another format, get it again"
    return try file.withBytes { (bytes) throws(SwiftletError) in
      guard bytes.count >= 8 else {
        throw SwiftletError.checkpoint(path: file.path, reason: "is too short for a safetensors header; \(damaged)")
      }
      let length = UInt64(littleEndian: bytes.loadUnaligned(as: UInt64.self))
      guard length <= UInt64(longestHeader), length <= UInt64(bytes.count - 8) else {
        throw SwiftletError.checkpoint(
          path: file.path, reason: "claims a safetensors header of \(length) bytes in \(bytes.count); \(damaged)")
      }
      let dataStart = 8 + Int(length)
      let value: JSONValue
      do {
        value = try JSONValue(parsing: bytes[8..<dataStart])
      } catch {
        throw SwiftletError.checkpoint(
          path: file.path, reason: "its safetensors header is not JSON (\(error)); \(damaged)")
      }
      guard let header = value.object else {
        throw SwiftletError.checkpoint(path: file.path, reason: "its safetensors header is \(value.kind); \(damaged)")
      }
      return (header, dataStart)
    }
  }

  private static func metadata(_ value: JSONValue, of file: MappedFile) throws(SwiftletError) -> [String: String] {
    guard let object = value.object else {
      throw SwiftletError.checkpoint(
        path: file.path, reason: "its __metadata__ is \(value.kind), not an object; get it again")
    }
    var metadata: [String: String] = [:]
    for (key, value) in object.members {
      guard let text = value.string else {
        throw SwiftletError.checkpoint(
          path: file.path,
          reason: "its __metadata__ has \(value.kind) at \(key.quotedExcerpt) where a string must stand; get it again")
      }
      metadata[key] = text
    }
    return metadata
  }

  private static func entry(
    _ name: String, _ value: JSONValue, dataStart: Int, of file: MappedFile
  ) throws(SwiftletError) -> TensorEntry {
    func failure(_ cause: String) -> SwiftletError {
      SwiftletError.checkpoint(path: file.path, reason: "the tensor \(name.quotedExcerpt) \(cause)")
    }
    let damaged = "; the file is damaged, get it again"
    guard let typeName = value["dtype"]?.string else { throw failure("has no dtype\(damaged)") }
    guard let type = ElementType(safetensorsName: typeName) else {
      throw failure("has the type \(typeName.quotedExcerpt), which is not supported; convert it to BF16, F16 or F32")
    }
    guard let shape = integers(value["shape"]) else { throw failure("has no shape of whole numbers\(damaged)") }
    guard let byteCount = TensorEntry.byteCount(of: type, shape: shape) else {
      throw failure("has an impossible shape\(damaged)")
    }
    guard let offsets = integers(value["data_offsets"]), offsets.count == 2, offsets[0] <= offsets[1] else {
      throw failure("has no two ascending data_offsets\(damaged)")
    }
    guard offsets[1] - offsets[0] == byteCount else {
      throw failure("takes \(offsets[1] - offsets[0]) bytes where its shape needs \(byteCount)\(damaged)")
    }
    let (offset, overflow) = dataStart.addingReportingOverflow(offsets[0])
    if overflow { throw failure("lies outside the file\(damaged)") }
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

  /// The format wants every byte to belong to a tensor. This also finds a name that stands twice in the header, of
  /// which the parser keeps only the last, and bytes appended to hide something.
  private static func requireNoHoles(in directory: TensorDirectory, dataStart: Int) throws(SwiftletError) {
    var end = dataStart
    for entry in directory.entries.filter({ $0.byteCount > 0 }).sorted(by: { $0.offset < $1.offset }) {
      if entry.offset != end { break }
      end += entry.byteCount
    }
    if end != directory.file.byteCount {
      throw SwiftletError.checkpoint(
        path: directory.file.path,
        reason: "the bytes from \(end) on belong to no tensor, or a tensor is named twice; the file is damaged, get it "
          + "again")
    }
  }
}
