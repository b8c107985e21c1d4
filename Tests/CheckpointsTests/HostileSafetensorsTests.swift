import Diagnostics
import Checkpoints
import Foundation
import OrderedJSON
import Tensors
import Testing

/// SplitMix64, so that every run makes the same mutations.
struct Random: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}

/// `bytes` with one to four bytes changed or removed.
func mutated(_ bytes: [UInt8], with random: inout Random) -> [UInt8] {
  var bytes = bytes
  for _ in 0...Int.random(in: 0..<4, using: &random) {
    let place = Int.random(in: 0..<bytes.count, using: &random)
    switch Int.random(in: 0..<4, using: &random) {
    case 0: bytes[place] = UInt8.random(in: .min ... .max, using: &random)
    case 1: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
    case 2: bytes[place] = 0xFF
    default: bytes.remove(at: place)
    }
  }
  return bytes
}

/// Expects a short one-line error whose text contains `reason`.
func expectError(
  _ reason: String, sourceLocation: SourceLocation = #_sourceLocation, _ body: () throws -> Void
) {
  let error = #expect(throws: SwiftletError.self, "\(reason)", sourceLocation: sourceLocation) { try body() }
  let text = error?.description ?? ""
  #expect(text.contains(reason), "\(text)", sourceLocation: sourceLocation)
  #expect(!text.contains("\n") && text.count < 700, "\(text)", sourceLocation: sourceLocation)
}

struct HostileSafetensorsTests {
  let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  /// Opens a file with this header and `dataCount` bytes of data. `length` overrides the header's length field.
  func open(_ header: String, length: UInt64? = nil, dataCount: Int = 8) throws -> SafetensorsCheckpoint {
    let prefix = withUnsafeBytes(of: (length ?? UInt64(header.utf8.count)).littleEndian) { Array($0) }
    let data = [UInt8](repeating: 1, count: dataCount)
    return try SafetensorsCheckpoint(contentsOf: try folder.file("a.safetensors", prefix + Array(header.utf8) + data))
  }

  func entry(_ shape: String, _ offsets: String, type: String = "F32") -> String {
    #"{"a":{"dtype":"\#(type)","shape":\#(shape),"data_offsets":\#(offsets)}}"#
  }

  @Test func opensAValidFile() throws {
    #expect(try open(entry("[2]", "[0,8]")).tensor(named: "a")?.count == 2)
  }

  @Test(arguments: [1 << 63, .max, 1 << 62, 100_000_001, 1_000, 60] as [UInt64])
  func overstatedHeaders(length: UInt64) {
    expectError("claims a safetensors header of \(length) bytes") {
      _ = try open(entry("[2]", "[0,8]"), length: length, dataCount: 0)
    }
  }

  @Test(arguments: [
    ("", "not valid JSON"), ("{", "not valid JSON"), ("[]", "is an array"), ("null", "is null"),
    ("{}x", "not valid JSON"),
    (String(repeating: "[", count: 100_000), "nested deeper"), (#"{"a":1}"#, "no dtype"), (#"{"a":{}}"#, "no dtype"),
    (#"{"a":{"dtype":4}}"#, "no dtype"), (#"{"a":{"dtype":"F31"}}"#, "the type \"F31\""),
    (#"{"a":{"dtype":"F8_E5M2"}}"#, "the type \"F8_E5M2\""), (#"{"a":{"dtype":"f32"}}"#, "the type \"f32\""),
    (#"{"a":{"dtype":"F32"}}"#, "no shape"), (#"{"a":{"dtype":"F32","shape":[1.5]}}"#, "no shape"),
    (#"{"a":{"dtype":"F32","shape":["2"]}}"#, "no shape"), (#"{"a":{"dtype":"F32","shape":[-2]}}"#, "no shape"),
    (#"{"a":{"dtype":"F32","shape":[2]}}"#, "data_offsets"), (#"{"__metadata__":[]}"#, "__metadata__ is an array"),
    (#"{"__metadata__":{"a":1}}"#, "__metadata__ has a number"), ("{}", "belong to no tensor"),
  ])
  func damagedHeaders(header: String, reason: String) { expectError(reason) { _ = try open(header) } }

  @Test(arguments: [
    ("[2]", "[0]", "data_offsets"), ("[2]", "[8,0]", "data_offsets"), ("[2]", "[-8,0]", "data_offsets"),
    ("[2]", "[0,8,8]", "data_offsets"), ("[2]", "[0.5,8]", "data_offsets"), ("[2]", "{}", "data_offsets"),
    ("[2]", "[0,99999999999999999999]", "data_offsets"), ("[2]", "[0,4]", "spans 4 bytes"),
    ("[3]", "[0,8]", "its shape needs 12"), ("[2]", "[8,16]", "extends past the end of the file"),
    ("[2]", "[9223372036854775799,9223372036854775807]", "extends past the end of the file"),
    ("[1]", "[0,4]", "belong to no tensor"), ("[1]", "[4,8]", "belong to no tensor"),
    ("[4294967296,4294967296]", "[0,8]", "invalid shape"), ("[9223372036854775807]", "[0,8]", "invalid shape"),
    ("[4611686018427387904,4,0]", "[0,0]", "invalid shape"),
    ("[0,4611686018427387904,4]", "[0,0]", "invalid shape"),
    ("[9223372036854775808]", "[0,8]", "no shape"),
  ])
  func impossibleTensors(shape: String, offsets: String, reason: String) {
    expectError(reason) { _ = try open(entry(shape, offsets)) }
  }

  @Test func rejectsOverlappingTensors() {
    let a = #""dtype":"F32","shape":[2],"data_offsets":[0,8]"#
    expectError("overlap") { _ = try open(#"{"a":{\#(a)},"b":{\#(a)}}"#) }
    expectError("overlap") {
      _ = try open(#"{"a":{\#(a)},"b":{"dtype":"U8","shape":[2],"data_offsets":[7,9]}}"#, dataCount: 9)
    }
  }

  /// The JSON parser keeps the last of two equal keys, so no tensor claims the first one's bytes.
  @Test func rejectsADuplicateName() {
    expectError("tensor name appears twice") {
      _ = try open(
        #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#)
    }
  }

  @Test func rejectsFilesOfTheWrongKind() throws {
    expectError("could not be opened") { _ = try SafetensorsCheckpoint(contentsOf: folder.url.appending(path: "none")) }
    expectError("is empty") { _ = try SafetensorsCheckpoint(contentsOf: try folder.file("e.safetensors", [])) }
    expectError("too short") { _ = try SafetensorsCheckpoint(contentsOf: try folder.file("s.safetensors", [1, 2, 3])) }
    expectError("neither model.safetensors nor") { _ = try SafetensorsCheckpoint(contentsOf: folder.url) }
    expectError("not a regular file") { _ = try MappedFile(folder.url) }
    expectError("not a regular file") { _ = try MappedFile(URL(filePath: "/dev/zero")) }
    expectError("not valid JSON") { _ = try open("{\"a\u{1}\":{}}") }
  }

  @Test func detectsEveryTruncation() throws {
    let bytes = try Golden.bytes("types.safetensors")
    for length in 0..<bytes.count {
      let file = try folder.file("t.safetensors", bytes.prefix(length))
      #expect(throws: SwiftletError.self, "\(length) bytes") { _ = try SafetensorsCheckpoint(contentsOf: file) }
    }
  }

  @Test func randomMutationsNeverTrap() throws {
    let bytes = try Golden.bytes("types.safetensors")
    var random = Random(state: 1)
    var refused = 0
    for _ in 0..<500 {
      let file = try folder.file("m.safetensors", mutated(bytes, with: &random))
      do throws(SwiftletError) {
        let checkpoint = try SafetensorsCheckpoint(contentsOf: file)
        for name in checkpoint.tensorNames {
          let tensor = checkpoint.tensor(named: name)
          #expect(tensor?.bytes.count == tensor?.byteCount)
        }
      } catch {
        #expect(!error.description.contains("\n"))
        refused += 1
      }
    }
    #expect(refused > 250)
  }

  /// Opens the sharded golden with another index.
  func open(index: String) throws -> SafetensorsCheckpoint {
    for shard in ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"] {
      _ = try folder.file(shard, try Golden.bytes("sharded/\(shard)"))
    }
    _ = try folder.file("model.safetensors.index.json", Array(index.utf8))
    return try SafetensorsCheckpoint(contentsOf: folder.url)
  }

  @Test(arguments: [
    ("{", "not valid JSON"), ("[]", "weight_map"), (#"{"weight_map":[]}"#, "weight_map"),
    (#"{"weight_map":{"layer.0.weight":1}}"#, "has a number for the tensor"),
    (#"{"weight_map":{"layer.0.weight":"model-00003-of-00002.safetensors"}}"#, "could not be opened"),
    (#"{"weight_map":{"layer.0.weight":"model-00002-of-00002.safetensors"}}"#, "which does not contain it"),
    (#"{"weight_map":{"other":"model-00002-of-00002.safetensors"}}"#, "which does not contain it"),
    (#"{"weight_map":{"a":"../model-00001-of-00002.safetensors"}}"#, "do not trust"),
    (#"{"weight_map":{"a":"/etc/a.safetensors"}}"#, "do not trust"),
    (#"{"weight_map":{"a":"x/../../a.safetensors"}}"#, "do not trust"),
    (#"{"weight_map":{"a":"x/./a.safetensors"}}"#, "do not trust"),
    (#"{"weight_map":{"a":"x//a.safetensors"}}"#, "do not trust"),
    (#"{"weight_map":{"a":"x\\y.safetensors"}}"#, "do not trust"),
    (#"{"weight_map":{"a":"x\u0000.safetensors"}}"#, "do not trust"), (#"{"weight_map":{"a":""}}"#, "do not trust"),
    (#"{"weight_map":{"a":"pytorch_model.bin"}}"#, "do not trust"),
  ])
  func damagedIndexes(index: String, reason: String) { expectError(reason) { _ = try open(index: index) } }

  @Test func aShardMayBeInAFolderBesideTheIndex() throws {
    let shard = "model-00001-of-00002.safetensors"
    let inner = folder.url.appendingPathComponent("part")
    try FileManager.default.createDirectory(at: inner, withIntermediateDirectories: true)
    try Data(try Golden.bytes("sharded/\(shard)")).write(to: inner.appendingPathComponent(shard))
    let checkpoint = try open(index: #"{"weight_map":{"layer.1.weight":"part/\#(shard)"}}"#)
    #expect(checkpoint.tensor(named: "layer.1.weight") != nil)
  }

  @Test func anIndexMayLeaveTensorsOut() throws {
    let checkpoint = try open(index: #"{"weight_map":{"layer.1.weight":"model-00001-of-00002.safetensors"}}"#)
    #expect(checkpoint.tensorNames == ["layer.1.weight"])
    #expect(checkpoint.tensor(named: "layer.0.weight") == nil)
  }

  @Test func aShardMayBeALinkAsInADownloadCache() throws {
    let target = try folder.file("blob", try Golden.bytes("types.safetensors"))
    let link = folder.url.appending(path: "model.safetensors")
    try FileManager.default.createSymbolicLink(at: link, withDestinationURL: target)
    #expect(try SafetensorsCheckpoint(contentsOf: folder.url).tensorNames.count == 13)
  }
}
