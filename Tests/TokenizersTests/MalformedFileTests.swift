import Diagnostics
import Foundation
import Testing
import Tokenizers

/// A damaged or foreign file ends in one sentence that names the place, never in a trap.
@Suite struct MalformedFileTests {
  static let model = #"{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":[["a","b"]]}"#

  /// A file, and what its error must speak of.
  static let files: [(text: String, mention: String)] = [
    ("", "not valid JSON"),
    ("[", "not valid JSON"),
    ("null", "object"),
    ("[]", "object"),
    ("{}", "model is missing"),
    (#"{"model":null}"#, "model is missing"),
    (#"{"model":7}"#, "model"),
    (#"{"model":{}}"#, "type"),
    (#"{"model":{"type":"WordPiece","vocab":{}}}"#, "WordPiece"),
    (#"{"model":{"type":3,"vocab":{},"merges":[]}}"#, "model.type is a number"),
    (#"{"model":{"type":"BPE"}}"#, "vocab is missing"),
    (#"{"model":{"type":"BPE","vocab":{"a":0}}}"#, "merges is missing"),
    (#"{"model":{"type":"BPE","vocab":["a"],"merges":[]}}"#, "vocab is an array"),
    (#"{"model":{"type":"BPE","vocab":{"a":-1},"merges":[]}}"#, "token a"),
    (#"{"model":{"type":"BPE","vocab":{"a":"0"},"merges":[]}}"#, "token a"),
    (#"{"model":{"type":"BPE","vocab":{"a":1.5},"merges":[]}}"#, "token a"),
    (#"{"model":{"type":"BPE","vocab":{"a":99999999999},"merges":[]}}"#, "token a"),
    (#"{"model":{"type":"BPE","vocab":{"a":99999999999999999999999},"merges":[]}}"#, "token a"),
    (#"{"model":{"type":"BPE","vocab":{"a":0},"merges":{}}}"#, "merges is an object"),
    (#"{"model":{"type":"BPE","vocab":{"a":0},"merges":["a"]}}"#, "merges[0]"),
    (#"{"model":{"type":"BPE","vocab":{"a":0},"merges":["a a a"]}}"#, "merges[0]"),
    (#"{"model":{"type":"BPE","vocab":{"a":0},"merges":[["a"]]}}"#, "merges[0]"),
    (#"{"model":{"type":"BPE","vocab":{"a":0},"merges":[["a",1]]}}"#, "merges[0]"),
    (#"{"model":{"type":"BPE","vocab":{"a":0},"merges":[7]}}"#, "merges[0]"),
    (#"{"model":{"type":"BPE","vocab":{"a":0,"b":1},"merges":["a b"]}}"#, "ab"),
    (#"{"model":{"type":"BPE","vocab":{"a":0,"ac":1},"merges":[["a","c"]]}}"#, "token c"),
    (#"{"model":{"type":"BPE","dropout":0.1,"vocab":{},"merges":[]}}"#, "dropout"),
    (#"{"model":{"type":"BPE","unk_token":1,"vocab":{},"merges":[]}}"#, "unk_token"),
    (#"{"model":{"type":"Unigram","vocab":{"a":0}}}"#, "vocab"),
    (#"{"model":{"type":"Unigram","vocab":[["a"]]}}"#, "vocab[0]"),
    (#"{"model":{"type":"Unigram","vocab":[["a","x"]]}}"#, "vocab[0]"),
    (#"{"model":{"type":"Unigram","vocab":[["a",NaN]]}}"#, "vocab[0]"),
    (#"{"model":{"type":"Unigram","vocab":[["a",-1.0]],"unk_id":4}}"#, "unk_id"),
    (#"{"normalizer":"NFC","model":\#(model)}"#, "normalizer"),
    (#"{"normalizer":{"type":"Precompiled"},"model":\#(model)}"#, "Precompiled"),
    (#"{"normalizer":{"type":"Replace","content":""},"model":\#(model)}"#, "pattern is missing"),
    (#"{"normalizer":{"type":"Replace","pattern":{},"content":""},"model":\#(model)}"#, "String or a Regex"),
    (
      #"{"normalizer":{"type":"Replace","pattern":{"Regex":"("},"content":""},"model":\#(model)}"#, "regular expression"
    ),
    (#"{"normalizer":{"type":"Sequence"},"model":\#(model)}"#, "normalizers is missing"),
    (#"{"normalizer":{"type":"Sequence","normalizers":[1]},"model":\#(model)}"#, "normalizers[0]"),
    (#"{"pre_tokenizer":{},"model":\#(model)}"#, "pre_tokenizer.type is missing"),
    (#"{"pre_tokenizer":{"type":"Magic"},"model":\#(model)}"#, "Magic"),
    (#"{"pre_tokenizer":{"type":"Split","pattern":{"String":"x"}},"model":\#(model)}"#, "behavior"),
    (
      #"{"pre_tokenizer":{"type":"Split","pattern":{"String":"x"},"behavior":"Eaten"},"model":\#(model)}"#,
      "Eaten"
    ),
    (#"{"pre_tokenizer":{"type":"Metaspace","prepend_scheme":"last"},"model":\#(model)}"#, "last"),
    (#"{"pre_tokenizer":{"type":"ByteLevel","use_regex":1},"model":\#(model)}"#, "use_regex"),
    (#"{"decoder":{"type":"CTC"},"model":\#(model)}"#, "CTC"),
    (#"{"decoder":{"type":"Strip","content":" "},"model":\#(model)}"#, "start is missing"),
    (#"{"post_processor":{"type":"TemplateProcessing"},"model":\#(model)}"#, "single is missing"),
    (
      #"{"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>"}}]},"model":\#(model)}"#,
      "special_tokens"
    ),
    (#"{"post_processor":{"type":"BertProcessing","cls":["a"],"sep":["b",1]},"model":\#(model)}"#, "cls"),
    (#"{"added_tokens":{"a":1},"model":\#(model)}"#, "added_tokens"),
    (#"{"added_tokens":[{"content":"x"}],"model":\#(model)}"#, "added_tokens[0].id"),
    (#"{"added_tokens":[{"id":5}],"model":\#(model)}"#, "added_tokens[0].content"),
    (#"{"added_tokens":[{"id":-3,"content":"x"}],"model":\#(model)}"#, "-3"),
    (#"{"model":{"type":"BPE","vocab":{"a":0},"merges":["#, "not valid JSON"),
  ]

  @Test(arguments: files)
  func aBadFileIsNamedInOneSentence(text: String, mention: String) throws {
    let folder = try TemporaryFolder()
    try folder.write(text, to: "tokenizer.json")
    let error = try #require(throws: SwiftletError.self) { try Tokenizer(directory: folder.url) }
    #expect(error.description.contains("tokenizer.json") && error.description.contains(mention), "\(error)")
    #expect(error.description.hasSuffix(".") && !error.description.contains("\n"), "\(error)")
  }

  @Test func aFileCutAnywhereIsReported() throws {
    let whole = Array(try Data(contentsOf: GoldenFiles.tinyFolder("llama2").appendingPathComponent("tokenizer.json")))
    for length in stride(from: 0, to: whole.count - 2, by: 997) {
      let folder = try TemporaryFolder()
      try Data(whole.prefix(length)).write(to: folder.url.appendingPathComponent("tokenizer.json"))
      #expect(throws: SwiftletError.self) { try Tokenizer(directory: folder.url) }
    }
  }

  /// Whatever a damaged file still is, it is read or reported.
  @Test func bytesChangedAnywhereNeverTrap() throws {
    var generator = PropertyTests.Generator(state: 5)
    for name in ["llama2", "deepseek", "unigram"] {
      let whole = Array(try Data(contentsOf: GoldenFiles.tinyFolder(name).appendingPathComponent("tokenizer.json")))
      for _ in 0..<60 {
        var bytes = whole
        for _ in 0..<3 {
          bytes[Int.random(in: 0..<bytes.count, using: &generator)] =
            UInt8(ascii: "0") + .random(in: 0...60, using: &generator)
        }
        let folder = try TemporaryFolder()
        try Data(bytes).write(to: folder.url.appendingPathComponent("tokenizer.json"))
        if let tokenizer = try? Tokenizer(directory: folder.url) {
          #expect(tokenizer.encode("a b 中 1 <s>").allSatisfy { $0 >= 0 })
        }
      }
    }
  }

  @Test func vocabulariesMayHaveHoles() throws {
    let folder = try TemporaryFolder()
    try folder.write(#"{"model":{"type":"BPE","vocab":{"a":0,"b":5},"merges":[]}}"#, to: "tokenizer.json")
    let tokenizer = try Tokenizer(directory: folder.url)
    #expect(tokenizer.vocabularySize == 6 && tokenizer.token(3) == nil && tokenizer.token(5) == "b")
    #expect(tokenizer.encode("ab?") == [0, 5] && tokenizer.decode([0, 3, 5]) == "a b")
  }

  @Test(arguments: [
    ("tokenizer_config.json", "{", "not valid JSON"), ("tokenizer_config.json", #"{"bos_token":5}"#, "bos_token"),
    ("tokenizer_config.json", #"{"eos_token":{}}"#, "eos_token.content"),
    ("tokenizer_config.json", #"{"chat_template":5}"#, "chat_template"),
    ("tokenizer_config.json", #"{"chat_template":[{"name":"x"}]}"#, "template is missing"),
    ("tokenizer_config.json", #"{"added_tokens_decoder":{"x":{"content":"y"}}}"#, "added_tokens_decoder.x"),
    ("special_tokens_map.json", #"{"pad_token":[]}"#, "pad_token"),
  ])
  func aBadCompanionIsNamed(name: String, text: String, mention: String) throws {
    let folder = try TemporaryFolder()
    try folder.write(#"{"model":\#(Self.model)}"#, to: "tokenizer.json")
    try folder.write(text, to: name)
    let error = try #require(throws: SwiftletError.self) { try Tokenizer(directory: folder.url) }
    #expect(error.description.contains(name) && error.description.contains(mention), "\(error)")
  }

  @Test func badGGUFVocabulariesAreNamed() throws {
    let good = GGUFVocabulary(model: "gpt2", preTokenizer: "gpt-2", tokens: ["a", "b", "ab"], merges: ["a b"])
    #expect(try Tokenizer(gguf: good).encode("ab") == [2])
    func message(_ change: (inout GGUFVocabulary) -> Void) throws -> String {
      var bad = good
      change(&bad)
      return try #require(throws: SwiftletError.self) { try Tokenizer(gguf: bad) }.description
    }
    #expect(try message { $0.model = "bert" }.contains("bert"))
    #expect(try message { $0.preTokenizer = "novel" }.contains("novel"))
    #expect(try message { $0.tokens = [] }.contains("tokenizer.ggml.tokens"))
    #expect(try message { $0.merges = nil }.contains("tokenizer.ggml.merges"))
    #expect(try message { $0.merges = ["ab"] }.contains("merges[0]"))
    #expect(try message { $0.merges = ["a c"] }.contains("token c"))
    #expect(try message { $0.tokenTypes = [1] }.contains("token_type"))
    #expect(try message { $0.bosID = 9 }.contains("bos_token_id"))
    #expect(
      try message {
        $0.bosID = -1; $0.addBOS = true
      }.contains("bos_token_id"))
    #expect(try message { $0.model = "llama" }.contains("scores"))
  }
}
