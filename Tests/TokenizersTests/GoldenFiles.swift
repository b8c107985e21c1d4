import Foundation
import OrderedJSON
import Testing

/// The golden files of the tokenizer tests.
enum GoldenFiles {
  static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appendingPathComponent("Goldens/tokenizers")

  static func json(_ path: String) throws -> JSONValue {
    try JSONValue(parsing: try Data(contentsOf: folder.appendingPathComponent(path)))
  }

  /// Ids stored as base64 of 16-bit integers.
  static func ids(_ value: JSONValue?) throws -> [Int32] {
    let text = try #require(value?.string)
    return numbers(try #require(Data(base64Encoded: text)))
  }

  static func numbers(_ data: Data) -> [Int32] {
    let bytes = [UInt8](data)
    return stride(from: 0, to: bytes.count - 1, by: 2).map { Int32(bytes[$0]) | Int32(bytes[$0 + 1]) << 8 }
  }

  /// The names of the small tokenizers, one of each type.
  static let tiny: [String] = {
    let names = try? FileManager.default.contentsOfDirectory(atPath: folder.appendingPathComponent("tiny").path)
    return (names ?? []).filter { !$0.hasSuffix(".json") }.sorted()
  }()

  static func tinyFolder(_ name: String) -> URL { folder.appendingPathComponent("tiny/\(name)") }
}

/// A temporary folder that is deleted when released.
struct TemporaryFolder: ~Copyable {
  let url: URL

  init() throws {
    url = FileManager.default.temporaryDirectory.appendingPathComponent("swiftlet-tokenizers-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
  }

  func write(_ text: String, to name: String) throws {
    try Data(text.utf8).write(to: url.appendingPathComponent(name))
  }

  deinit { try? FileManager.default.removeItem(at: url) }
}
