import Diagnostics
import Essentials
import OrderedJSON
import Tensors

/// Writes safetensors files atomically (see `AtomicFile`).
public enum SafetensorsWriter {
  /// The default size limit of a shard in Hugging Face's tools, in bytes.
  public static let defaultShardSize = 5_000_000_000

  /// Writes one file. Tensors with wider elements come first, which keeps every tensor aligned; apart from that the
  /// order stays as given.
  /// - Parameter metadata: the strings under `__metadata__`; PyTorch readers expect `"format": "pt"`.
  /// - Throws: `SwiftletError`, or any error of a tensor's `load`; an existing file then stays unchanged.
  public static func write(_ tensors: [TensorSource], metadata: [String: String], to url: URL) throws {
    try finishedFile(tensors, metadata: metadata, at: url).commit()
  }

  /// Writes one file of tensors already in memory.
  /// - Throws: `SwiftletError` on failure, which leaves an existing file unchanged.
  public static func write(
    tensors: [(name: String, tensor: Tensor)], metadata: [String: String], to url: URL
  ) throws {
    try write(tensors.map { TensorSource(name: $0.name, tensor: $0.tensor) }, metadata: metadata, to: url)
  }

  /// Writes `model.safetensors` to `folder`, or `model-00001-of-0000N.safetensors` and so on with
  /// `model.safetensors.index.json` if the tensors exceed `shardSize` bytes, following Hugging Face's naming. A tensor
  /// larger than the limit gets its own shard. All files are renamed into place at the end, and then weights of an
  /// earlier call with other names are deleted.
  /// - Throws: `SwiftletError`, or any error of a tensor's `load`; existing files then stay unchanged.
  public static func write(
    _ tensors: [TensorSource], metadata: [String: String], toFolder folder: URL, shardSize: Int = defaultShardSize
  ) throws {
    try TensorSource.requireDistinctNames(tensors, path: folder.path)
    try createFolder(folder)
    let shards = try split(tensors, shardSize: shardSize, path: folder.path)
    let names = shards.indices.map { shardName($0, of: shards.count) }
    var files: [AtomicFile] = []
    for (shard, name) in zip(shards, names) {
      files.append(try finishedFile(shard, metadata: metadata, at: folder.appendingPathComponent(name)))
    }
    if shards.count > 1 {
      let index = try AtomicFile(replacing: folder.appendingPathComponent(indexName))
      try index.write(Array(try indexText(shards, names: names, path: folder.path).utf8))
      try index.finish()
      files.append(index)
    }
    for file in files { try file.commit() }
    try removeStale(in: folder, keeping: shards.count > 1 ? names + [indexName] : names)
  }

  private static let indexName = "model.safetensors.index.json"

  private static func shardName(_ index: Int, of count: Int) -> String {
    if count == 1 { return "model.safetensors" }
    func padded(_ number: Int) -> String {
      String(repeating: "0", count: max(0, 5 - String(number).count)) + String(number)
    }
    return "model-\(padded(index + 1))-of-\(padded(count)).safetensors"
  }

  private static func createFolder(_ folder: URL) throws(SwiftletError) {
    do {
      try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    } catch {
      throw SwiftletError.checkpoint(
        path: folder.path, reason: "could not be created; check the path and the permissions")
    }
  }

  /// Fills shards in order, as `huggingface_hub` does.
  private static func split(
    _ tensors: [TensorSource], shardSize: Int, path: String
  ) throws(SwiftletError) -> [[TensorSource]] {
    var shards: [[TensorSource]] = [[]]
    var filled = 0
    for tensor in tensors {
      let byteCount = try tensor.byteCount(path: path)
      if let last = shards.last, !last.isEmpty, byteCount > shardSize - filled {
        shards.append([])
        filled = 0
      }
      shards[shards.count - 1].append(tensor)
      filled += byteCount
    }
    return shards
  }

  private static func indexText(
    _ shards: [[TensorSource]], names: [String], path: String
  ) throws(SwiftletError) -> String {
    var size = 0
    var weightMap: [(key: String, value: JSONValue)] = []
    for (shard, name) in zip(shards, names) {
      for tensor in shard {
        size += try tensor.byteCount(path: path)
        weightMap.append((tensor.name, .string(name)))
      }
    }
    let index: JSONValue = [
      "metadata": ["total_size": .integer(size)],
      "weight_map": .object(JSONObject(distinct: weightMap.sorted { $0.key < $1.key })),
    ]
    return index.text(.pretty) + "\n"
  }

  /// Deletes weights of an earlier save: readers would prefer an old `model.safetensors` to new shards.
  private static func removeStale(in folder: URL, keeping names: [String]) throws(SwiftletError) {
    let files = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
    for file in files where !names.contains(file) {
      let isShard = file.wholeMatch(of: /model-[0-9]{5,}-of-[0-9]{5,}\.safetensors/) != nil
      guard isShard || file == indexName || file == "model.safetensors" else { continue }
      let path = folder.appendingPathComponent(file).path
      if unlink(path) != 0 { throw .system(path, "belongs to an earlier model and could not be deleted") }
    }
  }

  /// A file that is written and closed but not yet renamed into place.
  private static func finishedFile(
    _ tensors: [TensorSource], metadata: [String: String], at url: URL
  ) throws -> AtomicFile {
    try TensorSource.requireDistinctNames(tensors, path: url.path)
    let ordered = tensors.enumerated().sorted { a, b in
      (b.element.type.blockByteCount, a.offset) < (a.element.type.blockByteCount, b.offset)
    }.map(\.element)
    let header = try header(ordered, metadata: metadata, path: url.path)
    let file = try AtomicFile(replacing: url)
    try file.write(header)
    for tensor in ordered { try tensor.write(to: file, path: url.path) }
    try file.finish()
    return file
  }

  /// The header's length and JSON text, padded so that the data starts at a multiple of eight bytes.
  private static func header(
    _ tensors: [TensorSource], metadata: [String: String], path: String
  ) throws(SwiftletError) -> [UInt8] {
    var members: [(key: String, value: JSONValue)] = []
    if !metadata.isEmpty {
      let strings = metadata.sorted { $0.key < $1.key }.map { ($0.key, JSONValue.string($0.value)) }
      members.append(("__metadata__", .object(JSONObject(strings))))
    }
    var offset = 0
    for tensor in tensors {
      guard let type = tensor.type.safetensorsName, tensor.name != "__metadata__" else {
        throw SwiftletError.checkpoint(
          path: path,
          reason: "safetensors cannot store the tensor \(tensor.name.quotedExcerpt) of type \(tensor.type.rawValue); "
            + "choose another type or name, or write GGUF")
      }
      let (end, overflow) = offset.addingReportingOverflow(try tensor.byteCount(path: path))
      if overflow {
        throw SwiftletError.checkpoint(path: path, reason: "the tensors exceed the maximum file size; write shards")
      }
      members.append(
        (
          tensor.name,
          [
            "dtype": .string(type), "shape": .array(tensor.shape.map { .integer($0) }),
            "data_offsets": [.integer(offset), .integer(end)],
          ]
        ))
      offset = end
    }
    var text = Array(JSONValue.object(JSONObject(distinct: members)).text(.compact).utf8)
    while text.count % 8 != 0 { text.append(UInt8(ascii: " ")) }
    guard text.count <= SafetensorsFile.maxHeaderLength else {
      throw SwiftletError.checkpoint(
        path: path, reason: "has too many tensors for one safetensors header; write shards")
    }
    return withUnsafeBytes(of: UInt64(text.count).littleEndian) { Array($0) } + text
  }
}
