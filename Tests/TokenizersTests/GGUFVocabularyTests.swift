import Diagnostics
import Foundation
import OrderedJSON
import Testing
import Tokenizers

/// Tokenizers converted to GGUF vocabularies and back.
@Suite struct GGUFVocabularyTests {
  /// The tokenizers that llama.cpp supports, with its names for their pre-tokenizers.
  private static let names = [
    "deepseek": "deepseek-v3", "gemma": "default", "gpt2": "gpt-2", "gpt4o": "gpt-4o",
    "llama2": "default", "llama3": "llama-bpe", "mistral": "default", "qwen": "qwen2", "qwen35": "qwen35",
    "smollm": "smollm",
  ]

  @Test(arguments: names.keys.sorted()) func encodesToTheSameIDs(name: String) throws {
    let tokenizer = try Tokenizer(directory: GoldenFiles.tinyFolder(name))
    let vocabulary = try GGUFVocabulary(tokenizer, size: tokenizer.vocabularySize + 3)
    #expect(vocabulary.preTokenizer == Self.names[name])
    #expect(vocabulary.tokens.count == tokenizer.vocabularySize + 3)
    #expect(vocabulary.tokens.last == "[PAD\(tokenizer.vocabularySize + 2)]" && vocabulary.tokenTypes?.last == 5)
    let read = try Tokenizer(gguf: vocabulary)
    let lines = try #require(try GoldenFiles.json("tiny/lines.json").array).map { try #require($0.string) }
    // llama.cpp's special tokens do not strip whitespace, and it adds a space after them if it adds one at the start.
    // It also adds a space before a text that starts with one, which Metaspace does not.
    let isLeftAlone = { (line: String) in name == "mistral" && (line.hasPrefix(" ") || line.hasPrefix("▁")) }
    for line in lines where !line.contains("<") && !isLeftAlone(line) {
      #expect(read.encode(line) == tokenizer.encode(line), "\(line.debugDescription)")
    }
    #expect(read.specialTokens.eos == tokenizer.specialTokens.eos)
  }

  /// Gemma 4's kind has merges instead of scores, and leaves marks of spaces as they are.
  @Test func gemma4HasMerges() throws {
    let tokenizer = try Tokenizer(directory: GoldenFiles.tinyFolder("gemma"))
    let vocabulary = try GGUFVocabulary(tokenizer, size: tokenizer.vocabularySize, spaceModel: "gemma4")
    #expect(vocabulary.model == "gemma4" && vocabulary.preTokenizer == nil && vocabulary.merges?.isEmpty == false)
    #expect(vocabulary.addSpacePrefix == false && vocabulary.scores?.allSatisfy { $0 == -1000 } == true)
    for id in 0..<tokenizer.vocabularySize { #expect(vocabulary.tokens[id] == tokenizer.token(Int32(id))) }
    let read = try Tokenizer(gguf: vocabulary)
    // The merges of this tokenizer cross line breaks; Gemma 4's don't.
    let lines = try #require(try GoldenFiles.json("tiny/lines.json").array).compactMap(\.string)
    for line in lines where !line.contains(where: \.isNewline) {
      #expect(read.encode(line) == tokenizer.encode(line), "\(line.debugDescription)")
    }
    // A byte-level tokenizer stays one.
    let byteLevel = try Tokenizer(directory: GoldenFiles.tinyFolder("qwen"))
    #expect(try GGUFVocabulary(byteLevel, size: byteLevel.vocabularySize, spaceModel: "gemma4").model == "gpt2")
  }

  @Test(arguments: ["unigram", "splits"]) func rejectsTokenizersThatLlamaCppLacks(name: String) throws {
    let tokenizer = try Tokenizer(directory: GoldenFiles.tinyFolder(name))
    #expect(throws: SwiftletError.self) { try GGUFVocabulary(tokenizer, size: tokenizer.vocabularySize) }
  }
}
