import Diagnostics
import Foundation
import OrderedJSON
import Tensors

/// Weights in safetensors: one file, or a folder with `model.safetensors` or `model.safetensors.index.json` and the
/// shards that it lists. Tensors are views of the mapped files: nothing is read, widened or copied on opening.
public struct SafetensorsCheckpoint: Sendable {
  /// The names of the tensors in file order, shard after shard.
  public let tensorNames: [String]
  /// The strings under `__metadata__`; of several shards the first one that has a key decides.
  public let metadata: [String: String]
  private let files: [SafetensorsFile]
  /// Which of the files has a tensor.
  private let places: [ExactName: Int]

  /// Opens a `.safetensors` file, an index file, or a folder that has either.
  /// - Throws: `SwiftletError` where a file is missing, truncated, or breaks the format in any way.
  public init(contentsOf url: URL) throws(SwiftletError) {
    var isFolder: ObjCBool = false
    let files = FileManager.default
    guard files.fileExists(atPath: url.path, isDirectory: &isFolder), isFolder.boolValue else {
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
        reason: "has neither model.safetensors nor model.safetensors.index.json; give a folder with safetensors weights"
      )
    }
  }

  /// The tensor of that name, or `nil` where there is none.
  public func tensor(named name: String) -> Tensor? {
    guard let place = places[ExactName(name)] else { return nil }
    return files[place].directory.tensor(named: name)
  }

  /// The file that has the tensor of that name.
  func path(of name: String) -> String? { places[ExactName(name)].map { files[$0].directory.file.path } }

  private init(file url: URL) throws(SwiftletError) {
    let file = try SafetensorsFile(url)
    files = [file]
    tensorNames = file.directory.entries.map(\.name)
    metadata = file.metadata
    places = Dictionary(uniqueKeysWithValues: tensorNames.map { (ExactName($0), 0) })
  }

  private init(index url: URL) throws(SwiftletError) {
    let weights = try Self.weightMap(of: url)
    let shardNames = Set(weights.map { ExactName($0.shard) }).map(\.text).sorted()
    let shardPlaces = Dictionary(uniqueKeysWithValues: shardNames.enumerated().map { (ExactName($1), $0) })
    var files: [SafetensorsFile] = []
    var metadata: [String: String] = [:]
    for shard in shardNames {
      let file = try SafetensorsFile(url.deletingLastPathComponent().appendingPathComponent(shard))
      metadata.merge(file.metadata) { first, _ in first }
      files.append(file)
    }
    var places: [ExactName: Int] = [:]
    for (name, shard) in weights {
      guard let place = shardPlaces[ExactName(shard)], files[place].directory.contains(name) else {
        throw SwiftletError.checkpoint(
          path: url.path,
          reason:
            "places the tensor \(name.quotedExcerpt) in \(shard.quotedExcerpt), which does not have it; get both files again"
        )
      }
      places[ExactName(name)] = place
    }
    var names: [String] = []
    for (place, file) in files.enumerated() {
      for entry in file.directory.entries where places[ExactName(entry.name)] == place { names.append(entry.name) }
    }
    self.files = files
    self.places = places
    self.metadata = metadata
    tensorNames = names
  }

  /// Tensor names with the file names of their shards, which must lie beside the index: a model from a stranger could
  /// otherwise name any file of the machine.
  private static func weightMap(of url: URL) throws(SwiftletError) -> [(name: String, shard: String)] {
    let file = try MappedFile(url)
    let index: JSONValue
    do {
      index = try file.withBytes { (bytes) throws(SwiftletError) in try JSONValue(parsing: bytes) }
    } catch {
      throw SwiftletError.checkpoint(path: url.path, reason: "is not JSON (\(error)); get it again")
    }
    guard let map = index["weight_map"]?.object else {
      throw SwiftletError.checkpoint(path: url.path, reason: "has no object at \"weight_map\"; get it again")
    }
    var weights: [(name: String, shard: String)] = []
    for (name, value) in map.members {
      guard let shard = value.string else {
        throw SwiftletError.checkpoint(
          path: url.path, reason: "has \(value.kind) for the tensor \(name.quotedExcerpt) where a file name must stand")
      }
      guard shard.hasSuffix(".safetensors"), !shard.utf8.contains(where: { $0 == 0x2F || $0 == 0x5C || $0 == 0 }) else {
        throw SwiftletError.checkpoint(
          path: url.path,
          reason:
            "places the tensor \(name.quotedExcerpt) in \(shard.quotedExcerpt), which is not the name of a .safetensors file "
            + "beside it; do not trust this model")
      }
      weights.append((name, shard))
    }
    return weights
  }
}
