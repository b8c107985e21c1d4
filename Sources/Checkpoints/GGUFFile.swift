import Diagnostics
import Essentials
import Tensors

/// A GGUF file, version 2 or 3, or the shards of one, opened by the first. Opening reads the metadata and the lists of
/// tensors; the tensors are views of the mapped files. Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
public struct GGUFFile: Sendable {
  /// The metadata keys and values, in file order.
  public let metadata: GGUFMetadata
  /// Of the file, or of each shard.
  private let directories: [TensorDirectory]

  /// The path that the file was opened with.
  public let path: String

  /// The names of the tensors, in file order.
  public var tensorNames: [String] { directories.flatMap { $0.entries.map(\.name) } }

  /// The tensor named `name`, or `nil` if there is none. Shapes are row-major (a matrix is `[rows, columns]`), the reverse
  /// of the order in the file.
  public func tensor(named name: String) -> Tensor? {
    directories.first { $0.contains(name) }?.tensor(named: name)
  }

  /// Opens the file at `url`.
  /// - Throws: `SwiftletError` if the file is missing, truncated, violates the format, or has tensors of an unsupported
  ///   type.
  public init(contentsOf url: URL) throws(SwiftletError) {
    let (opened, directory) = try Self.open(url)
    var metadata = opened
    path = directory.file.path
    var directories = [directory]
    let shards = try GGUFShards(metadata, of: url)
    for (number, other) in (shards?.others ?? []).enumerated() {
      let (itsMetadata, its) = try Self.open(other)
      try shards?.check(itsMetadata, number: number + 1, path: its.file.path)
      if let twice = its.entries.first(where: { entry in directories.contains { $0.contains(entry.name) } }) {
        throw .corrupt(its.file.path, "the tensor \(twice.name.quotedExcerpt) is in another shard too")
      }
      directories.append(its)
    }
    // Whatever is written from here is one file.
    for key in GGUFShards.keys { metadata[key] = nil }
    (self.metadata, self.directories) = (metadata, directories)
  }

  private static func open(_ url: URL) throws(SwiftletError) -> (GGUFMetadata, TensorDirectory) {
    let file = try MappedFile(url)
    let (metadata, entries) = try file.withBytes { (bytes) throws(SwiftletError) in
      var reader = GGUFReader(bytes: bytes, path: file.path)
      return try Self.header(&reader)
    }
    return (metadata, try TensorDirectory(file: file, entries: entries))
  }

  private static func header(_ reader: inout GGUFReader) throws(SwiftletError) -> (GGUFMetadata, [TensorEntry]) {
    try checkVersion(&reader)
    // The least a tensor takes is its name's length, rank, type and offset; an entry takes a key's length and a type.
    let tensorCount = try reader.count(ofSize: 24, "the list of tensors")
    let entryCount = try reader.count(ofSize: 12, "the metadata")
    var metadata = GGUFMetadata()
    for _ in 0..<entryCount {
      let key = try reader.string("a key")
      if metadata[key] != nil { throw reader.failure("the key \(key.quotedExcerpt) appears twice") }
      metadata[key] = try reader.value(key)
    }
    let alignment = try alignment(metadata, reader)
    var infos: [TensorInfo] = []
    for _ in 0..<tensorCount { infos.append(try tensorInfo(&reader, alignment: alignment)) }
    let dataStart = (reader.position + alignment - 1) / alignment * alignment
    var entries: [TensorEntry] = []
    for info in infos {
      let (offset, overflow) = info.offset.addingReportingOverflow(dataStart)
      if overflow { throw reader.failure("the tensor \(info.name.quotedExcerpt) extends past the end of the file") }
      entries.append(
        TensorEntry(name: info.name, type: info.type, shape: info.shape, offset: offset, byteCount: info.byteCount))
    }
    return (metadata, entries)
  }

  private static func checkVersion(_ reader: inout GGUFReader) throws(SwiftletError) {
    guard try reader.scalar(UInt32.self, "the header").bigEndian == 0x4747_5546 else {
      throw SwiftletError.checkpoint(
        path: reader.path, reason: "is not a GGUF file; check the path")
    }
    let version = try reader.scalar(UInt32.self, "the header")
    if version.byteSwapped == 2 || version.byteSwapped == 3 {
      throw SwiftletError.checkpoint(
        path: reader.path, reason: "is a big-endian GGUF file, which is not supported; get the little-endian one")
    }
    guard version == 2 || version == 3 else {
      throw SwiftletError.checkpoint(
        path: reader.path,
        reason: "GGUF version \(version) is not supported, only versions 2 and 3; convert the model again")
    }
  }

  private static func alignment(_ metadata: GGUFMetadata, _ reader: GGUFReader) throws(SwiftletError) -> Int {
    guard let value = metadata["general.alignment"] else { return 32 }
    guard let alignment = value.integer, alignment > 0, alignment <= 1 << 30, alignment.nonzeroBitCount == 1 else {
      throw reader.failure("general.alignment is not a power of two up to 2^30")
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
    guard rank <= 4 else {
      throw reader.failure("the tensor \(name.quotedExcerpt) has \(rank) dimensions; the format allows 4")
    }
    var shape: [Int] = []
    for _ in 0..<rank {
      let dimension = try reader.scalar(UInt64.self, what)
      guard let dimension = Int(exactly: dimension) else {
        throw reader.failure("the tensor \(name.quotedExcerpt) has a dimension of \(dimension)")
      }
      shape.insert(dimension, at: 0)
    }
    let id = try reader.scalar(UInt32.self, what)
    guard let type = ElementType(ggmlID: id) else {
      throw SwiftletError.checkpoint(
        path: reader.path,
        reason: "\(GGMLTypeName.of(id: id)) is not supported (tensor \(name.quotedExcerpt)); use a file in F16, BF16, "
          + "Q8_0, Q4_0, Q4_K, Q5_K or Q6_K")
    }
    guard let byteCount = TensorEntry.byteCount(of: type, shape: shape) else {
      throw reader.failure("the tensor \(name.quotedExcerpt) has an invalid shape")
    }
    let offset = try reader.scalar(UInt64.self, what)
    guard offset % UInt64(alignment) == 0, let offset = Int(exactly: offset) else {
      throw reader.failure("the tensor \(name.quotedExcerpt) has an invalid or misaligned offset (\(offset))")
    }
    return TensorInfo(name: name, type: type, shape: shape, offset: offset, byteCount: byteCount)
  }
}
