import Diagnostics
import Essentials
import OrderedJSON
import Tensors

/// Weights in safetensors format: one file, or shards listed in `model.safetensors.index.json`. Tensors are views of
/// the mapped files; opening does not read or convert any weights.
public struct SafetensorsCheckpoint: Sendable {
  /// The names of the tensors, in file order and shard by shard.
  public let tensorNames: [String]
  /// The strings under `__metadata__`. If several shards have the same key, the first shard's value counts.
  public let metadata: [String: String]
  private let files: [SafetensorsFile]
  /// The index in `files` of each tensor's file.
  private let fileIndices: [ExactName: Int]

  /// Opens a `.safetensors` file, an index file, or a folder that contains `model.safetensors` or
  /// `model.safetensors.index.json`.
  /// - Throws: `SwiftletError` if a file is missing, truncated or violates the format.
  public init(contentsOf url: URL) throws(SwiftletError) {
    let files = FileManager.default
    guard files.isFolder(url.path) else {
      if url.lastPathComponent.hasSuffix(".json") { try self.init(index: url) } else { try self.init(file: url) }
      return
    }
    let single = url.appendingPathComponent("model.safetensors")
    let index = url.appendingPathComponent("model.safetensors.index.json")
    if files.fileExists(atPath: single.path) {
      try self.init(file: single)
    } else if files.fileExists(atPath: index.path) {
      try self.init(index: index)
    } else {
      throw SwiftletError.checkpoint(
        path: url.path,
        reason: "contains neither model.safetensors nor model.safetensors.index.json; give a folder with safetensors "
          + "weights"
      )
    }
  }

  /// The tensor named `name`, with a row-major shape, or `nil` if there is none.
  public func tensor(named name: String) -> Tensor? {
    guard let index = fileIndices[ExactName(name)] else { return nil }
    return files[index].directory.tensor(named: name)
  }

  /// The path of the file that contains the tensor named `name`.
  func path(of name: String) -> String? { fileIndices[ExactName(name)].map { files[$0].directory.file.path } }

  private init(file url: URL) throws(SwiftletError) {
    let file = try SafetensorsFile(url)
    files = [file]
    tensorNames = file.directory.entries.map(\.name)
    metadata = file.metadata
    fileIndices = Dictionary(uniqueKeysWithValues: tensorNames.map { (ExactName($0), 0) })
  }

  private init(index url: URL) throws(SwiftletError) {
    let weights = try Self.weightMap(of: url)
    let shardNames = Set(weights.map { ExactName($0.shard) }).map(\.text).sorted()
    let shardIndices = Dictionary(uniqueKeysWithValues: shardNames.enumerated().map { (ExactName($1), $0) })
    var files: [SafetensorsFile] = []
    var metadata: [String: String] = [:]
    for shard in shardNames {
      let file = try SafetensorsFile(url.deletingLastPathComponent().appendingPathComponent(shard))
      metadata.merge(file.metadata) { first, _ in first }
      files.append(file)
    }
    var fileIndices: [ExactName: Int] = [:]
    for (name, shard) in weights {
      guard let index = shardIndices[ExactName(shard)], files[index].directory.contains(name) else {
        throw SwiftletError.checkpoint(
          path: url.path,
          reason:
            "lists the tensor \(name.quotedExcerpt) in \(shard.quotedExcerpt), which does not contain it; download "
            + "both files again")
      }
      fileIndices[ExactName(name)] = index
    }
    var names: [String] = []
    for (index, file) in files.enumerated() {
      for entry in file.directory.entries where fileIndices[ExactName(entry.name)] == index { names.append(entry.name) }
    }
    self.files = files
    self.fileIndices = fileIndices
    self.metadata = metadata
    tensorNames = names
  }

  /// Each tensor's name and the path of its shard. Shards must be in the index's folder, or in a folder inside it, so
  /// that a hostile model cannot name any other file on this machine.
  private static func weightMap(of url: URL) throws(SwiftletError) -> [(name: String, shard: String)] {
    let file = try MappedFile(url)
    let index: JSONValue
    do {
      index = try file.withBytes { (bytes) throws(SwiftletError) in try JSONValue(parsing: bytes) }
    } catch {
      throw SwiftletError.checkpoint(path: url.path, reason: "is not valid JSON (\(error)); download it again")
    }
    guard let map = index["weight_map"]?.object else {
      throw SwiftletError.checkpoint(path: url.path, reason: "has no weight_map object; download it again")
    }
    var weights: [(name: String, shard: String)] = []
    for (name, value) in map.members {
      guard let shard = value.string else {
        throw SwiftletError.checkpoint(
          path: url.path,
          reason: "has \(value.kind) for the tensor \(name.quotedExcerpt), not a file name; download it again")
      }
      let parts = shard.split(separator: "/", omittingEmptySubsequences: false)
      guard shard.hasSuffix(".safetensors"), parts.allSatisfy({ !["", ".", ".."].contains($0) }),
        !shard.utf8.contains(where: { $0 == 0x5C || $0 == 0 })
      else {
        throw SwiftletError.checkpoint(
          path: url.path,
          reason: "lists the tensor \(name.quotedExcerpt) in \(shard.quotedExcerpt), which is not the path of a "
            + ".safetensors file inside the same folder; do not trust this model")
      }
      weights.append((name, shard))
    }
    return weights
  }
}
