import Checkpoints
import Foundation
import Models
import OrderedJSON
import Tensors
import Testing
import Tokenizers

/// GGUF files of Qwen3.5, in which value heads that share a key head are not next to each other.
@Suite struct Qwen35GGUFTests {
  private static let golden = Goldens.folder.appendingPathComponent("models/qwen3_5_gguf")
  private static let ids: [Int32] = [3, 14, 15, 92, 65, 35, 89, 79, 32, 38, 46]

  private static func inScratch(_ body: (URL) throws -> Void) throws {
    let folder = try AdapterTests.scratch()
    defer { try? FileManager.default.removeItem(at: folder) }
    try body(folder)
  }

  static func model(_ url: URL, on backend: any Backend = CPUBackend.shared) throws -> CausalLM {
    if url.pathExtension == "gguf" { return try CausalLM(opening: url, on: backend) }
    let tokenizer = try Tokenizer(directory: Goldens.folder.appendingPathComponent("models/tokenizer"))
    return try CausalLM(ModelFiles(opening: url), tokenizer: tokenizer, on: backend)
  }

  /// A text-only model with four value heads of 32 for each of two key heads: a block of 256 spans all of them.
  private static func writeModel(to folder: URL) throws {
    let config: JSONValue = [
      "model_type": "qwen3_5_text", "architectures": ["Qwen3_5ForCausalLM"], "vocab_size": 256, "hidden_size": 32,
      "intermediate_size": 64, "num_hidden_layers": 2, "full_attention_interval": 2, "num_attention_heads": 2,
      "num_key_value_heads": 1, "head_dim": 16, "max_position_embeddings": 64, "linear_num_key_heads": 2,
      "linear_num_value_heads": 8, "linear_key_head_dim": 32, "linear_value_head_dim": 32,
      "tie_word_embeddings": true,
    ]
    let url = folder.appendingPathComponent("config.json")
    try Data(config.text().utf8).write(to: url)
    var state: UInt64 = 5
    func random() -> Float {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Float(state >> 40) / Float(1 << 24) - 0.5
    }
    let tensors = try Transformer(ModelFiles(opening: url)).parameters.map { parameter in
      let shape = parameter.value.shape
      let center: Float = parameter.name.hasSuffix("A_log") ? -2 : 0
      let values = (0..<shape.reduce(1, *)).map { _ in center + 0.5 * random() }
      return TensorSource(name: parameter.name, tensor: CPUBackend.shared.tensor(values, shape))
    }
    try SafetensorsWriter.write(
      tensors, metadata: ["format": "pt"], to: folder.appendingPathComponent("model.safetensors"))
  }

  /// A GGUF file with blocks of 256, and the folder that it becomes.
  static func withBlocks(_ body: (_ file: URL, _ folder: URL) throws -> Void) throws {
    try inScratch { scratch in
      let (file, folder) = (scratch.appendingPathComponent("a.gguf"), scratch.appendingPathComponent("a"))
      try writeModel(to: scratch)
      try model(scratch).writeGGUF(to: file, type: .q4_k_m, name: "a")
      #expect(try GGUFFile(contentsOf: file).tensor(named: "blk.0.ssm_out.weight")?.type == .q4_K)
      try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
      try model(file).write(to: folder, type: .float32)
      try body(file, folder)
    }
  }

  private static func output(_ model: CausalLM) throws -> Linear {
    try #require(model.transformer.linearLayers.first { $0.name == "out_proj" })
  }

  static func logits(_ model: CausalLM) -> [Float] { AdapterTests.logits(model.transformer, ids) }

  // MARK: Blocks that span heads

  @Test func blocksThatSpanHeadsAreKept() throws {
    try Self.withBlocks { file, folder in
      let (read, written) = (try Self.model(file), try Self.model(folder))
      #expect(try Self.output(read).columnOrder?.runs == [0, 4, 1, 5, 2, 6, 3, 7])
      #expect(try Self.output(written).columnOrder == nil)
      #expect(relativeError(Self.logits(read), Self.logits(written)) < 1e-5)
      // Reordered if every weight is trained, and not in the way of new tensors.
      let trained = try Transformer(ModelFiles(opening: file), inFloat32: true)
      #expect(relativeError(AdapterTests.logits(trained, Self.ids), Self.logits(written)) < 1e-5)
      let copy = file.deletingLastPathComponent().appendingPathComponent("b.gguf")
      try read.writeGGUF(to: copy, type: nil, name: "b")
      #expect(try Data(contentsOf: copy) == Data(contentsOf: file))
      // Token by token, with the state kept in between.
      let generated = [read, written].map {
        $0.transformer.generate(Self.ids, maxNewTokens: 12, stopTokens: []).ids
      }
      #expect(generated[0] == generated[1])
    }
  }

  @Test func adaptersOverThemFitTheFolder() throws {
    try Self.withBlocks { file, folder in
      let scratch = file.deletingLastPathComponent()
      let read = try Self.model(file)
      var configuration = LoRAConfiguration()
      configuration.rank = 4
      configuration.targetModules = .allLinear
      configuration.initialization = .orthogonal
      let adapter = try Adapter(configuration, on: read.transformer, seed: 3)
      // As after some training.
      for parameter in adapter.parameters {
        let values = read.transformer.backend.floats(parameter.value)
        let changed = values.indices.map { values[$0] + 0.05 * Float($0 % 7 - 3) }
        read.transformer.backend.copy(
          read.transformer.backend.tensor(changed, parameter.value.shape), to: parameter.value)
      }
      let expected = Self.logits(read)
      let saved = scratch.appendingPathComponent("adapter")
      try adapter.write(to: saved, base: "a")
      let written = try Self.model(folder)
      #expect(relativeError(expected, Self.logits(written)) > 1e-2)
      _ = try Adapter(reading: saved, onto: written.transformer)
      #expect(relativeError(Self.logits(written), expected) < 1e-5)
      let again = try Self.model(file)
      let copy = try Adapter(reading: saved, onto: again.transformer)
      #expect(relativeError(Self.logits(again), expected) < 1e-5)
      try copy.write(to: scratch.appendingPathComponent("copy"), base: "a")
      let name = "adapter_model.safetensors"
      #expect(
        try Data(contentsOf: saved.appendingPathComponent(name))
          == Data(contentsOf: scratch.appendingPathComponent("copy/\(name)")))
      // The same in llama.cpp's form, and merged.
      let exported = scratch.appendingPathComponent("adapter.gguf")
      try LoRAExport.write(saved, base: ModelFiles(opening: file).configuration, to: exported, name: "a")
      for url in [file, folder] {
        let model = try Self.model(url)
        _ = try Adapter(reading: exported, onto: model.transformer)
        #expect(relativeError(Self.logits(model), expected) < 1e-5)
        let merged = scratch.appendingPathComponent("merged.gguf")
        try model.writeGGUF(to: merged, type: .f32, name: "merged")
        #expect(relativeError(Self.logits(try Self.model(merged)), expected) < 1e-5)
      }
    }
  }

  /// Gradients pass the order of columns, and A has them as its folder would.
  @Test func gradientsOverThemEqualTheFolders() throws {
    try Self.withBlocks { file, folder in
      let saved = file.deletingLastPathComponent().appendingPathComponent("adapter")
      var configuration = LoRAConfiguration()
      configuration.rank = 4
      configuration.targetModules = .allLinear
      configuration.initialization = .orthogonal
      try Adapter(configuration, on: Self.model(folder).transformer, seed: 3).write(to: saved, base: "a")
      func gradients(_ url: URL, checkpointed: Bool) throws -> [String: [Float]] {
        let transformer = try Self.model(url).transformer
        let adapter = try Adapter(reading: saved, onto: transformer)
        let batch = TokenBatch([Self.ids])
        let tape = Tape(on: transformer.backend, isRecording: true)
        let hidden = transformer.hiddenStates(batch, on: tape, checkpointed: checkpointed ? [0, 1] : [])
        _ = tape.linearCrossEntropy(
          hidden, head: transformer.head, targets: batch.targets, gradientScale: 1, softcap: 0)
        tape.backward()
        return try Dictionary(
          uniqueKeysWithValues: adapter.parameters.map { parameter in
            let gradient = adapter.saved(try #require(parameter.gradient), of: parameter)
            return (parameter.name, transformer.backend.floats(gradient))
          })
      }
      let theirs = try gradients(folder, checkpointed: false)
      for checkpointed in [false, true] {
        for (name, gradient) in try gradients(file, checkpointed: checkpointed) {
          #expect(relativeError(gradient, try #require(theirs[name])) < 1e-4, "\(name)")
        }
      }
    }
  }

  /// An adapter trained on the class with a vision tower names layers as that does, also in a regular expression.
  @Test func adaptersOfTheWholeModelFitTheFile() throws {
    let golden = try Goldens.json("peft/qwen3_5_gguf.json")
    let ids = try #require(golden["ids"]?.ids)
    let expected = try #require(golden["logits"]?.array).flatMap(\.floats)
    let model = try Self.model(Self.golden.appendingPathComponent("model.gguf"))
    let adapter = try Adapter(
      reading: Goldens.folder.appendingPathComponent("peft/qwen3_5_gguf"), onto: model.transformer)
    #expect(relativeError(AdapterTests.logits(model.transformer, ids), expected) < 1e-5)
    try Self.inScratch { scratch in
      try adapter.write(to: scratch, base: "a")
      for url in [Self.golden, Self.golden.appendingPathComponent("model.gguf")] {
        let other = try Self.model(url)
        _ = try Adapter(reading: scratch, onto: other.transformer)
        #expect(relativeError(AdapterTests.logits(other.transformer, ids), expected) < 1e-5)
      }
    }
  }

  // MARK: Layouts

  /// The text-only class and the one with a vision tower give the same file.
  @Test func textOnlyFoldersGiveTheSameFile() throws {
    try Self.inScratch { scratch in
      let (folder, file) = (scratch.appendingPathComponent("a"), scratch.appendingPathComponent("a.gguf"))
      try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
      let theirs = Self.golden.appendingPathComponent("model.gguf")
      try Self.model(theirs).write(to: folder, type: .float32)
      let json = try JSONValue(parsing: Data(contentsOf: folder.appendingPathComponent("config.json")))
      #expect(json["architectures"]?.array?.first?.string == "Qwen3_5ForCausalLM")
      try Self.model(folder).writeGGUF(to: file, type: .f32, name: "a")
      let (ours, expected) = (try GGUFFile(contentsOf: file), try GGUFFile(contentsOf: theirs))
      for (key, value) in expected.metadata.entries where key.hasPrefix("qwen35.") {
        #expect(ours.metadata[key] == value, "\(key)")
      }
      for name in expected.tensorNames {
        let (a, b) = (try #require(ours.tensor(named: name)), try #require(expected.tensor(named: name)))
        #expect(a.shape == b.shape && relativeError(CPUBackend.shared.floats(a), CPUBackend.shared.floats(b)) < 1e-6)
      }
    }
  }

  /// Rewrites the golden file with another header, and more tensors.
  private static func rewrite(
    to url: URL, _ changes: [(String, GGUFValue?)], adding others: [TensorSource] = []
  ) throws {
    let file = try GGUFFile(contentsOf: golden.appendingPathComponent("model.gguf"))
    var metadata = file.metadata
    for (key, value) in changes { metadata["qwen35.\(key)"] = value }
    let replaced = Set(others.map(\.name))
    let tensors = file.tensorNames.filter { !replaced.contains($0) }.compactMap { name in
      file.tensor(named: name).map { TensorSource(name: name, tensor: $0) }
    }
    try GGUFWriter.write(metadata: metadata, tensors: tensors + others, to: url)
  }

  /// Blocks that predict further tokens are no layers, and are kept when the file is written again. Older files say
  /// which layers have attention by an interval alone.
  @Test func blocksForFurtherTokensAreKept() throws {
    try Self.inScratch { scratch in
      let (first, second) = (scratch.appendingPathComponent("a.gguf"), scratch.appendingPathComponent("b.gguf"))
      let extra = TensorSource(
        name: "blk.4.nextn.eh_proj.weight", tensor: CPUBackend.shared.tensor([Float](repeating: 1, count: 64), [1, 64]))
      let lists: [GGUFValue?] = [.array(.bool([true, true, true, false, false])), nil]
      for list in lists {
        let changes: [(String, GGUFValue?)] = [
          ("block_count", .uint32(5)), ("nextn_predict_layers", .uint32(1)), ("attention.recurrent_layers", list),
        ]
        try Self.rewrite(to: first, changes, adding: [extra])
        let model = try Self.model(first)
        #expect(model.transformer.configuration.layers.count == 4)
        let golden = try Goldens.json("models/qwen3_5_gguf/golden.json")
        try FamilyTests.checkLogits(model.transformer, golden, tolerance: 1e-5)
        try model.writeGGUF(to: second, type: nil, name: "b")
        #expect(try Data(contentsOf: first) == Data(contentsOf: second))
      }
    }
  }

  // MARK: Faults

  @Test func faultyFilesEndInOneSentence() throws {
    try Self.inScratch { scratch in
      let file = scratch.appendingPathComponent("a.gguf")
      let rates = TensorSource(
        name: "blk.0.ssm_a", tensor: CPUBackend.shared.tensor([Float](repeating: 0.5, count: 6), [6]))
      let cases: [(changes: [(String, GGUFValue?)], tensors: [TensorSource], reason: String)] = [
        ([("ssm.group_count", .uint32(4))], [], "multiple of linear_num_key_heads"),
        ([("ssm.state_size", .uint32(7))], [], "multiple of 8"),
        ([("block_count", .int64(.min))], [], "num_hidden_layers"),
        ([("nextn_predict_layers", .int64(.max))], [], "num_hidden_layers"),
        ([("attention.recurrent_layers", .array(.bool([])))], [], "q_proj.weight is missing"),
        ([], [rates], "ssm_a has a value that is not negative"),
      ]
      for (changes, tensors, reason) in cases {
        try Self.rewrite(to: file, changes, adding: tensors)
        let message = AdapterTests.message { _ = try Self.model(file) }
        #expect(message.contains(reason), "\(message)")
      }
    }
  }

  @Test func whatLlamaCppCannotComputeIsRefused() throws {
    func refusal(_ changes: [(String, JSONValue?)]) throws -> String {
      var config = try #require(Goldens.json("models/qwen3_5_gguf/config.json")["text_config"]?.object)
      for (key, value) in changes { config[key] = value }
      let configuration = try TransformerConfiguration(json: .object(config), path: "config.json")
      return AdapterTests.message { _ = try GGUFHeader(configuration, name: "a", path: "config.json") }
    }
    #expect(try refusal([]).isEmpty)
    #expect(try refusal([("linear_value_head_dim", 16)]).contains("linear_value_head_dim"))
    #expect(try refusal([("attention_bias", true)]).contains("bias"))
    let types: JSONValue = ["full_attention", "full_attention", "full_attention", "full_attention"]
    #expect(try refusal([("layer_types", types)]).contains("linear attention"))
  }
}
