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

  @Test(arguments: ["unigram", "splits"]) func rejectsTokenizersThatLlamaCppLacks(name: String) throws {
    let tokenizer = try Tokenizer(directory: GoldenFiles.tinyFolder(name))
    #expect(throws: SwiftletError.self) { try GGUFVocabulary(tokenizer, size: tokenizer.vocabularySize) }
  }
}
