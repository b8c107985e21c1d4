import Diagnostics
import Foundation
import Tensors

extension ElementType {
  /// The number of this type in a GGUF file (`ggml_type` in `ggml.h`); `nil` where GGML has no such type.
  var ggmlNumber: UInt32? {
    switch self {
    case .float32: 0
    case .float16: 1
    case .q4_0: 2
    case .q4_1: 3
    case .q5_0: 6
    case .q5_1: 7
    case .q8_0: 8
    case .q2_K: 10
    case .q3_K: 11
    case .q4_K: 12
    case .q5_K: 13
    case .q6_K: 14
    case .int8: 24
    case .int16: 25
    case .int32: 26
    case .int64: 27
    case .float64: 28
    case .bfloat16: 30
    case .uint8, .bool, .nf4, .fp4: nil
    }
  }

  /// Whether a GGUF file can hold tensors of this type.
  public var isSupportedByGGUF: Bool { ggmlNumber != nil }

  /// The type by its number in a GGUF file.
  init?(ggmlNumber: UInt32) {
    guard let type = Self.allCases.first(where: { $0.ggmlNumber == ggmlNumber }) else { return nil }
    self = type
  }
}

/// A GGUF file of version 2 or 3: metadata, then tensors. Opening reads the metadata and the list of tensors; the
/// tensors are views of the mapped file. Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
public struct GGUFFile: Sendable {
  /// Keys and values in file order.
  public let metadata: GGUFMetadata
  private let directory: TensorDirectory

  /// The names of the tensors in file order.
  public var tensorNames: [String] { directory.entries.map(\.name) }

  /// The tensor of that name, or `nil` where there is none. Shapes are row-major, outermost extent first, the reverse
  /// of GGUF's own order: a matrix is `[rows, columns]`.
  public func tensor(named name: String) -> Tensor? { directory.tensor(named: name) }

  /// Opens the file at `url`.
  /// - Throws: `SwiftletError` where it is missing, truncated, of a type not supported, or breaks the format.
  public init(contentsOf url: URL) throws(SwiftletError) {
    let file = try MappedFile(url)
    let (metadata, entries) = try file.withBytes { (bytes) throws(SwiftletError) in
      var reader = GGUFReader(bytes: bytes, path: file.path)
      return try Self.header(&reader)
    }
    self.metadata = metadata
    directory = try TensorDirectory(file: file, entries: entries)
  }

  private static func header(_ reader: inout GGUFReader) throws(SwiftletError) -> (GGUFMetadata, [TensorEntry]) {
    try checkVersion(&reader)
    // A tensor takes at least its name's length, the number of extents, type and offset; an entry a length and a type.
    let tensorCount = try reader.count(ofSize: 24, "the list of tensors")
    let entryCount = try reader.count(ofSize: 12, "the metadata")
    var metadata = GGUFMetadata()
    for _ in 0..<entryCount {
      let key = try reader.string("a key")
      if metadata[key] != nil { throw reader.failure("has the key \(key.quotedExcerpt) twice") }
      metadata[key] = try reader.value(key)
    }
    try refuseParts(metadata, reader)
    let alignment = try alignment(metadata, reader)
    var infos: [TensorInfo] = []
    for _ in 0..<tensorCount { infos.append(try tensorInfo(&reader, alignment: alignment)) }
    let dataStart = (reader.position + alignment - 1) / alignment * alignment
    var entries: [TensorEntry] = []
    for info in infos {
      let (offset, overflow) = info.offset.addingReportingOverflow(dataStart)
      if overflow { throw reader.failure("the tensor \(info.name.quotedExcerpt) lies outside the file") }
      entries.append(
        TensorEntry(name: info.name, type: info.type, shape: info.shape, offset: offset, byteCount: info.byteCount))
    }
    return (metadata, entries)
  }

  private static func checkVersion(_ reader: inout GGUFReader) throws(SwiftletError) {
    guard try reader.scalar(UInt32.self, "the header").bigEndian == 0x4747_5546 else {
      throw SwiftletError.checkpoint(
        path: reader.path, reason: "is not a GGUF file; give a file that starts with \"GGUF\"")
    }
    let version = try reader.scalar(UInt32.self, "the header")
    if version.byteSwapped == 2 || version.byteSwapped == 3 {
      throw SwiftletError.checkpoint(
        path: reader.path, reason: "is a big-endian GGUF file, which is not supported; get the little-endian one")
    }
    guard version == 2 || version == 3 else {
      throw SwiftletError.checkpoint(
        path: reader.path, reason: "has GGUF version \(version), not 2 or 3; convert the model again")
    }
  }

  private static func refuseParts(_ metadata: GGUFMetadata, _ reader: GGUFReader) throws(SwiftletError) {
    guard let parts = metadata["split.count"]?.integer, parts > 1 else { return }
    throw SwiftletError.checkpoint(
      path: reader.path, reason: "is one of \(parts) parts of a model; join them with llama-gguf-split --merge")
  }

  private static func alignment(_ metadata: GGUFMetadata, _ reader: GGUFReader) throws(SwiftletError) -> Int {
    guard let value = metadata["general.alignment"] else { return 32 }
    guard let alignment = value.integer, alignment > 0, alignment <= 1 << 30, alignment.nonzeroBitCount == 1 else {
      throw reader.failure("has a general.alignment that is no power of two")
    }
    return alignment
  }

  private struct TensorInfo {
    let name: String
    let type: ElementType
    let shape: [Int]
    let offset: Int
    let byteCount: Int
  }

  private static func tensorInfo(_ reader: inout GGUFReader, alignment: Int) throws(SwiftletError) -> TensorInfo {
    let name = try reader.string("the name of a tensor")
    let what = "the description of the tensor \(name.quotedExcerpt)"
    let rank = try reader.scalar(UInt32.self, what)
    guard rank <= 4 else { throw reader.failure("gives the tensor \(name.quotedExcerpt) \(rank) dimensions") }
    var shape: [Int] = []
    for _ in 0..<rank {
      let extent = try reader.scalar(UInt64.self, what)
      guard let extent = Int(exactly: extent) else { throw reader.failure("has an extent of \(extent) in \(what)") }
      shape.insert(extent, at: 0)
    }
    let number = try reader.scalar(UInt32.self, what)
    guard let type = ElementType(ggmlNumber: number) else {
      throw SwiftletError.checkpoint(
        path: reader.path,
        reason:
          "the tensor \(name.quotedExcerpt) has the GGML type \(number), which is not supported; use a file in F16, "
          + "BF16, Q8_0, Q4_K, Q5_K, Q6_K or another of the classic types")
    }
    guard let byteCount = TensorEntry.byteCount(of: type, shape: shape) else {
      throw reader.failure("gives the tensor \(name.quotedExcerpt) an impossible shape")
    }
    let offset = try reader.scalar(UInt64.self, what)
    guard offset % UInt64(alignment) == 0, let offset = Int(exactly: offset) else {
      throw reader.failure("places the tensor \(name.quotedExcerpt) at \(offset), which is out of range or misaligned")
    }
    return TensorInfo(name: name, type: type, shape: shape, offset: offset, byteCount: byteCount)
  }
}
