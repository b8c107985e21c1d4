import Foundation
import OrderedJSON
import Testing
import Tokenizers

/// Small tokenizers of every type, compared with Hugging Face's `tokenizers`.
@Suite struct TinyTokenizerTests {
  @Test func hasTokenizersToTest() {
    #expect(GoldenFiles.tiny.count >= 20)
  }

  @Test(arguments: GoldenFiles.tiny)
  func matchesTheReference(name: String) throws {
    let tokenizer = try Tokenizer(directory: GoldenFiles.tinyFolder(name))
    let lines = try #require(try GoldenFiles.json("tiny/lines.json").array).map { try #require($0.string) }
    let rows = try #require(try GoldenFiles.json("tiny/\(name)/expected.json").array)
    #expect(lines.count == rows.count && lines.count > 200)
    for (line, row) in zip(lines, rows) {
      let ids = try GoldenFiles.ids(row[0])
      #expect(tokenizer.encode(line) == ids, "\(line.debugDescription)")
      let whole = row[1]?.string ?? line
      #expect(tokenizer.decode(ids).utf8.elementsEqual(whole.utf8), "\(line.debugDescription)")
      let plain = row[2]?.string ?? whole
      #expect(tokenizer.decode(ids, skipSpecialTokens: true).utf8.elementsEqual(plain.utf8), "\(line.debugDescription)")
    }
  }

  @Test(arguments: GoldenFiles.tiny)
  func streamsTheSameText(name: String) throws {
    let tokenizer = try Tokenizer(directory: GoldenFiles.tinyFolder(name))
    let rows = try #require(try GoldenFiles.json("tiny/\(name)/expected.json").array)
    for row in rows {
      let ids = try GoldenFiles.ids(row[0])
      for skips in [false, true] {
        var decoder = tokenizer.streamDecoder(skipSpecialTokens: skips)
        var text = ""
        for id in ids {
          let piece = decoder.append(id)
          text += piece
        }
        text += decoder.finish()
        #expect(text.utf8.elementsEqual(tokenizer.decode(ids, skipSpecialTokens: skips).utf8))
      }
    }
  }

  @Test(arguments: GoldenFiles.tiny)
  func offsetsAreInOrderAndInBounds(name: String) throws {
    let tokenizer = try Tokenizer(directory: GoldenFiles.tinyFolder(name))
    let lines = try #require(try GoldenFiles.json("tiny/lines.json").array).map { try #require($0.string) }
    for line in lines {
      let (ids, offsets) = tokenizer.encodeWithOffsets(line)
      #expect(ids == tokenizer.encode(line), "\(line.debugDescription)")
      #expect(ids.count == offsets.count)
      var start = 0
      for offset in offsets {
        #expect(
          offset.lowerBound >= start && offset.upperBound <= line.utf8.count, "\(line.debugDescription) \(offsets)")
        start = offset.lowerBound
      }
    }
  }

  @Test(arguments: ["gpt2", "smollm", "gpt4o", "deepseek", "lines", "falcon"])
  func offsetsOfByteLevelTokensCoverTheText(name: String) throws {
    let tokenizer = try Tokenizer(directory: GoldenFiles.tinyFolder(name))
    let lines = try #require(try GoldenFiles.json("tiny/lines.json").array).map { try #require($0.string) }
    // This token strips whitespace, which its own text does not contain.
    for line in lines where !line.contains("<|im_end|>") {
      let bytes = Array(line.utf8)
      let (ids, offsets) = tokenizer.encodeWithOffsets(line)
      var decoder = tokenizer.streamDecoder(skipSpecialTokens: false)
      #expect(ids.reduce("") { $0 + decoder.append($1) } + decoder.finish() == line)
      #expect(offsets.flatMap { bytes[$0] } == bytes, "\(line.debugDescription)")
    }
  }

  @Test func offsetsSurviveNormalization() throws {
    let llama = try Tokenizer(directory: GoldenFiles.tinyFolder("llama2"))
    let text = "the 中 e\u{301}🏳️‍🌈"
    let (ids, offsets) = llama.encodeWithOffsets(text)
    #expect(llama.token(ids[0]) == "<s>" && offsets[0] == 0..<0)
    #expect(llama.token(ids[1])?.hasPrefix("\u{2581}") == true && offsets[1].lowerBound == 0)
    #expect(offsets[1...].reduce(into: 0) { $0 = max($0, $1.upperBound) } == text.utf8.count)
    // A composed character maps to all of its parts.
    let qwen = try Tokenizer(directory: GoldenFiles.tinyFolder("qwen"))
    let (_, composed) = qwen.encodeWithOffsets("xe\u{301}y")
    #expect(composed.first == 0..<1 && composed.last == 4..<5)
    #expect(composed.dropFirst().dropLast().allSatisfy { $0 == 1..<4 } && composed.count > 2)
    // Adjacent characters that change independently keep separate offsets: two compatibility ideographs.
    let (_, apart) = qwen.encodeWithOffsets("\u{F900}\u{F901}")
    #expect(Set(apart) == [0..<3, 3..<6])
  }
}
