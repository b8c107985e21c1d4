import Diagnostics
import Foundation
import OrderedJSON
import Tensors

/// Writes safetensors files: whole or not at all, see `AtomicFile`.
public enum SafetensorsWriter {
  /// The shard size that Hugging Face's tools use, in bytes.
  public static let defaultShardSize = 5_000_000_000

  /// Writes one file. The header lists the tensors in the given order, save that those with wide elements come first,
  /// which keeps every tensor aligned.
  /// - Parameter metadata: the strings under `__metadata__`; readers of the torch kind look for `"format": "pt"`.
  /// - Throws: `SwiftletError`, or what a tensor's `load` throws; the old file then stands as it was.
  public static func write(_ tensors: [TensorSource], metadata: [String: String], to url: URL) throws {
    try finishedFile(tensors, metadata: metadata, at: url).commit()
  }

  /// Writes one file of tensors that exist.
  /// - Throws: `SwiftletError`; the old file then stands as it was.
  public static func write(
    tensors: [(name: String, tensor: Tensor)], metadata: [String: String], to url: URL
  ) throws {
    try write(tensors.map { TensorSource(name: $0.name, tensor: $0.tensor) }, metadata: metadata, to: url)
  }

  /// Writes `model.safetensors` into `folder`, or, where the tensors take more than `shardSize` bytes,
  /// `model-00001-of-0000N.safetensors` and so on with `model.safetensors.index.json`, as Hugging Face names them. A
  /// tensor larger than the limit gets a shard of its own. The files take their names together at the end; weights
  /// under those names from an earlier call are removed then.
  /// - Throws: `SwiftletError`, or what a tensor's `load` throws; the old files then stand as they were.
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

  private static func shardName(_ place: Int, of count: Int) -> String {
    if count == 1 { return "model.safetensors" }
    func padded(_ number: Int) -> String {
      String(repeating: "0", count: max(0, 5 - String(number).count)) + String(number)
    }
    return "model-\(padded(place + 1))-of-\(padded(count)).safetensors"
  }

  private static func createFolder(_ folder: URL) throws(SwiftletError) {
    do {
      try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    } catch {
      throw SwiftletError.checkpoint(
        path: folder.path, reason: "could not be created; check the path and the permissions")
    }
  }

  /// Fills shards in order, as the reference does.
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
    var places: [(key: String, value: JSONValue)] = []
    for (shard, name) in zip(shards, names) {
      for tensor in shard {
        size += try tensor.byteCount(path: path)
        places.append((tensor.name, .string(name)))
      }
    }
    let index: JSONValue = [
      "metadata": ["total_size": .integer(size)],
      "weight_map": .object(JSONObject(distinct: places.sorted { $0.key < $1.key })),
    ]
    return index.text(.pretty) + "\n"
  }

  /// An older `model.safetensors` would be read in preference to new shards, and old shards waste space.
  private static func removeStale(in folder: URL, keeping names: [String]) throws(SwiftletError) {
    let files = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
    for file in files where !names.contains(file) {
      let isShard = file.wholeMatch(of: /model-[0-9]{5,}-of-[0-9]{5,}\.safetensors/) != nil
      guard isShard || file == indexName || file == "model.safetensors" else { continue }
      let path = folder.appendingPathComponent(file).path
      if unlink(path) != 0 { throw .system(path, "is of an earlier model and could not be removed") }
    }
  }

  /// A written and closed file that waits to take its name.
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

  /// The length and the JSON text, padded so that the data start at a multiple of eight.
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
          reason:
            "safetensors cannot hold the tensor \(tensor.name.quotedExcerpt) of type \(tensor.type.rawValue); choose "
            + "another type or name, or write GGUF")
      }
      let (end, overflow) = offset.addingReportingOverflow(try tensor.byteCount(path: path))
      if overflow {
        throw SwiftletError.checkpoint(path: path, reason: "the tensors are too large for one file; write shards")
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
    guard text.count <= SafetensorsFile.longestHeader else {
      throw SwiftletError.checkpoint(path: path, reason: "has too many tensors for one header; write shards")
    }
    return withUnsafeBytes(of: UInt64(text.count).littleEndian) { Array($0) } + text
  }
}
