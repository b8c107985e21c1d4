import Checkpoints
import Foundation
import Models
import OrderedJSON
import Tensors
import Testing

/// LoRA settings as PEFT reads them.
@Suite struct LoRAConfigurationTests {
  private static func configuration(_ changes: [(String, JSONValue)]) throws -> LoRAConfiguration {
    var json = JSONObject([("peft_type", "LORA"), ("target_modules", ["q_proj"])])
    for (key, value) in changes { json[key] = value }
    return try LoRAConfiguration(json: .object(json), path: "adapter_config.json")
  }

  @Test func everyFieldOfLoraConfigIsKnown() throws {
    let names = try #require(Goldens.json("peft/lora_config_fields.json").array).compactMap(\.string)
    #expect(names.count > 40)
    #expect(LoRAConfiguration.fields.keys.sorted() == names.sorted())
  }

  /// A field that changes the result and isn't supported is an error that names it; a field without effect isn't.
  @Test(arguments: LoRAConfiguration.fields.keys.sorted()) func fieldsAreHonoredOrRefused(_ name: String) throws {
    let values: [JSONValue] = [true, ["a": 1]]
    for value in values {
      let message = AdapterTests.message { _ = try Self.configuration([(name, value)]) }
      switch LoRAConfiguration.fields[name] {
      case .refused: #expect(message.contains("\"\(name)\""), "\(message)")
      case .irrelevant: #expect(message.isEmpty, "\(message)")
      default: break
      }
      #expect(AdapterTests.message { _ = try Self.configuration([(name, .null)]) }.isEmpty == (name != "peft_type"))
    }
    let unknown = AdapterTests.message { _ = try Self.configuration([("use_newer_lora", true)]) }
    #expect(unknown.contains("use_newer_lora"))
    #expect(try Self.configuration([("use_newer_lora", false)]).rank == 8)
  }

  @Test(arguments: ["pissa", "pissa_niter_4", "olora", "corda", "loftq", "lora_ga"])
  func initializationsThatChangeTheBaseAreRefused(_ name: String) {
    let message = AdapterTests.message { _ = try Self.configuration([("init_lora_weights", .string(name))]) }
    #expect(message.contains("init_lora_weights") && message.contains(name), "\(message)")
  }

  /// PEFT uses the first pattern that matches, in the order of the file.
  @Test func theFirstMatchingPatternCounts() throws {
    let path = "model.layers.1.self_attn.q_proj"
    let first = try Self.configuration([("rank_pattern", ["q_proj": 2, "layers.1.self_attn.q_proj": 3])])
    let second = try Self.configuration([("rank_pattern", ["layers.1.self_attn.q_proj": 3, "q_proj": 2])])
    #expect(first.rank(of: path) == 2 && second.rank(of: path) == 3)
    let alphas = try Self.configuration([("r", 4), ("alpha_pattern", ["z|q_proj": 2, "q_proj": 12])])
    #expect(alphas.scale(of: path) == 0.5)
    // Both orders survive writing.
    for configuration in [first, second] {
      let json = configuration.json(base: "base", names: [])
      #expect(try LoRAConfiguration(json: json, path: "c") == configuration)
    }
  }

  @Test func layersAreSelectedByIndex() throws {
    let some = try Self.configuration([("layers_to_transform", [0, 2])])
    let paths = (0..<3).map { "model.layers.\($0).self_attn.q_proj" }
    #expect(paths.map(some.targets) == [true, false, true])
    let one = try Self.configuration([("layers_to_transform", 1), ("layers_pattern", "layers")])
    #expect(paths.map(one.targets) == [false, true, false])
    #expect(try LoRAConfiguration(json: one.json(base: "b", names: []), path: "c") == one)
    let adapter = try Adapter(one, on: FamilyTests.transformer("llama"), seed: 1)
    #expect(adapter.layers.map(\.path) == ["model.layers.1.self_attn.q_proj"])
    let message = AdapterTests.message { _ = try Self.configuration([("layers_to_transform", ["a"])]) }
    #expect(message.contains("layers_to_transform"))
  }

  /// The first numbered module counts: in a mixture of experts, the layer and not the expert.
  @Test func theFirstIndexIsTheLayers() throws {
    let path = "model.layers.1.mlp.experts.0.up_proj"
    func targets(_ layer: Int, _ pattern: JSONValue) throws -> Bool {
      try Self.configuration([
        ("target_modules", ["up_proj"]), ("layers_to_transform", .integer(layer)), ("layers_pattern", pattern),
      ]).targets(path)
    }
    #expect(try targets(1, nil) && !targets(0, nil))
    #expect(try targets(1, "layers") && !targets(0, "layers"))
    #expect(try targets(0, "experts") && targets(1, "(layers|h)") && !targets(1, "h"))
  }

  /// A module of `modules_to_save` gets no update. As in PEFT, a name is the end of a path.
  @Test(arguments: [
    ("q_proj", ["layers.0.self_attn.q_proj", "layers.1.self_attn.q_proj"]),
    ("layers.1.mlp", ["gate_proj", "up_proj", "down_proj"].map { "layers.1.mlp.\($0)" }),
    ("0.self_attn", ["q_proj", "k_proj", "v_proj", "o_proj"].map { "layers.0.self_attn.\($0)" }),
    ("norm", ["layers.0.input_layernorm", "layers.1.post_attention_layernorm", "norm"]),
    ("head", ["lm_head"]), ("embed_tokens", ["embed_tokens"]),
  ])
  func savedModulesGetNoUpdate(_ name: String, _ modules: [String]) throws {
    var configuration = LoRAConfiguration.lora(rank: 2)
    configuration.modulesToSave = [name]
    let transformer = try FamilyTests.transformer("llama")
    let adapter = try Adapter(configuration, on: transformer, seed: 1)
    let saved = adapter.parameters.map(\.name).filter { !$0.contains("lora_") }
    for module in modules { #expect(saved.contains { $0.hasSuffix("\(module).weight") }, "\(module)") }
    let updated = Set(adapter.layers.map { $0.path + ".weight" })
    #expect(updated.isDisjoint(with: saved) && saved.allSatisfy { $0.contains(name) || $0.contains("norm") })
    #expect(updated.union(saved).isSuperset(of: transformer.linearLayers.map { $0.path + ".weight" }))
  }

  @Test(arguments: ["proj", "attn"]) func aPartOfTheNameOfAnUpdatedLayerIsRefused(_ name: String) throws {
    var configuration = LoRAConfiguration.lora(rank: 2)
    configuration.modulesToSave = [name]
    let message = AdapterTests.message {
      _ = try Adapter(configuration, on: FamilyTests.transformer("llama"), seed: 1)
    }
    #expect(message.contains("\"\(name)\"") && message.contains("write the whole name"), "\(message)")
  }

  @Test(arguments: [("llama", ["q_proj", "v_proj"]), ("phi3", ["qkv_proj"]), ("smollm3", ["q_proj", "v_proj"])])
  func defaultTargetsAreThoseOfTheFamily(_ name: String, _ expected: [String]) throws {
    let adapter = try Adapter(LoRAConfiguration(), on: FamilyTests.transformer(name), seed: 1)
    #expect(adapter.configuration.targetModules == .names(expected))
    #expect(Set(adapter.layers.map(\.name)) == Set(expected))
    #expect(adapter.configuration.unmatchedTargets(among: adapter.layers.map(\.path)).isEmpty)
  }

  /// A and B are random, but their product is zero.
  @Test func orthogonalMatricesHaveNoProduct() throws {
    var configuration = LoRAConfiguration.lora(rank: 6, targetModules: .names(["q_proj"]))
    configuration.initialization = .orthogonal
    let transformer = try FamilyTests.transformer("llama")
    let adapter = try Adapter(configuration, on: transformer, seed: 3)
    for layer in adapter.layers {
      let update = try #require(layer.lora)
      let (a, b) = (transformer.backend.floats(update.a.value), transformer.backend.floats(update.b.value))
      func norm(_ values: [Float]) -> Double { values.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot() }
      // Elements have a standard deviation of √(3/6) / 10.
      let expected = 0.1 * 0.5.squareRoot()
      #expect(abs(norm(a) / Double(a.count).squareRoot() - expected) < 0.02)
      #expect(abs(norm(b) / Double(b.count).squareRoot() - expected) < 0.02)
      for row in 0..<layer.outputSize {
        for column in 0..<layer.inputSize {
          let product = (0..<6).reduce(0.0) {
            $0 + Double(b[row * 6 + $1]) * Double(a[$1 * layer.inputSize + column])
          }
          #expect(abs(product) < 1e-6)
        }
      }
    }
    configuration.rank = 5
    #expect(AdapterTests.message { _ = try Adapter(configuration, on: transformer, seed: 3) }.contains("even rank"))
  }

  @Test func codingKeepsEveryMember() throws {
    var configuration = LoRAConfiguration.lora(
      rank: 3, alpha: 5, dropout: 0.25, targetModules: .pattern(".*q_proj"))
    configuration.excludeModules = .names(["k_proj"])
    configuration.usesRSLoRA = true
    configuration.rankPattern = [.init("b", 2), .init("a", 3)]
    configuration.alphaPattern = [.init("d", 2.5), .init("c", 3)]
    configuration.layersToTransform = [1]
    configuration.layersPattern = ["layers"]
    configuration.modulesToSave = ["lm_head"]
    configuration.initialization = .gaussian
    let data = try JSONEncoder().encode(configuration)
    #expect(try JSONDecoder().decode(LoRAConfiguration.self, from: data) == configuration)
    configuration.targetModules = .allLinear
    let other = try JSONDecoder().decode(LoRAConfiguration.self, from: JSONEncoder().encode(configuration))
    #expect(other == configuration)
  }

  /// Writes an adapter of the tiny Llama that has embeddings of its own, all 0.01.
  static func writeAdapterWithEmbeddings(to folder: URL, hiddenSize: Int = 64) throws {
    let source = Goldens.folder.appendingPathComponent("training/lora/adapter")
    let file = try SafetensorsCheckpoint(contentsOf: source.appendingPathComponent("adapter_model.safetensors"))
    let embeddings = CPUBackend.shared.tensor([Float](repeating: 0.01, count: 256 * hiddenSize), [256, hiddenSize])
    var tensors = file.tensorNames.compactMap { name in file.tensor(named: name).map { (name: name, tensor: $0) } }
    tensors.append((name: "base_model.model.model.embed_tokens.weight", tensor: embeddings))
    try SafetensorsWriter.write(
      tensors: tensors, metadata: [:], to: folder.appendingPathComponent("adapter_model.safetensors"))
    try FileManager.default.copyItem(
      at: source.appendingPathComponent("adapter_config.json"), to: folder.appendingPathComponent("adapter_config.json")
    )
  }

  /// PEFT saves embedding and head with the adapter, without `modules_to_save`, if tokens were added.
  @Test(arguments: [64, 65]) func embeddingsSavedWithAnAdapter(hiddenSize: Int) throws {
    let folder = try AdapterTests.scratch()
    defer { try? FileManager.default.removeItem(at: folder) }
    try Self.writeAdapterWithEmbeddings(to: folder, hiddenSize: hiddenSize)
    let transformer = try FamilyTests.transformer("llama")
    let backend = transformer.backend
    let message = AdapterTests.message {
      let adapter = try Adapter(reading: folder, onto: transformer)
      #expect(backend.floats(transformer.embedding.value).allSatisfy { $0 == 0.01 })
      #expect(!transformer.embedding.isTrainable && !adapter.parameters.contains { $0 === transformer.embedding })
      adapter.isEnabled = false
      #expect(backend.floats(transformer.embedding.value).contains { $0 != 0.01 })
    }
    #expect(message.contains("embed_tokens") == (hiddenSize == 65), "\(message)")
  }
}
