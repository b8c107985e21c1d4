import Diagnostics
import Datasets
import Foundation
import OrderedJSON
import Testing

/// Data files that are truncated, have typos or another encoding, or contain nulls, huge fields and duplicate keys. The
/// random seed is fixed.
@Suite struct DamagedFileTests {
  private static let messages = #"{"messages":[{"role":"user","content":"佢係邊個？"},{"role":"assistant","content":"🙂"}]}"#
  private static let sources: [(name: String, text: String)] = [
    (
      "chat.jsonl",
      #"{"prompt": "What?", "completion": "No\"thing.", "tools": "[]"}"# + "\n" + messages + "\n"
        + #"{"text": "Plain \u00e9 text", "n": -1.5e3, "chat_template_kwargs": {"x": true}}"# + "\n"
        + #"{"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": null}]}"# + "\n"
        + #"{"instruction": "Add.", "input": "1 2", "output": "3", "history": [["a", "b"]]}"# + "\n"
        + #"{"input_ids": [1, 2, 3], "labels": [-100, 2, 3], "assistant_masks": [0, 1, 1]}"# + "\n"
    ),
    ("array.json", "[\(messages), {\"prompt\": \"a\", \"completion\": \"b\"},\n \(messages)]"),
    ("columns.json", #"{"prompt": ["a", "b", "三"], "completion": ["c", "d", "四"]}"#),
    ("pairs.csv", "prompt,completion,n\n\"What, \"\"who\"\"?\",Nothing,1\n佢,\"two\nlines\",2\nx,y,\n"),
    ("pairs.tsv", "prompt\tcompletion\r\na b\tc\r\nd\t\"e\tf\"\r\n"),
    ("lines.txt", "one\ntwo 三\r\n\nfour 🙂\n"),
  ]

  /// Changes a few bytes.
  private static func scrambled(_ bytes: inout [UInt8], by random: inout NumPyRandom) {
    for _ in 0...Int(random.next32() % 4) where !bytes.isEmpty {
      let place = Int(random.next32()) % bytes.count
      let length = min(bytes.count - place, 1 + Int(random.next32() % 12))
      switch random.next32() % 6 {
      case 0: bytes[place] = UInt8(truncatingIfNeeded: random.next32())
      case 1: bytes.removeSubrange(place..<place + length)
      case 2: bytes.insert(contentsOf: bytes[place..<place + length], at: place)
      case 3: bytes.removeSubrange(place...)
      case 4: bytes[place] = Array("{}[]\",:\n\r\\0-".utf8)[Int(random.next32() % 12)]
      default: bytes.insert(contentsOf: [0xF0, 0x9F, 0x00].prefix(Int(random.next32() % 4)), at: place)
      }
    }
  }

  /// Makes a mistake that people or programs make: a wrong value, key or encoding.
  private static func mistaken(_ text: String, by random: inout NumPyRandom) -> [UInt8] {
    let places = text.indices.filter { text[$0] == "\"" || text[$0] == "," }
    let place = places.isEmpty ? text.startIndex : places[Int(random.next32()) % places.count]
    let rest = text[place...].dropFirst()
    let values = ["null", "17", "true", "[]", "{}", "\"\"", "1e999", "NaN", "-"]
    switch random.next32() % 6 {
    case 0:  // another kind of value
      let end = rest.firstIndex { "\",}]".contains($0) } ?? text.endIndex
      return Array("\(text[..<place])\(values[Int(random.next32()) % values.count])\(text[end...])".utf8)
    case 1: return Array(text.replacing("{", with: "{\"prompt\": \(values[Int(random.next32()) % 4]), ").utf8)
    case 2: return Array("\(text[..<place])\(String(repeating: "很長 ", count: 40_000))\(text[place...])".utf8)
    case 3: return text.utf16.flatMap { [UInt8(truncatingIfNeeded: $0), UInt8(truncatingIfNeeded: $0 >> 8)] }
    case 4: return text.unicodeScalars.map { UInt8(truncatingIfNeeded: $0.value) }  // as if it were Latin-1
    default: return Array(text.utf8.prefix(text.utf8.count / 2)) + [0, 0, 0] + Array(text.utf8.suffix(9))
    }
  }

  /// The error for a file; `nil` if it has none.
  private func complaint(_ path: String, _ round: Int) -> SwiftletError? {
    do throws(SwiftletError) {
      let rows = try DataFile.open(path)
      _ = try Preparation(.bytes()).prepare(rows)
      for index in 0..<rows.count { _ = try rows.row(at: index) }
      return nil
    } catch {
      // An error about the whole set has no row.
      if !error.reason.contains("rows has a token to train on") {
        let name = URL(fileURLWithPath: path).lastPathComponent
        #expect(error.description.contains(name), "round \(round): \(error)")
        #expect(!error.description.contains("\n"), "round \(round): \(error)")
        #expect(error.description.utf8.count < 1000, "round \(round): \(error)")
      }
      return error
    }
  }

  @Test func errorsAreOneSentenceWithLocation() throws {
    let scratch = try Scratch()
    var random = NumPyRandom(seed: 500)
    var refused = 0
    for round in 0..<600 {
      let source = Self.sources[round % Self.sources.count]
      var bytes = round % 3 == 0 ? Self.mistaken(source.text, by: &random) : Array(source.text.utf8)
      if round % 3 != 0 { Self.scrambled(&bytes, by: &random) }
      guard let error = complaint(try scratch.write(source.name, bytes), round) else { continue }
      refused += 1
      let namesRow = error.location.line != nil || error.location.row != nil
      let isWholeFile = ["no rows", "UTF-16", "ends inside its array", "rows has a token to train on"]
        .contains { error.reason.contains($0) }
      #expect(namesRow || isWholeFile, "round \(round): \(error)")
    }
    // Some damage must cause errors and some must not, or the test would prove nothing.
    #expect((150..<550).contains(refused), "\(refused) refused")
  }

  /// If gzip or DuckDB is missing, the message must say that.
  @Test func compressedFiles() throws {
    let scratch = try Scratch()
    var random = NumPyRandom(seed: 501)
    let parquet = try Data(contentsOf: Goldens.folder.appendingPathComponent("rows.parquet"))
    let gzip = Array(try Self.gzipped(Self.sources[0].text))
    for round in 0..<24 {
      var bytes = round % 2 == 0 ? gzip : Array(parquet)
      Self.scrambled(&bytes, by: &random)
      let path = try scratch.write(round % 2 == 0 ? "chat.jsonl.gz" : "rows.parquet", bytes)
      _ = complaint(path, round)
    }
  }

  /// A gzip file with the text in stored blocks (RFC 1952, RFC 1951).
  private static func gzipped(_ text: String) throws -> [UInt8] {
    func little(_ number: Int, _ count: Int) -> [UInt8] {
      (0..<count).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) }
    }
    let bytes = Array(text.utf8)
    try #require(bytes.count < 1 << 16)
    var check: UInt32 = .max
    for byte in bytes {
      check ^= UInt32(byte)
      for _ in 0..<8 { check = check & 1 == 1 ? check >> 1 ^ 0xEDB8_8320 : check >> 1 }
    }
    let header: [UInt8] = [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255]
    let block = [1] + little(bytes.count, 2) + little(~bytes.count, 2) + bytes
    return header + block + little(Int(~check), 4) + little(bytes.count, 4)
  }
}
