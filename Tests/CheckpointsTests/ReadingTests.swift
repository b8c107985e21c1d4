import Checkpoints
import Foundation
import OrderedJSON
import Tensors
import Testing

struct ReadingTests {
  static let types: [String: ElementType] = [
    "F64": .float64, "F32": .float32, "F16": .float16, "BF16": .bfloat16, "I64": .int64, "I32": .int32, "I16": .int16,
    "I8": .int8, "U8": .uint8, "BOOL": .bool,
  ]

  /// Compares type, shape and every byte with what the reference package wrote.
  func expect(_ tensor: Tensor?, matches golden: JSONValue) throws {
    let tensor = try #require(tensor, "\(golden["name"]?.string ?? "")")
    #expect(tensor.type == Self.types[golden["type"]?.string ?? ""])
    #expect(tensor.shape == golden["shape"]?.array?.compactMap(\.integer))
    #expect(tensor.hexadecimal == golden["hex"]?.string)
    #expect(tensor.byteOffset % tensor.type.blockByteCount == 0)
  }

  @Test func safetensorsOfEveryType() throws {
    let golden = try Golden.json("types.safetensors.json")
    let checkpoint = try SafetensorsCheckpoint(contentsOf: Golden.url("types.safetensors"))
    let tensors = try #require(golden["tensors"]?.array)
    #expect(tensors.count == 13)
    #expect(Set(checkpoint.tensorNames) == Set(tensors.compactMap { $0["name"]?.string }))
    for tensor in tensors { try expect(checkpoint.tensor(named: tensor["name"]?.string ?? ""), matches: tensor) }
    #expect(checkpoint.metadata == ["format": "pt", "说明": "中文 粵語 🙂"])
  }

  @Test func namesCompareByBytes() throws {
    let checkpoint = try SafetensorsCheckpoint(contentsOf: Golden.url("types.safetensors"))
    #expect(checkpoint.tensor(named: "名字/\u{E9}") != nil)
    #expect(checkpoint.tensor(named: "名字/e\u{301}") == nil)
    #expect(checkpoint.tensor(named: "missing") == nil)
  }

  @Test(arguments: ["sharded", "sharded/model.safetensors.index.json"])
  func shardedSafetensors(path: String) throws {
    let checkpoint = try SafetensorsCheckpoint(contentsOf: Golden.url(path))
    #expect(checkpoint.tensorNames == ["layer.0.weight", "layer.1.weight", "layer.2.weight"])
    for layer in 0..<3 {
      let tensor = try #require(checkpoint.tensor(named: "layer.\(layer).weight"))
      #expect(tensor.shape == [2, 3])
      #expect(tensor.floats == (0..<6).map { Float($0 + 10 * layer) })
    }
    #expect(checkpoint.metadata == ["format": "pt"])
  }

  /// Early writers did not pad the header, which leaves float data misaligned.
  @Test func misalignedTensorsAreCopiedToAlignedMemory() throws {
    let folder = try TemporaryFolder()
    let header = #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"# + " "
    let floats = Tensor.float32([1.5, -2], shape: [2]).bytes
    let length = withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Array($0) }
    #expect(header.utf8.count % 4 != 0)
    let file = try folder.file("a.safetensors", length + Array(header.utf8) + floats)
    let tensor = try #require(try SafetensorsCheckpoint(contentsOf: file).tensor(named: "a"))
    #expect(tensor.floats == [1.5, -2])
    #expect(UInt(bitPattern: tensor.storage.base + tensor.byteOffset) % 4 == 0)
  }

  @Test(arguments: [3, 2] as [UInt8])
  func ggufTensors(version: UInt8) throws {
    let folder = try TemporaryFolder()
    var bytes = try Golden.bytes("types.gguf")
    bytes[4] = version
    let file = try GGUFFile(contentsOf: try folder.file("types.gguf", bytes))
    let golden = try Golden.json("types.gguf.json")
    for tensor in try #require(golden["tensors"]?.array) {
      try expect(file.tensor(named: tensor["name"]?.string ?? ""), matches: tensor)
    }
    let blocks = try #require(golden["blocks"]?.array)
    #expect(blocks.count == 10)
    for block in blocks {
      let name = try #require(block["name"]?.string)
      let tensor = try #require(file.tensor(named: name))
      #expect(tensor.type.rawValue.lowercased() == name.lowercased())
      #expect(tensor.shape == block["shape"]?.array?.compactMap(\.integer))
      #expect(tensor.bytes == (try Golden.bytes("blocks/\(name).blocks")))
    }
    #expect(file.tensorNames.count == 19)
  }

  @Test func ggufMetadataOfEveryType() throws {
    let metadata = try GGUFFile(contentsOf: Golden.url("types.gguf")).metadata
    #expect(metadata.keys.first == "general.architecture")
    #expect(metadata["general.architecture"]?.string == "llama")
    let expected: [String: GGUFValue] = [
      "test.uint8": .uint8(200), "test.int8": .int8(-100), "test.uint16": .uint16(60000), "test.int16": .int16(-30000),
      "test.uint32": .uint32(4_000_000_000), "test.int32": .int32(-2_000_000_000),
      "test.uint64": .uint64(1 << 63 + 5), "test.int64": .int64(-(1 << 62)), "test.float32": .float32(1e-5),
      "test.float64": .float64(1e-300), "test.bool": .bool(true), "test.string": .string("中文 粵語 🙂 é"),
      "test.strings": .array(.string(["a", "", "中文", "Ġthe"])), "test.int32s": .array(.int32([1, -2, 3])),
      "test.float32s": .array(.float32([0.5, -1.25])), "test.bools": .array(.bool([true, false])),
      "test.nested": .array(.array([.int32([1, 2]), .int32([3])])),
    ]
    for (key, value) in expected { #expect(metadata[key] == value, "\(key)") }
    #expect(metadata.entries.count == expected.count + 1)
    #expect(metadata["test.uint64"]?.integer == nil)
    #expect(metadata["test.uint16"]?.integer == 60000)
    #expect(metadata["test.int32s"]?.integers == [1, -2, 3])
    #expect(metadata["test.float32s"]?.floats == [0.5, -1.25])
    #expect(metadata["test.float32"]?.double == Double(Float(1e-5)))
  }
}
