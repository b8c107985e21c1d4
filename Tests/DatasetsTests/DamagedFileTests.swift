import Datasets
import Foundation
import OrderedJSON
import Testing

/// Data files with bytes changed, cut out, doubled and cut off, always the same ones.
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

  private static func damaged(_ text: String, by random: inout NumPyRandom) -> [UInt8] {
    var bytes = Array(text.utf8)
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
    return bytes
  }

  @Test func endInOneSentenceThatNamesThePlace() throws {
    let scratch = try Scratch()
    var random = NumPyRandom(seed: 500)
    let preparation = Preparation(.bytes())
    var refused = 0
    for round in 0..<504 {
      let source = Self.sources[round % Self.sources.count]
      let path = try scratch.write(source.name, Self.damaged(source.text, by: &random))
      do throws(DataError) {
        let rows = try DataFile.open(path)
        _ = try preparation.prepare(rows)
        for index in 0..<rows.count { _ = try rows.row(at: index) }
      } catch {
        refused += 1
        // A set that trains on nothing is nobody's row.
        if error.reason.contains("rows has a token to train on") { continue }
        #expect(error.description.contains(source.name), "round \(round): \(error)")
        #expect(!error.description.contains("\n"), "round \(round): \(error)")
        let namesRow = error.place.line != nil || error.place.row != nil
        let isWholeFile = ["no rows", "UTF-16", "ends inside its array"].contains { error.reason.contains($0) }
        #expect(namesRow || isWholeFile, "round \(round): \(error)")
      }
    }
    // Enough of the damage has to matter, and enough not to, for the test to mean something.
    #expect((100..<450).contains(refused), "\(refused) refused")
  }
}
