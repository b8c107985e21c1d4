import Foundation
import OrderedJSON
import Testing
import Tokenizers

/// Compares real tokenizers, which are too large for the repository, with the output of `compare_tokenizers.py`.
///
/// Runs only if `SWIFTLET_TOKENIZER_COMPARISONS` names a folder that contains `NAME.jsonl` and the tokenizer folder
/// `NAME`.
@Suite struct RealTokenizerTests {
  static let folder = ProcessInfo.processInfo.environment["SWIFTLET_TOKENIZER_COMPARISONS"]

  @Test(.enabled(if: folder != nil))
  func matchesTheReference() throws {
    let folder = URL(fileURLWithPath: try #require(Self.folder))
    for file in try FileManager.default.contentsOfDirectory(atPath: folder.path) where file.hasSuffix(".jsonl") {
      let tokenizer = try Tokenizer(directory: folder.appendingPathComponent(String(file.dropLast(6))))
      let bytes = [UInt8](try Data(contentsOf: folder.appendingPathComponent(file)))
      for line in bytes.split(separator: UInt8(ascii: "\n")) {
        let row = try JSONValue(parsing: line)
        let text = try #require(row[0]?.string)
        let ids = try #require(row[1]?.array).map { Int32(try #require($0.integer)) }
        #expect(tokenizer.encode(text) == ids, "\(file): \(text.debugDescription)")
        #expect(tokenizer.decode(ids).utf8.elementsEqual(try #require(row[2]?.string).utf8), "\(file): \(ids)")
      }
    }
  }
}
