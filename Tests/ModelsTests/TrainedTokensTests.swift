import Foundation
import Models
import OrderedJSON
import Tensors
import Testing
import Tokenizers

/// Tokens whose rows of embedding and head are trained with an adapter.
@Suite struct TrainedTokensTests {
  private static func adapter(
    _ tokens: LoRAConfiguration.TokenIndices, on transformer: Transformer, saving modules: [String] = []
  ) throws -> Adapter {
    var configuration = LoRAConfiguration.lora(rank: 2, targetModules: .names(["q_proj"]))
    configuration.trainableTokens = tokens
    configuration.modulesToSave = modules
    return try Adapter(configuration, on: transformer, seed: 1)
  }

  private static func setToZero(_ parameter: Parameter, on transformer: Transformer) {
    transformer.backend.clear(parameter.value)
  }

  /// A new adapter changes nothing; a tied head follows the embedding, another one doesn't.
  @Test(arguments: ["llama", "llama_tied"]) func rowsReplaceThoseOfTheTable(_ name: String) throws {
    let transformer = try FamilyTests.transformer(name)
    let before = AdapterTests.logits(transformer, [3, 9, 5])
    let adapter = try Self.adapter(.embedding([200, 201, 7]), on: transformer)
    #expect(AdapterTests.logits(transformer, [3, 9, 5]) == before)
    let rows = try #require(adapter.parameters.last)
    #expect(rows.name == "base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta")
    #expect(rows.value.shape == [3, transformer.configuration.hiddenSize])
    Self.setToZero(rows, on: transformer)
    let after = AdapterTests.logits(transformer, [3, 9, 5])
    let vocabulary = transformer.configuration.vocabularySize
    for position in 0..<3 {
      for token in 0..<vocabulary {
        let (old, new) = (before[position * vocabulary + token], after[position * vocabulary + token])
        let isReplaced = name == "llama_tied" && [200, 201, 7].contains(token)
        #expect(isReplaced ? new == 0 : new == old)
      }
    }
    adapter.isEnabled = false
    #expect(AdapterTests.logits(transformer, [3, 9, 5]) == before)
  }

  /// A tied head with tokens of its own is no longer tied, as in PEFT.
  @Test func differentTokensUntieTheHead() throws {
    let transformer = try FamilyTests.transformer("llama_tied")
    let before = AdapterTests.logits(transformer, [3, 9])
    let tokens = LoRAConfiguration.TokenIndices.modules([.init("embed_tokens", [3]), .init("lm_head", [4])])
    let adapter = try Self.adapter(tokens, on: transformer)
    #expect(transformer.head !== transformer.embedding)
    #expect(AdapterTests.logits(transformer, [3, 9]) == before)
    let head = try #require(adapter.parameters.first { $0.name.contains("lm_head") })
    Self.setToZero(head, on: transformer)
    let after = AdapterTests.logits(transformer, [3, 9])
    #expect(after.indices.allSatisfy { ($0 % 256 == 4) == (after[$0] != before[$0]) })
    let same = try FamilyTests.transformer("llama_tied")
    let shared = try Self.adapter(.modules([.init("lm_head", [4]), .init("embed_tokens", [4])]), on: same)
    #expect(same.head === same.embedding && shared.parameters.count { $0.name.contains("token_adapter") } == 1)
  }

  @Test func impossibleTokensAreRefused() throws {
    let transformer = try FamilyTests.transformer("llama_tied")
    func message(_ tokens: LoRAConfiguration.TokenIndices, saving modules: [String] = []) -> String {
      AdapterTests.message { _ = try Self.adapter(tokens, on: transformer, saving: modules) }
    }
    #expect(message(.embedding([3, 256])).contains("the token 256"))
    #expect(message(.embedding([-1])).contains("the token -1"))
    #expect(message(.embedding([3, 3])).contains("once"))
    #expect(message(.embedding([])).contains("at least one"))
    #expect(message(.modules([.init("q_proj", [1])])).contains("embed_tokens or lm_head"))
    #expect(message(.embedding([3]), saving: ["embed_tokens"]).contains("modules_to_save"))
    #expect(message(.embedding([3]), saving: ["lm_head"]).contains("tied to the embedding"))
    #expect(transformer.embedding.replacement == nil && transformer.head === transformer.embedding)
  }

  /// llama.cpp's adapters have no place for rows or biases, and a layer without a bias takes none.
  @Test func unrepresentableAdaptersAreRefused() throws {
    let output = try AdapterTests.scratch()
    defer { try? FileManager.default.removeItem(at: output) }
    let file = output.appendingPathComponent("a.gguf")
    for (run, key) in [("lora_tokens", "trainable_token_indices"), ("lora_bias", "lora_bias")] {
      let folder = Goldens.folder.appendingPathComponent("training/\(run)/adapter")
      let files = try ModelFiles(opening: Goldens.folder.appendingPathComponent("models/llama"))
      let message = AdapterTests.message {
        try LoRAExport.write(folder, base: files.configuration, to: file, name: "a")
      }
      #expect(message.contains(key) && message.contains("--model"), "\(message)")
    }
    let files = try ModelFiles(opening: Goldens.folder.appendingPathComponent("models/llama"))
    let tokenizer = try Tokenizer(directory: Goldens.folder.appendingPathComponent("models/tokenizer"))
    let model = try CausalLM(files, tokenizer: tokenizer)
    _ = try Adapter(
      reading: Goldens.folder.appendingPathComponent("training/lora_bias/adapter"), onto: model.transformer)
    for write in [
      { try model.write(to: output, type: .float32) }, { _ = try model.writeGGUF(to: file, type: nil, name: "a") },
    ] {
      let message = AdapterTests.message { try write() }
      #expect(message.contains("lora_bias") && message.contains("can't be merged"), "\(message)")
    }
    #expect(!FileManager.default.fileExists(atPath: file.path))
  }
}
