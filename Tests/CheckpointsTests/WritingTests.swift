import Diagnostics
import Checkpoints
import Foundation
import OrderedJSON
import Tensors
import Testing

struct WritingTests {
  let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  func sources(_ names: [String], _ tensor: (String) -> Tensor?) throws -> [TensorSource] {
    try names.map { TensorSource(name: $0, tensor: try #require(tensor($0))) }
  }

  /// The reference orders and pads tensors the same way, so reading and writing a file keeps every byte.
  @Test(arguments: ["types.safetensors", "sharded/model-00001-of-00002.safetensors"])
  func safetensorsRoundTripKeepsEveryByte(name: String) throws {
    let checkpoint = try SafetensorsCheckpoint(contentsOf: Golden.url(name))
    let copy = folder.url.appending(path: "copy.safetensors")
    let tensors = try sources(checkpoint.tensorNames) { checkpoint.tensor(named: $0) }
    try SafetensorsWriter.write(tensors, metadata: checkpoint.metadata, to: copy)
    let (written, golden) = ([UInt8](try Data(contentsOf: copy)), try Golden.bytes(name))
    // The reference stores metadata in a hash map, so with several entries their order is random.
    let comparable = checkpoint.metadata.count == 1 ? golden.count : 350
    #expect(written.count == golden.count)
    #expect(written.suffix(comparable) == golden.suffix(comparable))
    #expect(try folder.contents == ["copy.safetensors"])
  }

  @Test func ggufRoundTripKeepsEveryByte() throws {
    let file = try GGUFFile(contentsOf: Golden.url("types.gguf"))
    let copy = folder.url.appending(path: "copy.gguf")
    let tensors = try sources(file.tensorNames) { file.tensor(named: $0) }
    try GGUFWriter.write(metadata: file.metadata, tensors: tensors, to: copy)
    #expect([UInt8](try Data(contentsOf: copy)) == (try Golden.bytes("types.gguf")))
    #expect(try folder.contents == ["copy.gguf"])
  }

  /// `compare_written.py` reads these files with the reference packages; it is next to the goldens.
  @Test func filesForTheReferenceReaders() throws {
    let output = ProcessInfo.processInfo.environment["CHECKPOINTS_OUTPUT"].map { URL(filePath: $0) } ?? folder.url
    let checkpoint = try SafetensorsCheckpoint(contentsOf: Golden.url("types.safetensors"))
    let tensors = try sources(checkpoint.tensorNames) { checkpoint.tensor(named: $0) }
    try SafetensorsWriter.write(tensors, metadata: [:], toFolder: output.appending(path: "sharded"), shardSize: 170)
    try SafetensorsWriter.write(
      tensors, metadata: checkpoint.metadata, to: output.appending(path: "types.safetensors"))
    let file = try GGUFFile(contentsOf: Golden.url("types.gguf"))
    try GGUFWriter.write(
      metadata: file.metadata, tensors: try sources(file.tensorNames) { file.tensor(named: $0) },
      to: output.appending(path: "types.gguf"))
    let shards = try SafetensorsCheckpoint(contentsOf: output.appending(path: "sharded"))
    #expect(shards.tensorNames.count == checkpoint.tensorNames.count)
    for name in shards.tensorNames {
      #expect(shards.tensor(named: name)?.bytes == checkpoint.tensor(named: name)?.bytes)
    }
  }

  @Test func writesWideTypesFirst() throws {
    let url = folder.url.appending(path: "a.safetensors")
    try SafetensorsWriter.write(
      tensors: [("odd", .tensor(.uint8, shape: [3], [1, 2, 3])), ("wide", .float32([1, 2], shape: [2]))],
      metadata: [:], to: url)
    let checkpoint = try SafetensorsCheckpoint(contentsOf: url)
    #expect(checkpoint.tensorNames == ["wide", "odd"])
    #expect(checkpoint.tensor(named: "wide")?.floats == [1, 2])
    #expect(checkpoint.tensor(named: "odd")?.bytes == [1, 2, 3])
  }

  @Test func shardsAreFilledInOrder() throws {
    let tensors = (0..<5).map { (layer: Int) -> TensorSource in
      let columns = layer == 2 ? 8 : 2
      return TensorSource(name: "layer.\(layer)", type: .float32, shape: [2, columns]) {
        .float32([Float](repeating: Float(layer), count: 2 * columns), shape: [2, columns])
      }
    }
    try SafetensorsWriter.write(tensors, metadata: ["format": "pt"], toFolder: folder.url, shardSize: 32)
    let shards = (1...3).map { "model-0000\($0)-of-00003.safetensors" }
    #expect(try folder.contents == (shards + ["model.safetensors.index.json"]))
    let index = try JSONValue(
      parsing: try String(contentsOf: folder.url.appending(path: "model.safetensors.index.json"), encoding: .utf8))
    let expected: JSONValue = [
      "metadata": ["total_size": 128],
      "weight_map": [
        "layer.0": .string(shards[0]), "layer.1": .string(shards[0]), "layer.2": .string(shards[1]),
        "layer.3": .string(shards[2]), "layer.4": .string(shards[2]),
      ],
    ]
    #expect(index == expected)
    let checkpoint = try SafetensorsCheckpoint(contentsOf: folder.url)
    for layer in 0..<5 {
      #expect(checkpoint.tensor(named: "layer.\(layer)")?.floats.allSatisfy { $0 == Float(layer) } == true)
    }

    // A single shard is named model.safetensors, and the shards of the larger model are deleted.
    _ = try folder.file("tokenizer.json", [])
    try SafetensorsWriter.write(Array(tensors[..<1]), metadata: [:], toFolder: folder.url, shardSize: 32)
    #expect(try folder.contents == ["model.safetensors", "tokenizer.json"])
    try SafetensorsWriter.write(tensors, metadata: [:], toFolder: folder.url, shardSize: 100)
    #expect(try folder.contents.contains("model.safetensors") == false)
    #expect(try SafetensorsCheckpoint(contentsOf: folder.url).tensorNames.count == 5)
  }

  struct Interruption: Error {}

  @Test func aFailureLeavesOnlyTheOldFiles() throws {
    let url = folder.url.appending(path: "model.safetensors")
    let old = Tensor.float32([1], shape: [1])
    try SafetensorsWriter.write(tensors: [("a", old)], metadata: [:], to: url)
    let bytes = try Data(contentsOf: url)
    let failing = [
      TensorSource(name: "a", tensor: .float32([2], shape: [1])),
      TensorSource(name: "b", type: .float32, shape: [1]) { throw Interruption() },
    ]
    #expect(throws: Interruption.self) { try SafetensorsWriter.write(failing, metadata: [:], to: url) }
    #expect(throws: Interruption.self) {
      try SafetensorsWriter.write(failing, metadata: [:], toFolder: folder.url, shardSize: 4)
    }
    #expect(throws: Interruption.self) { try GGUFWriter.write(metadata: GGUFMetadata(), tensors: failing, to: url) }
    #expect(try Data(contentsOf: url) == bytes)
    #expect(try folder.contents == ["model.safetensors"])
  }

  @Test func rejectsWhatTheFormatCannotStore() throws {
    let url = folder.url.appending(path: "a")
    let one = Tensor.float32([1], shape: [1])
    let cases: [(String, () throws -> Void)] = [
      (
        "two tensors are named",
        { try SafetensorsWriter.write(tensors: [("a", one), ("a", one)], metadata: [:], to: url) }
      ),
      ("\"__metadata__\"", { try SafetensorsWriter.write(tensors: [("__metadata__", one)], metadata: [:], to: url) }),
      (
        "of type q8_0",
        {
          let tensor = Tensor.tensor(.q8_0, shape: [32], [UInt8](repeating: 0, count: 34))
          try SafetensorsWriter.write(tensors: [("a", tensor)], metadata: [:], to: url)
        }
      ),
      (
        "a multiple of 32",
        {
          let source = TensorSource(name: "a", type: .q8_0, shape: [2, 48]) { one }
          try GGUFWriter.write(metadata: GGUFMetadata(), tensors: [source], to: url)
        }
      ),
      (
        "but was declared as",
        {
          let source = TensorSource(name: "a", type: .float16, shape: [1]) { one }
          try GGUFWriter.write(metadata: GGUFMetadata(), tensors: [source], to: url)
        }
      ),
      (
        "of type bool",
        {
          let source = TensorSource(name: "a", tensor: .tensor(.bool, shape: [1], [1]))
          try GGUFWriter.write(metadata: GGUFMetadata(), tensors: [source], to: url)
        }
      ),
      (
        "longer than 63 bytes",
        {
          let source = TensorSource(name: String(repeating: "n", count: 64), tensor: one)
          try GGUFWriter.write(metadata: GGUFMetadata(), tensors: [source], to: url)
        }
      ),
      (
        "power of two",
        {
          var metadata = GGUFMetadata()
          metadata["general.alignment"] = .uint32(24)
          try GGUFWriter.write(metadata: metadata, tensors: [], to: url)
        }
      ),
    ]
    for (reason, write) in cases {
      let error = #expect(throws: SwiftletError.self) { try write() }
      #expect(error?.description.contains(reason) == true, "\(error?.description ?? reason)")
    }
    #expect(try folder.contents == [])
  }

  @Test func replacesFilesAtomically() throws {
    let url = folder.url.appending(path: "config.json")
    try AtomicFile.write("一", to: url)
    try AtomicFile.write("二", to: url)
    #expect(try String(contentsOf: url, encoding: .utf8) == "二")
    do {
      let dropped = try AtomicFile(replacing: url)
      try dropped.write([1, 2, 3])
    }
    #expect(try String(contentsOf: url, encoding: .utf8) == "二")
    let occupied = folder.url.appending(path: "folder")
    try FileManager.default.createDirectory(at: occupied, withIntermediateDirectories: true)
    let error = #expect(throws: SwiftletError.self) { try AtomicFile.write("三", to: occupied) }
    #expect(error?.description.contains("could not be replaced") == true)
    #expect(throws: SwiftletError.self) { try AtomicFile.write("", to: folder.url.appending(path: "none/a.json")) }
    #expect(try folder.contents == ["config.json", "folder"])
  }

  @Test func ggufMetadataKeepsOrderWhenChanged() {
    var metadata = GGUFMetadata()
    metadata["a"] = .bool(true)
    metadata["é"] = .uint8(1)
    metadata["e\u{301}"] = .uint8(2)
    metadata["a"] = nil
    metadata["é"] = .string("x")
    #expect(metadata.keys.map { Array($0.utf8) } == [Array("é".utf8), Array("e\u{301}".utf8)])
    #expect(metadata["é"]?.string == "x")
    #expect(metadata["e\u{301}"]?.integer == 2)
  }
}
