import Diagnostics
import Foundation
import Testing
import Tokenizers

/// A corrupt or unsupported file is reported in one sentence that names the file and key.
@Suite struct MalformedFileTests {
  static let model = #"{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":[["a","b"]]}"#

  /// Files with a text that the error must contain.
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
    (#"{"model":{"type":3,"vocab":{},"merges":[]}}"#, "model.type must be a string (got a number)"),
    (#"{"model":{"type":"BPE"}}"#, "vocab is missing"),
    (#"{"model":{"type":"BPE","vocab":{"a":0}}}"#, "merges is missing"),
    (#"{"model":{"type":"BPE","vocab":["a"],"merges":[]}}"#, "vocab must be an object (got an array)"),
    (#"{"model":{"type":"BPE","vocab":{"a":-1},"merges":[]}}"#, "the token \"a\""),
    (#"{"model":{"type":"BPE","vocab":{"a":"0"},"merges":[]}}"#, "the token \"a\""),
    (#"{"model":{"type":"BPE","vocab":{"a":1.5},"merges":[]}}"#, "the token \"a\""),
    (#"{"model":{"type":"BPE","vocab":{"a":99999999999},"merges":[]}}"#, "the token \"a\""),
    (#"{"model":{"type":"BPE","vocab":{"a":99999999999999999999999},"merges":[]}}"#, "the token \"a\""),
    (#"{"model":{"type":"BPE","vocab":{"a":0},"merges":{}}}"#, "merges must be an array (got an object)"),
    (#"{"model":{"type":"BPE","vocab":{"a":0},"merges":["a"]}}"#, "merges[0]"),
    (#"{"model":{"type":"BPE","vocab":{"a":0},"merges":["a a a"]}}"#, "merges[0]"),
    (#"{"model":{"type":"BPE","vocab":{"a":0},"merges":[["a"]]}}"#, "merges[0]"),
    (#"{"model":{"type":"BPE","vocab":{"a":0},"merges":[["a",1]]}}"#, "merges[0]"),
    (#"{"model":{"type":"BPE","vocab":{"a":0},"merges":[7]}}"#, "merges[0]"),
    (#"{"model":{"type":"BPE","vocab":{"a":0,"b":1},"merges":["a b"]}}"#, "ab"),
    (#"{"model":{"type":"BPE","vocab":{"a":0,"ac":1},"merges":[["a","c"]]}}"#, "the token \"c\""),
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
    (#"{"normalizer":{"type":"Replace","pattern":{},"content":""},"model":\#(model)}"#, "String or Regex"),
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
    (#"{"model":{"type":"BPE","vocab":{"a":4194304},"merges":[]}}"#, "invalid id for the token \"a\""),
    (#"{"added_tokens":[{"id":5,"content":"\#(long)"}],"model":\#(model)}"#, "longer than 1024 bytes"),
    (#"{"model":{"type":"Unigram","vocab":[["\#(long)",-1.0]]}}"#, "longer than 1024 bytes"),
    (
      #"{"normalizer":{"type":"Sequence","normalizers":[\#(doubling)]},"model":\#(model)}"#,
      "normalizer.normalizers[10] lengthens the text more than 1024 times"
    ),
    (
      #"{"decoder":{"type":"Sequence","decoders":[\#(doubling)]},"model":\#(model)}"#,
      "decoder.decoders[10] lengthens the text more than 1024 times"
    ),
    (#"{"model":{"type":"\u001b[2J\nBPE"}}"#, #"the type "\u{1B}[2J\nBPE", which is not supported"#),
  ]

  private static let long = String(repeating: "a", count: 1025)
  /// Replacements that would make a text 2^64 times longer.
  private static let doubling = Array(
    repeating: #"{"type":"Replace","pattern":{"String":"a"},"content":"aa"}"#, count: 64
  ).joined(separator: ",")

  @Test(arguments: files)
  func reportsABadFileInOneSentence(text: String, mention: String) throws {
    let folder = try TemporaryFolder()
    try folder.write(text, to: "tokenizer.json")
    let error = try #require(throws: SwiftletError.self) { try Tokenizer(directory: folder.url) }
    #expect(error.description.contains("tokenizer.json") && error.description.contains(mention), "\(error)")
    #expect(error.location.file?.hasSuffix("/tokenizer.json") == true, "\(error)")
    #expect(!error.description.contains("\n") && error.description.count < 500, "\(error)")
  }

  @Test func reportsTruncatedFiles() throws {
    let whole = Array(try Data(contentsOf: GoldenFiles.tinyFolder("llama2").appendingPathComponent("tokenizer.json")))
    for length in stride(from: 0, to: whole.count - 2, by: 997) {
      let folder = try TemporaryFolder()
      try Data(whole.prefix(length)).write(to: folder.url.appendingPathComponent("tokenizer.json"))
      #expect(throws: SwiftletError.self) { try Tokenizer(directory: folder.url) }
    }
  }

  /// Files with random bytes changed are read or reported.
  @Test func randomMutationsNeverTrap() throws {
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

  @Test func acceptsGapsInTheVocabulary() throws {
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
  func reportsABadCompanionFile(name: String, text: String, mention: String) throws {
    let folder = try TemporaryFolder()
    try folder.write(#"{"model":\#(Self.model)}"#, to: "tokenizer.json")
    try folder.write(text, to: name)
    let error = try #require(throws: SwiftletError.self) { try Tokenizer(directory: folder.url) }
    #expect(error.description.contains(name) && error.description.contains(mention), "\(error)")
  }

  @Test func reportsBadGGUFVocabularies() throws {
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
    #expect(try message { $0.merges = ["a c"] }.contains("the token \"c\""))
    #expect(try message { $0.tokenTypes = [1] }.contains("token_type"))
    #expect(try message { $0.bosID = 9 }.contains("bos_token_id"))
    #expect(
      try message {
        $0.bosID = -1; $0.addBOS = true
      }.contains("bos_token_id"))
    #expect(try message { $0.model = "llama" }.contains("scores"))
    #expect(
      try message {
        $0.model = "llama"
        $0.scores = [0, .nan, 1]
      }.contains("not finite"))
    #expect(
      try message {
        $0.tokens[2] = String(repeating: "x", count: 1025)
        $0.tokenTypes = [1, 1, 3]
      }.contains("longer than 1024 bytes"))
  }

  /// Finding the merges of long tokens must not take quadratic time.
  @Test func longTokensOfASentencePieceVocabularyDoNotMerge() throws {
    let long = String(repeating: "a", count: 300_000)
    let vocabulary = GGUFVocabulary(
      model: "llama", tokens: ["a", "aa", long], scores: [0, -1, -2], addBOS: false, addSpacePrefix: false)
    #expect(try Tokenizer(gguf: vocabulary).encode("aaa") == [1, 0])
  }

  @Test(arguments: ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"])
  func refusesFilesThatAreNotRegular(name: String) throws {
    let folder = try TemporaryFolder()
    if name != "tokenizer.json" { try folder.write(#"{"model":\#(Self.model)}"#, to: "tokenizer.json") }
    #expect(mkfifo(folder.url.appendingPathComponent(name).path, 0o600) == 0)
    let error = try #require(throws: SwiftletError.self) { try Tokenizer(directory: folder.url) }
    #expect(error.description.contains("\(name): is a FIFO, not a regular file"), "\(error)")
  }
}
