import Checkpoints
import Foundation
import Models
import OrderedJSON
import Tensors
import Testing
import Tokenizers

/// Exported GGUF files, compared with those that llama.cpp's converter makes from the same models.
@Suite struct GGUFExportTests {
  private static func model(_ name: String) throws -> CausalLM {
    let folder = Goldens.folder.appendingPathComponent("models/\(name)")
    // Settings that llama.cpp fixes and the golden model doesn't have.
    let changes: [String: [(String, JSONValue?)]] = [
      "smollm3": [("no_rope_layers", nil), ("no_rope_layer_interval", 4)],
      "gemma3_text": [("query_pre_attn_scalar", 16)],
      "gemma3_vision": [("text_config.query_pre_attn_scalar", 16)],
    ]
    guard let changes = changes[name] else { return try CausalLM(ModelFiles(opening: folder), tokenizer: tokenizer()) }
    let copy = try AdapterTests.scratch()
    defer { try? FileManager.default.removeItem(at: copy) }
    try changeConfiguration(of: name, changes, in: copy)
    return try CausalLM(ModelFiles(opening: copy), tokenizer: tokenizer())
  }

  /// Writes a model with a changed `config.json` to `folder`.
  private static func changeConfiguration(
    of name: String, _ changes: [(String, JSONValue?)], in folder: URL
  ) throws {
    var config = try #require(Goldens.json("models/\(name)/config.json").object)
    for (key, value) in changes {
      let path = key.split(separator: ".").map(String.init)
      if path.count == 2, var section = config[path[0]]?.object {
        section[path[1]] = value
        config[path[0]] = .object(section)
      } else {
        config[key] = value
      }
    }
    try Data(JSONValue.object(config).text().utf8).write(to: folder.appendingPathComponent("config.json"))
    let weights = Goldens.folder.appendingPathComponent("models/\(name)/model.safetensors")
    try FileManager.default.copyItem(at: weights, to: folder.appendingPathComponent("model.safetensors"))
  }

  private static func tokenizer() throws -> Tokenizer {
    try Tokenizer(directory: Goldens.folder.appendingPathComponent("models/tokenizer"))
  }

  private static func ids(_ name: String) throws -> [[Int32]] {
    try #require(Goldens.json("models/\(name)/golden.json")["sequences"]?.array).map { $0["ids"]?.ids ?? [] }
  }

  private static func logits(_ transformer: Transformer, _ sequences: [[Int32]]) -> [Float] {
    sequences.flatMap { AdapterTests.logits(transformer, $0) }
  }

  /// Runs `body` with a folder that is removed afterwards.
  private static func inScratch(_ body: (URL) throws -> Void) throws {
    let folder = try AdapterTests.scratch()
    defer { try? FileManager.default.removeItem(at: folder) }
    try body(folder)
  }

  // MARK: Round trips

  /// Features that llama.cpp lacks are not in its files: Mistral's sliding window, dynamic RoPE scaling.
  private static let lossy = ["mistral": 8, "llama_dynamic": 16]

  /// What GGUF files are not written of.
  static let refused = [
    "qwen3_5", "qwen3_moe_mixed", "gemma4", "lfm3",
  ]
  static let names = FamilyTests.names.filter { !refused.contains($0) }

  @Test(arguments: refused) func refusalsNameTheModel(_ name: String) throws {
    try Self.inScratch { folder in
      let message = AdapterTests.message {
        try Self.model(name).writeGGUF(to: folder.appendingPathComponent("model.gguf"), type: .f32, name: name)
      }
      #expect(
        message.contains("can't be exported as GGUF") || message.contains("norm_topk_prob")
          || message.contains("without experts") || message.contains("linear_value_head_dim")
          || message.contains("num_kv_shared_layers"))
      let files = try FileManager.default.contentsOfDirectory(atPath: folder.path)
      #expect(files.isEmpty)
    }
  }

  @Test(arguments: names) func exportedLogitsAreTheSame(_ name: String) throws {
    try Self.inScratch { folder in
      let model = try Self.model(name)
      let file = folder.appendingPathComponent("model.gguf")
      let notes = try model.writeGGUF(to: file, type: .f32, name: "tiny")
      let longest = Self.lossy[name] ?? .max
      let sequences = try Self.ids(name).map { Array($0.prefix(longest)) }
      let isNoted = Self.lossy[name] != nil || ["phi3", "phi3_longrope", "phi4_mini", "gpt_oss"].contains(name)
      #expect(notes.isEmpty != isNoted, "\(notes)")
      let read = try CausalLM(opening: file)
      let expected = Self.logits(model.transformer, sequences)
      #expect(relativeError(Self.logits(read.transformer, sequences), expected) < 1e-6)
      let text = "Hello the cat's 123  \u{4F60}\u{597D} <|im_start|>\n"
      #expect(read.tokenizer.encode(text) == model.tokenizer.encode(text))
      #expect(read.chatTemplate?.source == model.chatTemplate?.source)
      #expect(read.stopTokens == model.stopTokens)
    }
  }

  @Test(arguments: names) func rewritingKeepsEveryByte(_ name: String) throws {
    try Self.inScratch { folder in
      let (first, second) = (folder.appendingPathComponent("a.gguf"), folder.appendingPathComponent("b.gguf"))
      try Self.model(name).writeGGUF(to: first, type: .bf16, name: "tiny")
      try CausalLM(opening: first).writeGGUF(to: second, type: nil, name: "other")
      #expect(try Data(contentsOf: first) == Data(contentsOf: second))
    }
  }

  /// A GGUF file has the gradients of the folder it was made from, and becomes the same folder again.
  @Test(arguments: ["gemma4_gguf", "gemma4_keys", "qwen3_5_gguf"]) func foldersAndFilesAreTheSameModel(_ name: String)
    throws
  {
    try Self.inScratch { folder in
      let url = Goldens.folder.appendingPathComponent("models/\(name)/model.gguf")
      let file = try CausalLM(opening: url)
      try file.write(to: folder, type: .float32)
      let written = try ModelFiles(opening: folder)
      let original = try FamilyTests.transformer(name, inFloat32: true)
      // A GGUF file becomes the text-only class.
      var configuration = original.configuration
      configuration.modulePrefix = "model."
      #expect(written.configuration == configuration)
      let sequences = try Self.ids(name)
      let theirs = Self.gradients(original, sequences)
      for files in [written, try ModelFiles(opening: url)] {
        let read = try Transformer(files, inFloat32: true)
        #expect(relativeError(Self.logits(read, sequences), Self.logits(original, sequences)) < 1e-6)
        let ours = Self.gradients(read, sequences)
        func textOnly(_ name: String) -> String { name.replacing("model.language_model.", with: "model.") }
        #expect(Set(ours.keys) == Set(original.parameters.map { textOnly($0.name) }))
        for (name, gradient) in theirs {
          let parameter = textOnly(name)
          #expect(relativeError(try #require(ours[parameter]), gradient) < 1e-5, "\(parameter)")
        }
      }
    }
  }

  private static func gradients(_ transformer: Transformer, _ sequences: [[Int32]]) -> [String: [Float]] {
    for parameter in transformer.parameters { parameter.isTrainable = true }
    let batch = TokenBatch(sequences)
    let tape = Tape(on: transformer.backend, isRecording: true)
    _ = tape.linearCrossEntropy(
      transformer.hiddenStates(batch, on: tape), head: transformer.head, targets: batch.targets,
      gradientScale: 1 / Float(batch.targetCount), softcap: transformer.configuration.logitSoftcap)
    tape.backward()
    return Dictionary(
      uniqueKeysWithValues: transformer.parameters.compactMap { parameter in
        parameter.gradient.map { (parameter.name, transformer.backend.floats($0)) }
      })
  }

  // MARK: Against llama.cpp's converter

  @Test(arguments: FamilyTests.ggufNames.filter { !refused.contains($0) }) func filesEqualTheConverters(_ name: String)
    throws
  {
    try Self.inScratch { folder in
      let file = folder.appendingPathComponent("model.gguf")
      try Self.model(name).writeGGUF(to: file, type: .f32, name: name)
      let ours = try GGUFFile(contentsOf: file)
      let theirs = try GGUFFile(contentsOf: Goldens.folder.appendingPathComponent("models/\(name)/model.gguf"))
      // The converter writes the last one for models without long factors too, where it has no effect.
      let others = ["general.size_label", "general.name", "phi3.rope.scaling.original_context_length"]
      for (key, value) in theirs.metadata.entries where !others.contains(key) || name == "phi3_longrope" {
        if key.hasPrefix("general.") && others.contains(key) { continue }
        #expect(ours.metadata[key] == value, "\(key)")
      }
      // The converter writes these only if tokenizer_config.json has them; llama.cpp's defaults vary, so we always do.
      // So with the base of Gemma 2's positions, and the softcap of a Gemma 4 that has none, for which llama.cpp takes 30.
      let explicit = [
        "tokenizer.ggml.add_bos_token", "tokenizer.ggml.add_eos_token", "gemma2.rope.freq_base",
        "gemma4.final_logit_softcapping",
      ]
      for (key, _) in ours.metadata.entries where !explicit.contains(key) {
        #expect(theirs.metadata[key] != nil, "llama.cpp's converter has no \(key)")
      }
      #expect(Set(ours.tensorNames) == Set(theirs.tensorNames))
      for tensorName in theirs.tensorNames {
        let (a, b) = (try #require(ours.tensor(named: tensorName)), try #require(theirs.tensor(named: tensorName)))
        #expect(a.type == b.type && a.shape == b.shape, "\(tensorName)")
        let (left, right) = (CPUBackend.shared.floats(a), CPUBackend.shared.floats(b))
        // The last digit depends on the library's exp.
        if tensorName.hasPrefix("rope_") || tensorName.hasSuffix(".ssm_a") {
          #expect(relativeError(left, right) < 1e-6, "\(tensorName)")
        } else {
          #expect(left == right, "\(tensorName)")
        }
      }
    }
  }

  @Test(arguments: ["lora", "fused", "qwen3_5_gguf"]) func adaptersEqualTheConverters(_ name: String) throws {
    try Self.inScratch { folder in
      let golden = try Goldens.json("peft/\(name).json")
      let base = Goldens.folder.appendingPathComponent(try #require(golden["base"]?.string))
      let adapter = Goldens.folder.appendingPathComponent(try #require(golden["adapter"]?.string))
      let file = folder.appendingPathComponent("adapter.gguf")
      try LoRAExport.write(adapter, base: ModelFiles(opening: base).configuration, to: file, name: name)
      let ours = try GGUFFile(contentsOf: file)
      let theirs = try GGUFFile(contentsOf: Goldens.folder.appendingPathComponent("gguf_export/\(name).gguf"))
      for key in ["general.architecture", "general.type", "adapter.type", "adapter.lora.alpha"] {
        #expect(ours.metadata[key] == theirs.metadata[key] && ours.metadata[key] != nil, "\(key)")
      }
      #expect(Set(ours.tensorNames) == Set(theirs.tensorNames))
      for tensorName in theirs.tensorNames {
        let (a, b) = (try #require(ours.tensor(named: tensorName)), try #require(theirs.tensor(named: tensorName)))
        #expect(a.shape == b.shape && CPUBackend.shared.floats(a) == CPUBackend.shared.floats(b), "\(tensorName)")
      }
    }
  }

  /// llama.cpp scales by alpha over rank; rsLoRA's scale differs, so B is multiplied by the ratio.
  @Test func loraScalesAreFoldedIntoB() throws {
    try Self.inScratch { folder in
      let file = folder.appendingPathComponent("adapter.gguf")
      let adapter = Goldens.folder.appendingPathComponent("peft/all_linear")
      let base = Goldens.folder.appendingPathComponent("models/qwen2")
      try LoRAExport.write(adapter, base: ModelFiles(opening: base).configuration, to: file, name: "a")
      let written = try GGUFFile(contentsOf: file)
      let peft = try SafetensorsCheckpoint(contentsOf: adapter.appendingPathComponent("adapter_model.safetensors"))
      let path = "base_model.model.model.layers.0.mlp.up_proj.lora_B.weight"
      let b = CPUBackend.shared.floats(try #require(peft.tensor(named: path)))
      let scaled = CPUBackend.shared.floats(try #require(written.tensor(named: "blk.0.ffn_up.weight.lora_b")))
      // rank 2, alpha 2: PEFT scales by 2 / sqrt 2, llama.cpp by 2 / 2.
      #expect(relativeError(scaled, b.map { $0 * Float(2).squareRoot() }) < 1e-6)
    }
  }

  // MARK: Adapters merged in

  @Test(
    arguments: [
      "lora", "lora_patterns", "fused", "all_linear", "lora_tied_head", "lora_tied_embedding", "mistral3",
      "qwen3_5_gguf",
    ], [false, true])
  func mergedFilesEqualTheAdaptedModel(_ name: String, fromGGUF: Bool) throws {
    try Self.inScratch { folder in
      let golden = try Goldens.json("peft/\(name).json")
      var base = Goldens.folder.appendingPathComponent(try #require(golden["base"]?.string))
      let plain = try CausalLM(ModelFiles(opening: base), tokenizer: Self.tokenizer())
      if fromGGUF {
        base = folder.appendingPathComponent("base.gguf")
        try plain.writeGGUF(to: base, type: .f32, name: "base")
      }
      let model = fromGGUF ? try CausalLM(opening: base) : plain
      let path = Goldens.folder.appendingPathComponent(try #require(golden["adapter"]?.string))
      _ = try Adapter(reading: path, onto: model.transformer)
      let file = folder.appendingPathComponent("merged.gguf")
      try model.writeGGUF(to: file, type: .f32, name: "merged")
      let ids = try #require(golden["ids"]?.ids)
      let expected = try #require(golden["logits"]?.array).flatMap(\.floats)
      #expect(relativeError(AdapterTests.logits(try CausalLM(opening: file).transformer, ids), expected) < 1e-5)
    }
  }

  /// An adapter's own embeddings replace the base's in a merged file; llama.cpp's adapters can't hold them.
  @Test(arguments: [false, true]) func embeddingsBesideAnAdapterAreMerged(fromGGUF: Bool) throws {
    try Self.inScratch { folder in
      try LoRAConfigurationTests.writeAdapterWithEmbeddings(to: folder)
      var model = try Self.model("llama")
      let base = model.transformer.configuration
      if fromGGUF {
        let url = folder.appendingPathComponent("base.gguf")
        try model.writeGGUF(to: url, type: .f32, name: "base")
        model = try CausalLM(opening: url)
      }
      _ = try Adapter(reading: folder, onto: model.transformer)
      let file = folder.appendingPathComponent("merged.gguf")
      try model.writeGGUF(to: file, type: .f32, name: "merged")
      let merged = try CausalLM(opening: file).transformer
      #expect(merged.backend.floats(merged.embedding.value).allSatisfy { $0 == 0.01 })
      #expect(merged.head !== merged.embedding)
      let message = AdapterTests.message {
        try LoRAExport.write(folder, base: base, to: folder.appendingPathComponent("a.gguf"), name: "a")
      }
      #expect(message.contains("embed_tokens") && message.contains("--model"), "\(message)")
    }
  }

  /// 4-bit base models, whose codes GGUF can't store; Llama's rows are reordered, Phi-3's are not.
  @Test(arguments: ["llama_nf4", "llama_tied_nf4_bf16", "phi3_fp4_f16"])
  func fourBitBasesAreDequantized(_ name: String) throws {
    try Self.inScratch { folder in
      let files = try ModelFiles(opening: Goldens.folder.appendingPathComponent("quantization/\(name)"))
      let model = try CausalLM(files, tokenizer: Self.tokenizer())
      let file = folder.appendingPathComponent("model.gguf")
      let ids: [Int32] = [3, 14, 15, 92, 65]
      let expected = AdapterTests.logits(model.transformer, ids)
      for (type, tolerance) in [(GGUFType?.some(.f32), 1e-6), (nil, 2e-3)] {
        try model.writeGGUF(to: file, type: type, name: "four")
        #expect(relativeError(AdapterTests.logits(try CausalLM(opening: file).transformer, ids), expected) < tolerance)
      }
    }
  }

  // MARK: Types

  @Test func tensorTypesFollowLlamaCpp() throws {
    try Self.inScratch { folder in
      let file = folder.appendingPathComponent("model.gguf")
      let model = try Self.model("llama")  // rows of 64, and of 176: no whole blocks
      // float16 keeps three bits more than bfloat16. A model this small changes much in 4 bits.
      let types: [(type: GGUFType, expected: ElementType, tolerance: Double)] = [
        (.f32, .float32, 1e-6), (.f16, .float16, 1e-2 / 8), (.bf16, .bfloat16, 1e-2), (.q8_0, .q8_0, 3e-2),
        (.q4_0, .q4_0, 0.6), (.q6_k, .q8_0, 3e-2),
      ]
      for (type, expected, tolerance) in types {
        try model.writeGGUF(to: file, type: type, name: "tiny")
        let written = try GGUFFile(contentsOf: file)
        for name in written.tensorNames {
          let tensor = try #require(written.tensor(named: name))
          let isWhole = tensor.columns % expected.blockLength == 0
          switch name {
          case _ where tensor.shape.count == 1: #expect(tensor.type == .float32, "\(name)")
          case "output.weight" where type == .q4_0: #expect(tensor.type == .q8_0)
          default: #expect(tensor.type == (isWhole ? expected : .float16), "\(name)")
          }
        }
        let sequences = try Self.ids("llama")
        let error = relativeError(
          Self.logits(try CausalLM(opening: file).transformer, sequences), Self.logits(model.transformer, sequences))
        #expect(error < tolerance, "\(type)")
      }
    }
  }

  /// The types that `llama-quantize` gives the tensors of a model with eight layers.
  @Test func mixturesFollowLlamaCpp() {
    let parts = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"]
    let names = (0..<8).flatMap { layer in parts.map { "blk.\(layer).\($0).weight" } }
    let mixture = GGUFMixture(.q4_k_m, names: names + ["token_embd.weight", "output.weight"])
    for name in names {
      let isPreferred = ["0", "3", "6", "7"].contains { name.hasPrefix("blk.\($0).") }
      let has6Bits = isPreferred && (name.contains("attn_v") || name.contains("ffn_down"))
      #expect(mixture.type(of: name, shape: [512, 512]) == (has6Bits ? .q6_K : .q4_K), "\(name)")
      #expect(mixture.type(of: name, shape: [512, 96]) == (has6Bits ? .q8_0 : .q5_0), "\(name)")
      #expect(mixture.type(of: name, shape: [512, 90]) == .float16, "\(name)")
    }
    func head(_ type: GGUFType, columns: Int) -> ElementType {
      GGUFMixture(type, names: ["output.weight"]).type(of: "output.weight", shape: [1000, columns])
    }
    #expect(mixture.type(of: "token_embd.weight", shape: [1000, 512]) == .q4_K)
    #expect(head(.q4_k_m, columns: 512) == .q6_K && head(.q4_k_m, columns: 96) == .q8_0)
    #expect(head(.q4_0, columns: 512) == .q6_K && head(.q4_0, columns: 96) == .q8_0)
    #expect(head(.q6_k, columns: 512) == .q6_K && head(.q8_0, columns: 512) == .q8_0)
    #expect(mixture.type(of: "blk.0.attn_norm.weight", shape: [512]) == .float32)
    #expect(mixture.type(of: "blk.0.ssm_conv1d.weight", shape: [512, 4]) == .float32)
    let tied = GGUFMixture(.q4_k_m, names: ["token_embd.weight", "per_layer_token_embd.weight"])
    for name in ["token_embd", "per_layer_token_embd"] {
      #expect(tied.type(of: "\(name).weight", shape: [1000, 512]) == .q6_K, "\(name)")
    }
    #expect(tied.type(of: "per_layer_model_proj.weight", shape: [1000, 512]) == .float16)
    #expect(mixture.type(of: "per_layer_token_embd.weight", shape: [1000, 512]) == .q4_K)
  }

  // MARK: Refusals

  @Test func whatLlamaCppCannotComputeIsRefused() throws {
    func refusal(_ name: String, _ changes: [(String, JSONValue?)]) throws -> String {
      let folder = try AdapterTests.scratch()
      defer { try? FileManager.default.removeItem(at: folder) }
      try Self.changeConfiguration(of: name, changes, in: folder)
      return AdapterTests.message {
        let model = try CausalLM(ModelFiles(opening: folder), tokenizer: Self.tokenizer())
        try model.writeGGUF(to: folder.appendingPathComponent("a.gguf"), type: .f32, name: "a")
      }
    }
    #expect(try refusal("smollm3", []).contains("no_rope_layers"))
    #expect(try refusal("gemma3_text", [("query_pre_attn_scalar", 4096)]).contains("query_pre_attn_scalar"))
    let rope: JSONValue = ["rope_type": "default", "rope_theta": 10000, "partial_rotary_factor": 0.5]
    #expect(try refusal("qwen3", [("rope_parameters", rope)]).contains("partial_rotary_factor"))
  }

  @Test func gemma4sThatLlamaCppCannotComputeAreRefused() throws {
    func refusal(_ changes: [(String, JSONValue?)]) throws -> String {
      var config = try #require(Goldens.json("models/gemma4_gguf/config_before_5.json").object)
      for (key, value) in changes { config[key] = value }
      let configuration = try TransformerConfiguration(json: .object(config), path: "config.json")
      return AdapterTests.message { _ = try GGUFHeader(configuration, name: "a", path: "config.json") }
    }
    #expect(try refusal([]).isEmpty)
    #expect(try refusal([("attention_bias", true)]).contains("bias"))
    let plain: JSONValue = [
      "sliding_attention": ["rope_type": "default"], "full_attention": ["rope_type": "default"],
    ]
    #expect(try refusal([("rope_parameters", plain)]).contains("RoPE other than proportional"))
  }

  /// llama.cpp reads the update of the projection to per-layer embeddings, but doesn't apply it.
  @Test func adaptersThatLlamaCppIgnoresAreRefused() throws {
    try Self.inScratch { folder in
      let base = try ModelFiles(opening: Goldens.folder.appendingPathComponent("models/gemma4")).configuration
      let adapter = Goldens.folder.appendingPathComponent("peft/gemma4_embeddings")
      let file = folder.appendingPathComponent("a.gguf")
      let message = AdapterTests.message { try LoRAExport.write(adapter, base: base, to: file, name: "a") }
      #expect(message.contains("per_layer_model_projection") && message.contains("--model"), "\(message)")
      #expect(!FileManager.default.fileExists(atPath: file.path))
    }
  }

  @Test func adaptersThatLlamaCppCannotApplyAreRefused() throws {
    try Self.inScratch { folder in
      let base = try ModelFiles(opening: Goldens.folder.appendingPathComponent("models/llama")).configuration
      let source = Goldens.folder.appendingPathComponent("training/lora/adapter")
      let copy = folder.appendingPathComponent("adapter")
      try FileManager.default.copyItem(at: source, to: copy)
      let config = copy.appendingPathComponent("adapter_config.json")
      func refusal(_ key: String, _ value: JSONValue) throws -> String {
        var json = try #require(
          JSONValue(parsing: Data(contentsOf: source.appendingPathComponent("adapter_config.json"))).object)
        json[key] = value
        try Data(JSONValue.object(json).text().utf8).write(to: config)
        return AdapterTests.message {
          try LoRAExport.write(copy, base: base, to: folder.appendingPathComponent("a.gguf"), name: "a")
        }
      }
      #expect(try refusal("modules_to_save", ["lm_head"]).contains("modules_to_save"))
      #expect(try refusal("r", 4).contains("is not supported") == false)
      try FileManager.default.removeItem(at: folder.appendingPathComponent("a.gguf"))
      try FileManager.default.removeItem(at: config)
      let message = AdapterTests.message {
        try LoRAExport.write(copy, base: base, to: folder.appendingPathComponent("a.gguf"), name: "a")
      }
      #expect(message.contains("adapter_config.json"))
      #expect(!FileManager.default.fileExists(atPath: folder.appendingPathComponent("a.gguf").path))
    }
  }
}
