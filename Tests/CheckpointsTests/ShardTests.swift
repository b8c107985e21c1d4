import Checkpoints
import Diagnostics
import Foundation
import Tensors
import Testing

/// GGUF files in shards, as llama-gguf-split makes them.
@Suite struct ShardTests {
  /// Writes two shards of a model of three tensors into a new folder, and returns their paths.
  private func shards(numbers: [Int] = [0, 1], names: [[String]] = [["a", "b"], ["c"]]) throws -> [URL] {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("swiftlet-shards-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    return try zip(numbers, names).enumerated().map { index, part in
      var metadata = GGUFMetadata()
      if index == 0 { metadata["general.architecture"] = .string("llama") }
      metadata["split.no"] = .uint16(UInt16(part.0))
      metadata["split.count"] = .uint16(2)
      metadata["split.tensors.count"] = .int32(3)
      let tensors = part.1.map { name in
        let value = Float(name.utf8.first ?? 0)
        return TensorSource(name: name, tensor: CPUBackend.shared.tensor([value, value], [1, 2]))
      }
      let url = folder.appendingPathComponent("m-0000\(index + 1)-of-00002.gguf")
      try GGUFWriter.write(metadata: metadata, tensors: tensors, to: url)
      return url
    }
  }

  private func message(_ url: URL) -> String {
    do {
      _ = try GGUFFile(contentsOf: url)
      return ""
    } catch {
      return "\(error)"
    }
  }

  @Test func theFirstShardOpensAll() throws {
    let urls = try shards()
    let file = try GGUFFile(contentsOf: urls[0])
    #expect(file.tensorNames == ["a", "b", "c"])
    for name in file.tensorNames {
      let value = Float(name.utf8.first ?? 0)
      #expect(CPUBackend.shared.floats(try #require(file.tensor(named: name))) == [value, value])
    }
    #expect(file.metadata.keys == ["general.architecture"] && file.path == urls[0].path)
  }

  @Test func otherShardsNameTheFirst() throws {
    #expect(message(try shards()[1]).contains("open the first, *-00001-of-00002.gguf"))
  }

  @Test func missingAndWrongShardsAreNamed() throws {
    let urls = try shards()
    try FileManager.default.removeItem(at: urls[1])
    #expect(message(urls[0]).contains("m-00002-of-00002.gguf"))
    #expect(message(try shards(numbers: [0, 0])[0]).contains("is not shard 2 of 2"))
    #expect(message(try shards(names: [["a"], ["a"]])[0]).contains("is in another shard too"))
    let whole = try shards()
    let renamed = whole[0].deletingLastPathComponent().appendingPathComponent("model.gguf")
    try FileManager.default.moveItem(at: whole[0], to: renamed)
    #expect(message(renamed).contains("must end with -00001-of-00002.gguf"))
  }
}
