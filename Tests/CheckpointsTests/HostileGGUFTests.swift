import Diagnostics
import Checkpoints
import Foundation
import Tensors
import Testing

/// A GGUF file built field by field, so that each field can be invalid.
struct GGUFParts {
  var magic = Array("GGUF".utf8)
  var version: UInt32 = 3
  var tensorCount: UInt64 = 1
  var entryCount: UInt64?
  var entries: [[UInt8]] = []
  var name = Array("a".utf8)
  var nameLength: UInt64?
  var rank: UInt32?
  var extents: [UInt64] = [2]
  var type: UInt32 = 0
  var offset: UInt64 = 0
  var dataCount = 32

  static func bytes<Scalar: BitwiseCopyable>(_ scalar: Scalar) -> [UInt8] { withUnsafeBytes(of: scalar) { Array($0) } }

  static func text(_ text: String) -> [UInt8] { bytes(UInt64(text.utf8.count)) + Array(text.utf8) }

  static func entry(_ key: String, _ type: UInt32, _ value: [UInt8]) -> [UInt8] { text(key) + bytes(type) + value }

  static func array(_ type: UInt32, count: UInt64) -> [UInt8] { bytes(type) + bytes(count) }

  var tensor: [UInt8] {
    Self.bytes(nameLength ?? UInt64(name.count)) + name + Self.bytes(rank ?? UInt32(extents.count))
      + extents.flatMap { Self.bytes($0) } + Self.bytes(type) + Self.bytes(offset)
  }

  var file: [UInt8] {
    var file = magic + Self.bytes(version) + Self.bytes(tensorCount)
    file += Self.bytes(entryCount ?? UInt64(entries.count)) + entries.flatMap { $0 } + tensor
    while file.count % 32 != 0 { file.append(0) }
    return file + [UInt8](repeating: 1, count: dataCount)
  }
}

struct HostileGGUFTests {
  let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  func open(_ change: (inout GGUFParts) -> Void) throws -> GGUFFile {
    var parts = GGUFParts()
    change(&parts)
    return try GGUFFile(contentsOf: try folder.file("a.gguf", parts.file))
  }

  /// Expects the changed file to be rejected with a message that contains `reason`.
  func refuses(
    _ reason: String, sourceLocation: SourceLocation = #_sourceLocation, _ change: (inout GGUFParts) -> Void
  ) {
    expectError(reason, sourceLocation: sourceLocation) { _ = try open(change) }
  }

  func refuses(
    _ reason: String, entry: [UInt8], sourceLocation: SourceLocation = #_sourceLocation
  ) {
    refuses(reason, sourceLocation: sourceLocation) { $0.entries = [entry] }
  }

  @Test func opensAValidFile() throws {
    let file = try open { $0.entries = [GGUFParts.entry("k", 8, GGUFParts.text("v"))] }
    #expect(file.tensor(named: "a")?.shape == [2])
    #expect(file.metadata["k"]?.string == "v")
    #expect(try open { $0.extents = [2, 3] }.tensor(named: "a")?.shape == [3, 2])
    #expect(try open { $0.extents = [] }.tensor(named: "a")?.shape == [])
  }

  @Test func headers() {
    refuses("not a GGUF file") { $0.magic = Array("GGML".utf8) }
    refuses("version 1 is") { $0.version = 1 }
    refuses("version 4 is") { $0.version = 4 }
    refuses("big-endian") { $0.version = UInt32(3).byteSwapped }
    refuses("the list of tensors") { $0.tensorCount = .max }
    refuses("the list of tensors") { $0.tensorCount = 1 << 62 }
    refuses("truncated or corrupt") { $0.tensorCount = 3 }
    refuses("the metadata") { $0.entryCount = .max }
    refuses("the metadata") { $0.entryCount = 1 << 63 }
  }

  @Test func metadata() {
    let (entry, bytes) = (GGUFParts.entry, { (value: UInt64) in GGUFParts.bytes(value) })
    refuses("unknown type 13", entry: entry("k", 13, []))
    refuses("unknown type 4294967295", entry: entry("k", .max, []))
    refuses("the value of \"k\"", entry: entry("k", 8, bytes(.max)))
    refuses("the value of \"k\"", entry: entry("k", 8, bytes(1 << 40)))
    refuses("the value of \"k\" is not valid UTF-8", entry: entry("k", 8, bytes(2) + [0xFF, 0xFE]))
    refuses("a key is not valid UTF-8", entry: bytes(1) + [0xC3] + GGUFParts.bytes(UInt32(0)) + [1])
    refuses("a key", entry: bytes(.max))
    refuses("the key \"k\" appears twice") { $0.entries = [entry("k", 0, [1]), entry("k", 0, [1])] }
    for type in UInt32(0)...12 {
      refuses("the value of \"k\"", entry: entry("k", 9, GGUFParts.array(type, count: .max)))
      refuses("the value of \"k\"", entry: entry("k", 9, GGUFParts.array(type, count: 1 << 60)))
      refuses("the value of \"k\"", entry: entry("k", 9, GGUFParts.array(type, count: 1000)))
    }
    refuses("unknown type 99", entry: entry("k", 9, GGUFParts.array(99, count: 0)))
    let nested = (0..<5000).flatMap { _ in GGUFParts.array(9, count: 1) }
    refuses("nests arrays more than 8 deep", entry: entry("k", 9, nested))
    let strings = GGUFParts.array(8, count: 2) + GGUFParts.text("a") + bytes(1 << 50)
    refuses("the value of \"k\"", entry: entry("k", 9, strings))
    refuses("one of 4 shards; open the first", entry: entry("split.count", 2, [4, 0]))
  }

  @Test func alignments() {
    for (type, value) in [
      (4, [0, 0, 0, 0]), (4, [3, 0, 0, 0]), (4, [0, 0, 0, 0x80]), (5, [0xE0, 0xFF, 0xFF, 0xFF]),
      (8, GGUFParts.text("32")),
    ] as [(UInt32, [UInt8])] {
      refuses("general.alignment", entry: GGUFParts.entry("general.alignment", type, value))
    }
    // A valid alignment, but the offsets and the file size do not match it.
    refuses("past the end of the file", entry: GGUFParts.entry("general.alignment", 4, [0, 0, 0, 0x40]))
    refuses("misaligned offset") { $0.offset = 16 }
    #expect(throws: Never.self) {
      _ = try open {
        $0.entries = [GGUFParts.entry("general.alignment", 4, [8, 0, 0, 0])]
        $0.offset = 16
      }
    }
  }

  @Test func tensors() {
    refuses("the name of a tensor") { $0.nameLength = .max }
    refuses("the name of a tensor") { $0.nameLength = 1 << 33 }
    refuses("the name of a tensor is not valid UTF-8") { $0.name = [0xC0, 0x80] }
    refuses("5 dimensions") { $0.extents = [1, 1, 1, 1, 1] }
    refuses("4294967295 dimensions") { $0.rank = .max }
    refuses("a dimension of 18446744073709551615") { $0.extents = [.max] }
    refuses("a dimension of 9223372036854775808") { $0.extents = [1 << 63] }
    refuses("invalid shape") { $0.extents = [1 << 62, 4] }
    refuses("invalid shape") { $0.extents = [1 << 62] }
    refuses("invalid shape") { $0.extents = [0, 1 << 62, 4] }
    refuses("invalid shape") { $0.extents = [1 << 62, 4, 0] }
    refuses("past the end of the file") { $0.extents = [1 << 40] }
    refuses("past the end of the file") { $0.extents = [9] }
    refuses("past the end of the file") { $0.offset = 64 }
    refuses("past the end of the file") { $0.offset = 1 << 62 }
    refuses("past the end of the file") { $0.offset = UInt64(Int.max) - 31 }
    refuses("invalid or misaligned offset") { $0.offset = UInt64.max - 31 }
    refuses("invalid shape") { ($0.type, $0.extents) = (8, [31]) }
    refuses("invalid shape") { ($0.type, $0.extents) = (12, [128, 2]) }
  }

  /// The names are those of `ggml.h`.
  @Test(
    arguments: [
      (4, "Q4_2"), (5, "Q4_3"), (9, "Q8_1"), (15, "Q8_K"), (16, "IQ2_XXS"), (17, "IQ2_XS"), (18, "IQ3_XXS"),
      (19, "IQ1_S"), (21, "IQ3_S"), (22, "IQ2_S"), (29, "IQ1_M"), (31, "Q4_0_4_4"),
      (33, "Q4_0_8_8"), (34, "TQ1_0"), (35, "TQ2_0"), (38, "IQ4_NL_8_8"), (40, "NVFP4"), (42, "Q2_0"),
      (43, "GGML type 43"), (1000, "GGML type 1000"), (.max, "GGML type 4294967295"),
    ] as [(UInt32, String)])
  func unsupportedTypesAreNamed(type: UInt32, name: String) {
    refuses(": \(name) is not supported (tensor \"a\")") { $0.type = type }
  }

  @Test func rejectsSharedNamesAndBytes() throws {
    let first = GGUFParts().tensor
    for (name, offset, reason) in [("a", 32, "appears twice"), ("b", 0, "overlap"), ("b", 32, nil)]
      as [(String, UInt64, String?)]
    {
      let change = { (parts: inout GGUFParts) in
        // The first tensor takes the place of a metadata entry.
        parts.entries = [first]
        parts.entryCount = 0
        parts.tensorCount = 2
        parts.name = Array(name.utf8)
        parts.offset = offset
        parts.dataCount = 64
      }
      if let reason { refuses(reason, change) } else { #expect(try open(change).tensorNames == ["a", "b"]) }
    }
  }

  @Test func detectsEveryTruncation() throws {
    let bytes = try Golden.bytes("types.gguf")
    // The padding after the last tensor may be missing.
    for length in Array(0..<3000) + Array(stride(from: 3000, to: bytes.count - 32, by: 61)) {
      let file = try folder.file("t.gguf", bytes.prefix(length))
      #expect(throws: SwiftletError.self, "\(length) bytes") { _ = try GGUFFile(contentsOf: file) }
    }
  }

  @Test func randomMutationsNeverTrap() throws {
    let bytes = try Golden.bytes("types.gguf")
    let headerLength = 1500
    var random = Random(state: 2)
    var refused = 0
    for _ in 0..<500 {
      let header = mutated(Array(bytes.prefix(headerLength)), with: &random)
      let file = try folder.file("m.gguf", header + bytes.dropFirst(headerLength))
      do throws(SwiftletError) {
        let opened = try GGUFFile(contentsOf: file)
        for name in opened.tensorNames {
          let tensor = opened.tensor(named: name)
          #expect(tensor?.bytes.count == tensor?.byteCount)
        }
      } catch {
        #expect(!error.description.contains("\n"))
        refused += 1
      }
    }
    #expect(refused > 150)
  }
}
