import Checkpoints
import Foundation
import Models
import OrderedJSON
import Tensors
import Testing
import Tokenizers

/// Models with added tokens, and adapters that were trained with them; see Tests/Goldens/generators/added_tokens.py.
@Suite struct AddedTokenTests {
  private static let tokens = [
    AddedToken("<note>", isSpecial: false), AddedToken("<|tool|>", isSpecial: true),
  ]
  static let adapters = ["lora", "tokens", "whole", "apart", "cloned"]

  /// The files of a tiny model in a folder with a tokenizer.
  private static func files(_ name: String, in folder: URL) throws -> ModelFiles {
    for path in ["models/\(name)", "models/tokenizer"] {
      let source = Goldens.folder.appendingPathComponent(path)
      for file in try FileManager.default.contentsOfDirectory(atPath: source.path)
      where ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"].contains(file) {
        try FileManager.default.copyItem(
          at: source.appendingPathComponent(file), to: folder.appendingPathComponent(file))
      }
    }
    return try ModelFiles(opening: folder)
  }

  private static func model(_ files: ModelFiles, inFloat32: Bool = false) throws -> CausalLM {
    try CausalLM(files, tokenizer: files.tokenizer(), inFloat32: inFloat32)
  }

  private static func row(_ table: Parameter, _ index: Int, _ model: CausalLM) -> [Float] {
    model.transformer.backend.floats(model.transformer.backend.gatherRows(table.value, [Int32(index)]))
  }

  @Test(arguments: [true, false]) func newRowsAreTheMean(inFloat32: Bool) throws {
    let folder = try AdapterTests.scratch()
    defer { try? FileManager.default.removeItem(at: folder) }
    let golden = try Goldens.json("added_tokens/full.json")
    let files = try Self.files("llama", in: folder).adding(Self.tokens)
    #expect(files.addedTokenIDs == [256, 257] && files.configuration.vocabularySize == 258)
    let model = try Self.model(files, inFloat32: inFloat32)
    for (table, name) in [(model.transformer.embedding, "embed_tokens"), (model.transformer.head, "lm_head")] {
      #expect(table.value.shape == [258, 64])
      let mean = try #require(golden["mean"]?[name]).floats
      for index in [256, 257] { #expect(relativeError(Self.row(table, index, model), mean) < 1e-6) }
    }
    let ids = try #require(golden["ids"]?.ids)
    let expected = try #require(golden["logits"]?.array).flatMap(\.floats)
    #expect(relativeError(AdapterTests.logits(model.transformer, ids), expected) < 1e-5)
    // The model is saved with its tokens.
    let written = folder.appendingPathComponent("written")
    try model.write(to: written, type: .float32)
    try model.writeTokenizer(to: written)
    let reopened = try CausalLM(opening: written)
    #expect(reopened.files.configurationJSON["vocab_size"]?.integer == 258)
    #expect(reopened.tokenizer.encode("<note><|tool|>") == [256, 257])
    #expect(relativeError(AdapterTests.logits(reopened.transformer, ids), expected) < 1e-5)
  }

  /// Blocks keep their type if rows can be written in it; other tables become float16.
  @Test(arguments: [(GGUFType.q8_0, ElementType.q8_0), (.q4_0, .q4_0), (.f16, .float16)])
  func quantizedTablesGetRows(_ type: GGUFType, _ stored: ElementType) throws {
    let folder = try AdapterTests.scratch()
    defer { try? FileManager.default.removeItem(at: folder) }
    let file = folder.appendingPathComponent("m.gguf")
    try Self.model(Self.files("llama_tied", in: folder)).writeGGUF(to: file, type: type, name: "m")
    let plain = try CausalLM(opening: file)
    let model = try Self.model(ModelFiles(opening: file).adding(Self.tokens))
    let table = model.transformer.embedding
    #expect(table.value.type == plain.transformer.embedding.value.type && table.value.rows == 258)
    if type != .q4_0 { #expect(table.value.type == stored) }
    let rows = (0..<256).map { Self.row(table, $0, model) }
    #expect(rows == (0..<256).map { Self.row(plain.transformer.embedding, $0, plain) })
    let mean = rows[0].indices.map { column in rows.reduce(0) { $0 + $1[column] } / 256 }
    let largest = mean.map(abs).max() ?? 0
    for index in [256, 257] {
      // Half a level of the coarsest type.
      #expect(zip(Self.row(table, index, model), mean).allSatisfy { abs($0 - $1) <= largest / 14 })
    }
    // The exported copy has the tokens and their rows.
    let copy = folder.appendingPathComponent("copy.gguf")
    try model.writeGGUF(to: copy, type: nil, name: "copy")
    let read = try CausalLM(opening: copy)
    #expect(read.tokenizer.encode("<note><|tool|>", addSpecialTokens: false) == [256, 257])
    #expect(AdapterTests.logits(read.transformer, [5, 256, 9]) == AdapterTests.logits(model.transformer, [5, 256, 9]))
  }

  @Test func rowsOfFourBitTablesBecomeFloats() throws {
    let backend = CPUBackend.shared
    let values = (0..<4 * 64).map { Float($0 % 7) - 3 }
    let codes = try #require(
      backend.quantized(backend.tensor(values, [4, 64]), to: FourBitFormat(.nf4, doubleQuantized: false)))
    let extended = backend.addingMeanRows(2, to: codes)
    #expect(extended.type == .float16 && extended.shape == [6, 64])
    let (stored, all) = (backend.floats(backend.converted(codes, to: .float16)), backend.floats(extended))
    #expect(Array(all.prefix(256)) == stored && Array(all[256..<320]) == Array(all.suffix(64)))
  }

  @Test(arguments: adapters) func adaptersEqualPEFT(_ name: String) throws {
    let folder = try AdapterTests.scratch()
    defer { try? FileManager.default.removeItem(at: folder) }
    let golden = try Goldens.json("added_tokens/\(name).json")
    let base = try #require(golden["base"]?.string).replacingOccurrences(of: "models/", with: "")
    let published = Goldens.folder.appendingPathComponent("added_tokens/\(name)")
    let plain = try Self.files(base, in: folder)
    let files = try plain.extended(by: published)
    let added = golden["added"]?.array?.compactMap { $0["id"]?.integer.map(Int32.init) } ?? [256, 257]
    #expect(files.addedTokenIDs == added && files.configuration.vocabularySize == 256 + added.count)
    let model = try Self.model(files)
    let adapter = try Adapter(reading: published, onto: model.transformer)
    let ids = try #require(golden["ids"]?.ids)
    let expected = try #require(golden["logits"]?.array).flatMap(\.floats)
    #expect(relativeError(AdapterTests.logits(model.transformer, ids), expected) < 1e-5)
    // Saved again, and merged.
    let again = folder.appendingPathComponent("again")
    try adapter.write(to: again, base: "base")
    try model.writeTokenizer(to: again)
    let second = try Self.model(plain.extended(by: again))
    _ = try Adapter(reading: again, onto: second.transformer)
    #expect(AdapterTests.logits(second.transformer, ids) == AdapterTests.logits(model.transformer, ids))
    let merged = folder.appendingPathComponent("merged")
    try model.write(to: merged, type: .float32)
    try model.writeTokenizer(to: merged)
    #expect(relativeError(AdapterTests.logits(try CausalLM(opening: merged).transformer, ids), expected) < 1e-5)
    let gguf = folder.appendingPathComponent("merged.gguf")
    try model.writeGGUF(to: gguf, type: .f32, name: "m")
    let exported = try CausalLM(opening: gguf)
    #expect(exported.tokenizer.encode("<|tool|>", addSpecialTokens: false) == [257])
    #expect(relativeError(AdapterTests.logits(exported.transformer, ids), expected) < 1e-5)
    // Without the tokens the adapter doesn't fit.
    #expect(throws: (any Error).self) { try Adapter(reading: published, onto: Transformer(plain)) }
  }

  /// The trained rows alone hold the new tokens, so nothing else is saved.
  @Test(arguments: ["llama", "llama_tied"]) func newAdaptersHoldTheirTokens(_ name: String) throws {
    let folder = try AdapterTests.scratch()
    defer { try? FileManager.default.removeItem(at: folder) }
    let plain = try Self.files(name, in: folder)
    let model = try Self.model(plain.adding(Self.tokens))
    let configuration = try LoRAConfiguration.lora(rank: 2, targetModules: .names(["q_proj"]))
      .training(addedTokens: model.files.addedTokenIDs, of: model.transformer)
    let adapter = try Adapter(configuration, on: model.transformer, seed: 1)
    let rows = adapter.parameters.filter { $0.name.hasSuffix("trainable_tokens_delta") }
    #expect(rows.count == (name == "llama" ? 2 : 1) && rows.allSatisfy { $0.value.rows == 2 })
    for parameter in rows { model.transformer.backend.scale(parameter.value, by: 3) }
    let output = folder.appendingPathComponent("out")
    try adapter.write(to: output, base: "base")
    try model.writeTokenizer(to: output)
    let size = try #require(
      FileManager.default.attributesOfItem(atPath: output.appendingPathComponent("adapter_model.safetensors").path)[
        .size]
        as? Int)
    #expect(size < 20_000)
    let opened = try Self.model(plain.extended(by: output))
    _ = try Adapter(reading: output, onto: opened.transformer)
    let ids: [Int32] = [5, 257, 256, 9]
    #expect(AdapterTests.logits(opened.transformer, ids) == AdapterTests.logits(model.transformer, ids))
  }

  @Test func newTokensAreTrainedUnlessTheirModulesAre() throws {
    let folder = try AdapterTests.scratch()
    defer { try? FileManager.default.removeItem(at: folder) }
    let second = folder.appendingPathComponent("tied")
    try FileManager.default.createDirectory(at: second, withIntermediateDirectories: true)
    let untied = try Transformer(Self.files("llama", in: folder).adding(Self.tokens))
    let tied = try Transformer(Self.files("llama_tied", in: second).adding(Self.tokens))
    func trained(
      _ transformer: Transformer, _ given: LoRAConfiguration.TokenIndices? = nil, saving modules: [String] = []
    ) throws -> LoRAConfiguration.TokenIndices? {
      var configuration = LoRAConfiguration()
      configuration.trainableTokens = given
      configuration.modulesToSave = modules
      return try configuration.training(addedTokens: [256, 257], of: transformer).trainableTokens
    }
    #expect(try trained(tied) == .embedding([256, 257]))
    #expect(try trained(tied, .embedding([5, 256])) == .embedding([5, 256, 257]))
    #expect(
      try trained(untied) == .modules([.init("embed_tokens", [256, 257]), .init("lm_head", [256, 257])]))
    #expect(
      try trained(untied, .embedding([4]))
        == .modules([.init("embed_tokens", [4, 256, 257]), .init("lm_head", [256, 257])]))
    #expect(
      try trained(tied, .modules([.init("lm_head", [3])]))
        == .modules([.init("embed_tokens", [256, 257]), .init("lm_head", [3, 256, 257])]))
    #expect(try trained(untied, saving: ["lm_head"]) == .embedding([256, 257]))
    #expect(try trained(untied, saving: ["embed_tokens", "lm_head"]) == nil)
    #expect(try trained(tied, saving: ["embed_tokens", "lm_head"]) == nil)
    let message = AdapterTests.message { _ = try trained(tied, saving: ["lm_head"]) }
    #expect(message.contains("name both or neither"))
  }

  @Test func perLayerEmbeddingsAreRefused() throws {
    let folder = try AdapterTests.scratch()
    defer { try? FileManager.default.removeItem(at: folder) }
    let files = try Self.files("gemma4", in: folder)
    let message = AdapterTests.message { _ = try files.adding(Self.tokens) }
    #expect(message.contains("per-layer embeddings"), "\(message)")
  }
}
