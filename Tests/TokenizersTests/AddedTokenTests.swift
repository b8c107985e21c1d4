import Diagnostics
import Foundation
import OrderedJSON
import Testing
import Tokenizers

/// Tokens that are added to a tokenizer; see Tests/Goldens/generators/added_tokens.py.
@Suite struct AddedTokenTests {
  private static let goldens = GoldenFiles.folder.deletingLastPathComponent()
  private static let tokens = [
    AddedToken("<note>", isSpecial: false), AddedToken("<|tool|>", isSpecial: true),
  ]

  private static func tokenizer() throws -> Tokenizer {
    try Tokenizer(directory: goldens.appendingPathComponent("models/tokenizer"))
  }

  private static func json(_ url: URL) throws -> JSONValue { try JSONValue(parsing: Data(contentsOf: url)) }

  @Test func idsAndTextsEqualTheReference() throws {
    let golden = try Self.json(Self.goldens.appendingPathComponent("added_tokens/full.json"))
    let text = try #require(golden["text"]?["text"]?.string)
    let expected = try #require(golden["text"]?["ids"]?.array).compactMap(\.integer).map(Int32.init)
    let (extended, newIDs) = try Self.tokenizer().adding(Self.tokens)
    #expect(newIDs == [256, 257] && extended.vocabularySize == 258)
    #expect(extended.encode(text) == expected)
    #expect(extended.decode(expected, skipSpecialTokens: true) == golden["decoded"]?.string)
    #expect(extended.chatTemplateSource != nil)
    #expect(try extended.specialTokens.eos == Self.tokenizer().specialTokens.eos)
    // What is saved reads the same, and lists the tokens as transformers does.
    let folder = try TemporaryFolder()
    try extended.write(to: folder.url)
    let read = try Tokenizer(directory: folder.url)
    #expect(read.encode(text) == expected && read.specialTokens == extended.specialTokens)
    #expect(read.decode(expected, skipSpecialTokens: true) == golden["decoded"]?.string)
    let theirs = Self.goldens.appendingPathComponent("added_tokens/lora/tokenizer.json")
    let ours = try Self.json(folder.url.appendingPathComponent("tokenizer.json"))
    for key in ["added_tokens", "pre_tokenizer"] { #expect(try ours[key] == Self.json(theirs)[key], "\(key)") }
    // The reference's own files are read the same.
    let published = try Tokenizer(directory: theirs.deletingLastPathComponent())
    #expect(published.encode(text) == expected && published.specialTokens.ids == extended.specialTokens.ids)
    #expect(try Self.tokenizer().addedTokens(of: theirs.deletingLastPathComponent()).map(\.id) == [256, 257])
    #expect(try extended.addedTokens(of: theirs.deletingLastPathComponent()).isEmpty)
  }

  /// What is in the vocabulary keeps its id.
  @Test func knownTokensKeepTheirIDs() throws {
    let tokenizer = try Self.tokenizer()
    let (known, wordID) = try #require(
      (3..<tokenizer.vocabularySize).lazy.compactMap { id in
        tokenizer.token(Int32(id)).flatMap { $0.count > 1 && $0.allSatisfy(\.isLetter) ? ($0, Int32(id)) : nil }
      }.first)
    let added = ["<|im_start|>", known, "<new>", "<new>"].map { AddedToken($0, isSpecial: true) }
    let (extended, newIDs) = try tokenizer.adding(added)
    #expect(newIDs == [256] && extended.id(of: "<|im_start|>") == tokenizer.id(of: "<|im_start|>"))
    #expect(extended.encode(known) == [wordID] && extended.specialTokens.ids.contains(wordID))
    let folder = try TemporaryFolder()
    try extended.write(to: folder.url)
    let read = try Tokenizer(directory: folder.url)
    #expect(read.specialTokens == extended.specialTokens && read.vocabularySize == 257)
    let list = try #require(Self.json(folder.url.appendingPathComponent("tokenizer.json"))["added_tokens"]?.array)
    let ids = list.compactMap { $0["id"]?.integer }
    #expect(Set(ids).count == ids.count && ids.count == 5)
    #expect(try tokenizer.adding([]).newIDs.isEmpty)
  }

  /// Earlier versions of transformers list added tokens in more places.
  @Test func earlierFilesListTheTokensToo() throws {
    let folder = try TemporaryFolder()
    try Self.tokenizer().write(to: folder.url)
    let file = folder.url.appendingPathComponent("tokenizer_config.json")
    var config = try #require(Self.json(file).object)
    config["added_tokens_decoder"] = ["0": ["content": "<|endoftext|>", "special": true]]
    config["additional_special_tokens"] = ["<|im_start|>"]
    try Data(JSONValue.object(config).text().utf8).write(to: file)
    let map = folder.url.appendingPathComponent("special_tokens_map.json")
    try Data(#"{"eos_token": "<|im_end|>"}"#.utf8).write(to: map)
    let (extended, _) = try Tokenizer(directory: folder.url).adding(Self.tokens)
    try extended.write(to: folder.url)
    let written = try Self.json(file)
    #expect(written["added_tokens_decoder"]?["256"]?["special"] == false)
    #expect(written["added_tokens_decoder"]?["257"]?["content"] == "<|tool|>")
    #expect(written["additional_special_tokens"] == ["<|im_start|>", "<|tool|>"])
    #expect(try Self.json(map)["additional_special_tokens"] == ["<|tool|>"])
    #expect(try Tokenizer(directory: folder.url).encode("<note><|tool|>") == [256, 257])
  }

  /// A GGUF vocabulary takes them where it was only filled up.
  @Test func ggufVocabulariesTakeTokens() throws {
    let vocabulary = try GGUFVocabulary(Self.tokenizer(), size: 260)
    #expect(vocabulary.tokens.count == 260)
    let (extended, newIDs) = try Tokenizer(gguf: vocabulary).adding(Self.tokens)
    #expect(newIDs == [256, 257])
    #expect(extended.encode("<note><|tool|>", addSpecialTokens: false) == [256, 257])
    #expect(extended.specialTokens.ids.contains(257) && !extended.specialTokens.ids.contains(256))
    let written = try GGUFVocabulary(extended, size: 260)
    #expect(written.tokens.count == 260 && written.tokens[257] == "<|tool|>" && written.tokenTypes?[258] == 5)
    #expect(try Tokenizer(gguf: written).encode("<note>", addSpecialTokens: false) == [256])
  }

  @Test func impossibleTokensAreRefused() throws {
    let tokenizer = try Self.tokenizer()
    for text in ["", String(repeating: "x", count: 1025)] {
      let error = #expect(throws: SwiftletError.self) { try tokenizer.adding([AddedToken(text, isSpecial: false)]) }
      #expect("\(try #require(error))".contains("can't be added"))
    }
  }
}
