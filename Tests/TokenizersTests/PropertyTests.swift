import Foundation
import Testing
import Tokenizers

/// Properties that hold for any text.
@Suite struct PropertyTests {
  /// Debug builds are some fifty times slower.
  #if DEBUG
    static let size = 60_000
  #else
    static let size = 2_000_000
  #endif

  /// A generator whose numbers are the same on every run.
  struct Generator: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return state ^ state >> 29
    }
  }

  @Test(arguments: ["gpt2", "llama3", "smollm", "gpt4o", "deepseek", "lines", "gemma", "llama2"])
  func roundTripsRandomBytes(name: String) throws {
    let tokenizer = try Tokenizer(directory: GoldenFiles.tinyFolder(name))
    var generator = Generator(state: 7)
    for _ in 0..<300 {
      let bytes = (0..<Int.random(in: 0..<60, using: &generator)).map { _ in
        UInt8.random(in: 0...255, using: &generator)
      }
      let text = String(decoding: bytes, as: UTF8.self)
      let ids = tokenizer.encode(text, addSpecialTokens: false)
      #expect(tokenizer.decode(ids).utf8.elementsEqual(text.utf8) || name == "llama2", "\(text.debugDescription)")
    }
  }

  /// Any list of ids decodes, and the stream decoder returns the same text if it is valid UTF-8.
  @Test(arguments: GoldenFiles.tiny)
  func decodesRandomIDs(name: String) throws {
    let tokenizer = try Tokenizer(directory: GoldenFiles.tinyFolder(name))
    var generator = Generator(state: 8)
    for _ in 0..<200 {
      let ids = (0..<Int.random(in: 0..<30, using: &generator)).map { _ in
        Int32.random(in: -2..<Int32(tokenizer.vocabularySize + 2), using: &generator)
      }
      let text = tokenizer.decode(ids)
      var decoder = tokenizer.streamDecoder(skipSpecialTokens: false)
      let streamed = ids.reduce("") { $0 + decoder.append($1) } + decoder.finish()
      if !text.unicodeScalars.contains("\u{FFFD}") { #expect(streamed.utf8.elementsEqual(text.utf8), "\(ids)") }
    }
  }

  /// A line so long that quadratic time would take minutes.
  @Test(arguments: GoldenFiles.tiny)
  func encodesLongLinesInLinearTime(name: String) throws {
    let tokenizer = try Tokenizer(directory: GoldenFiles.tinyFolder(name))
    let units = [
      "a", " ", "\n", "中", "1", "ab c", " x", "e\u{301}", "\u{301}", "'", "👍🏽", "\u{2581}", "\t.", "<|im_end|> ",
      "a\u{0}",
    ]
    for unit in units {
      let text = String(repeating: unit, count: Self.size / units.count / unit.utf8.count) + "z"
      let ids = tokenizer.encode(text)
      #expect(!ids.isEmpty)
      #expect(ids.count <= text.utf8.count * 2 + 4)
    }
  }

  @Test func boundsBacktracking() throws {
    // \s+$ fails at each space, and (x+)+y tries all ways to divide the x.
    for (pattern, unit) in [(#"\s+$"#, " "), ("(x+)+y", "x"), (#"(?:\p{L}\p{M}*)+!"#, "中")] {
      let folder = try TemporaryFolder()
      let model = #"{"type":"BPE","vocab":{"x":0," ":1,"z":2,"中":3},"merges":[]}"#
      let split = #"{"type":"Split","pattern":{"Regex":"\#(pattern.replacingOccurrences(of: "\\", with: "\\\\"))"},"#
      try folder.write(
        #"{"pre_tokenizer":\#(split)"behavior":"Isolated","invert":false},"model":\#(model)}"#, to: "tokenizer.json")
      let tokenizer = try Tokenizer(directory: folder.url)
      let count = Self.size / unit.utf8.count
      #expect(tokenizer.encode(String(repeating: unit, count: count) + "z").count == count + 1)
    }
  }

  @Test func encodesOnSeveralThreads() async throws {
    let tokenizer = try Tokenizer(directory: GoldenFiles.tinyFolder("llama3"))
    let texts = (0..<40).map { "thread \($0) says 'hello' to 世界 \($0 * 977)\n" }
    let expected = texts.map { tokenizer.encode($0) }
    await withTaskGroup(of: Bool.self) { group in
      for _ in 0..<8 {
        group.addTask { (0..<20).allSatisfy { _ in texts.map { tokenizer.encode($0) } == expected } }
      }
      for await same in group { #expect(same) }
    }
  }

  @Test func distinguishesCanonicallyEquivalentTokens() throws {
    let folder = try TemporaryFolder()
    try folder.write(
      #"{"model":{"type":"BPE","vocab":{"e":0,"\u0301":1,"e\u0301":2,"\u00e9":3},"merges":[["e","\u0301"]]}}"#,
      to: "tokenizer.json")
    let tokenizer = try Tokenizer(directory: folder.url)
    #expect(tokenizer.encode("e\u{301}") == [2] && tokenizer.encode("\u{e9}") == [3])
    #expect(tokenizer.id(of: "e\u{301}") == 2 && tokenizer.id(of: "\u{e9}") == 3)
  }
}
