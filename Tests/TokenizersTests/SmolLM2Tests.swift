import Foundation
import OrderedJSON
import Testing
import Tokenizers

/// The vocabulary of SmolLM2 (Apache-2.0), rebuilt from merges stored as three ids each: left, right, result.
struct SmolLM2 {
  let tokens: [String]
  let merges: [(left: String, right: String)]
  let description: JSONObject

  static let shared = Result { try SmolLM2() }

  init() throws {
    let skeleton = try GoldenFiles.json("smollm2/skeleton.json")
    description = try #require(skeleton["tokenizer"]?.object)
    var byID: [Int: String] = [:]
    for (token, id) in try #require(skeleton["tokens"]?.object).members { byID[try #require(id.integer)] = token }
    let file = GoldenFiles.folder.appendingPathComponent("smollm2/merges.bin")
    let numbers = GoldenFiles.numbers(try Data(contentsOf: file)).map(Int.init)
    var merges: [(left: String, right: String)] = []
    for start in stride(from: 0, to: numbers.count, by: 3) {
      let left = try #require(byID[numbers[start]])
      let right = try #require(byID[numbers[start + 1]])
      merges.append((left, right))
      byID[numbers[start + 2]] = left + right
    }
    self.merges = merges
    tokens = try byID.keys.sorted().map { try #require(byID[$0]) }
  }

  /// The tokenizer, read from a `tokenizer.json`.
  static let fromJSON = Result {
    let model = try shared.get()
    let folder = try TemporaryFolder()
    var whole = model.description
    var bpe = try #require(whole["model"]?.object)
    bpe["vocab"] = .object(JSONObject(model.tokens.enumerated().map { ($1, .integer($0)) }))
    bpe["merges"] = .array(model.merges.map { .string("\($0.left) \($0.right)") })
    whole["model"] = .object(bpe)
    try folder.write(JSONValue.object(whole).text(), to: "tokenizer.json")
    return try Tokenizer(directory: folder.url)
  }

  /// The tokenizer as a GGUF vocabulary.
  static func vocabulary() throws -> GGUFVocabulary {
    let model = try shared.get()
    let special = try #require(model.description["added_tokens"]?.array).compactMap { $0["id"]?.integer }
    var types = [Int32](repeating: 1, count: model.tokens.count)
    for id in special { types[id] = 3 }
    return GGUFVocabulary(
      model: "gpt2", preTokenizer: "smollm", tokens: model.tokens, tokenTypes: types,
      merges: model.merges.map { "\($0.left) \($0.right)" }, bosID: 1, eosID: 2, unkID: 0, padID: 2, addBOS: false,
      addSpacePrefix: false, chatTemplate: "{{ messages }}")
  }

  static let fromGGUF = Result { try Tokenizer(gguf: try vocabulary()) }
}

@Suite struct SmolLM2Tests {
  @Test func matchesTheReferenceOnTwoThousandLines() throws {
    let tokenizers = [try SmolLM2.fromJSON.get(), try SmolLM2.fromGGUF.get()]
    let lines = try #require(try GoldenFiles.json("smollm2/lines.json")["lines"]?.array)
    #expect(lines.count >= 2000)
    for line in lines {
      let text = try #require(line[0]?.string)
      let ids = try GoldenFiles.ids(line[1])
      for tokenizer in tokenizers {
        #expect(tokenizer.encode(text) == ids, "\(text.debugDescription)")
        #expect(tokenizer.decode(ids).utf8.elementsEqual(text.utf8), "\(text.debugDescription)")
      }
    }
  }

  @Test func dropsBytesMissingFromTheVocabulary() throws {
    let tokenizer = try SmolLM2.fromJSON.get()
    for line in try #require(try GoldenFiles.json("smollm2/lines.json")["lossy"]?.array) {
      let text = try #require(line[0]?.string)
      let ids = try GoldenFiles.ids(line[1])
      #expect(tokenizer.encode(text) == ids, "\(text.debugDescription)")
      #expect(tokenizer.decode(ids).utf8.elementsEqual(try #require(line[2]?.string).utf8), "\(text.debugDescription)")
      let (tracked, offsets) = tokenizer.encodeWithOffsets(text)
      #expect(tracked == ids && offsets.allSatisfy { $0.upperBound <= text.utf8.count })
    }
  }

  @Test func streamsWholeCharacters() throws {
    let tokenizer = try SmolLM2.fromGGUF.get()
    for text in ["👨‍👩‍👧‍👦 家庭 佢哋喺邊度呀？", "e\u{301} नमस्ते 𠮷野家", "plain"] {
      var decoder = tokenizer.streamDecoder(skipSpecialTokens: false)
      var scalars: [Unicode.Scalar] = []
      for id in tokenizer.encode(text) {
        let piece = decoder.append(id)
        #expect(!piece.unicodeScalars.contains("\u{FFFD}"))
        scalars += piece.unicodeScalars
      }
      #expect(decoder.finish() == "")
      #expect(scalars == Array(text.unicodeScalars))
    }
  }

  @Test func showsAnIncompleteCharacterAtTheEnd() throws {
    let tokenizer = try SmolLM2.fromGGUF.get()
    let ids = tokenizer.encode("ok \u{1F9D1}")
    var decoder = tokenizer.streamDecoder(skipSpecialTokens: false)
    var text = ids.dropLast().reduce("") { $0 + decoder.append($1) }
    #expect(text == "ok ")
    text += decoder.finish()
    #expect(text == "ok \u{FFFD}")
    #expect(text == tokenizer.decode(ids.dropLast()))
    // The decoder is reset afterwards.
    #expect(ids.reduce("") { $0 + decoder.append($1) } == "ok \u{1F9D1}")
  }

  @Test func findsTokensAndSpecialTokens() throws {
    let tokenizer = try SmolLM2.fromGGUF.get()
    #expect(tokenizer.vocabularySize == 49152)
    #expect(tokenizer.specialTokens.bos == .init(text: "<|im_start|>", id: 1))
    #expect(tokenizer.specialTokens.eos?.id == 2 && tokenizer.specialTokens.pad?.id == 2)
    #expect(tokenizer.specialTokens.unk?.id == 0)
    #expect(tokenizer.specialTokens.ids == Set(0...16))
    #expect(tokenizer.chatTemplateSource == "{{ messages }}")
    #expect(tokenizer.token(19556) == "Hello" && tokenizer.id(of: "Hello") == 19556)
    #expect(tokenizer.id(of: "Ġthe").flatMap { tokenizer.token($0) } == "Ġthe")
    #expect(tokenizer.token(-1) == nil && tokenizer.token(49152) == nil && tokenizer.id(of: "no such token") == nil)
    #expect(tokenizer.encode("<|im_start|>user\n") == [1, 4093, 198])
    #expect(tokenizer.decode([1, 4093, 198, 2], skipSpecialTokens: true) == "user\n")
    #expect(tokenizer.decode([-5, 19556, 70000]) == "Hello")
  }

  @Test func roundTripsThroughHuggingFaceFiles() throws {
    let folder = try TemporaryFolder()
    let tokenizer = try SmolLM2.fromGGUF.get()
    try tokenizer.write(to: folder.url.appendingPathComponent("new"))
    let again = try Tokenizer(directory: folder.url.appendingPathComponent("new"))
    #expect(again.specialTokens == tokenizer.specialTokens)
    #expect(again.chatTemplateSource == tokenizer.chatTemplateSource)
    #expect(again.vocabularySize == tokenizer.vocabularySize)
    for line in try #require(try GoldenFiles.json("smollm2/lines.json")["lines"]?.array).prefix(300) {
      let text = try #require(line[0]?.string)
      #expect(again.encode(text) == tokenizer.encode(text))
    }
    // Writing the files again gives the same bytes.
    try again.write(to: folder.url.appendingPathComponent("newer"))
    let names = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"]
    for name in names {
      let first = try Data(contentsOf: folder.url.appendingPathComponent("new/\(name)"))
      #expect(try Data(contentsOf: folder.url.appendingPathComponent("newer/\(name)")) == first)
    }
    #expect(
      try FileManager.default.contentsOfDirectory(atPath: folder.url.appendingPathComponent("newer").path).count == 4)
  }
}
