import Foundation
import Models
import OrderedJSON
import Tensors
import Testing
import Tokenizers

/// Adapters that PEFT wrote, and Swiftlet's own; see Tests/Goldens/generators/peft.py.
@Suite struct AdapterTests {
  static let names =
    [
      "lora", "lora_patterns", "fused", "all_linear", "dora", "pattern", "gemma3_vision", "mistral3", "ministral3",
      "granite", "phi4_mini", "olmo2", "olmo3", "gemma2", "lfm2", "qwen3_5", "qwen3_5_gguf",
      "qwen3_moe", "granite4",
      "gemma4_embeddings",
      "gemma4_keys", "gpt_oss", "granitemoe", "lfm3", "lora_tied_head", "lora_tied_embedding", "lora_tokens",
      "lora_tied_tokens", "pissa", "bias", "tokens_apart",
    ] + expertNames
  static let expertNames = ["qwen3_moe_experts", "qwen3_moe_down", "gpt_oss_experts", "granitemoe_experts"]

  static func open(
    _ golden: JSONValue, adapter folder: URL? = nil, on backend: any Backend = CPUBackend.shared
  ) throws -> (Transformer, Adapter) {
    let base = try #require(golden["base"]?.string)
    let transformer = try Transformer(ModelFiles(opening: Goldens.folder.appendingPathComponent(base)), on: backend)
    let path = try #require(golden["adapter"]?.string)
    return (transformer, try Adapter(reading: folder ?? Goldens.folder.appendingPathComponent(path), onto: transformer))
  }

  static func logits(_ transformer: Transformer, _ ids: [Int32]) -> [Float] {
    let tape = Tape(on: transformer.backend, isRecording: false)
    return transformer.backend.floats(transformer.logits(transformer.hiddenStates(TokenBatch([ids]), on: tape).value))
  }

  /// PEFT's `init_lora_weights="gaussian"`: A normal with standard deviation 1/r, B zero.
  @Test func gaussianInitialization() throws {
    let transformer = try Transformer(ModelFiles(opening: Goldens.folder.appendingPathComponent("models/llama")))
    var configuration = LoRAConfiguration()
    configuration.rank = 5
    configuration.initialization = .gaussian
    configuration.targetModules = .allLinear
    configuration.excludeModules = .names(["q_proj", "layers.0.mlp.up_proj"])
    let adapter = try Adapter(configuration, on: transformer, seed: 3)
    let excluded = transformer.linearLayers.map(\.path).filter { path in !adapter.layers.contains { $0.path == path } }
    #expect(excluded.count == 3 && excluded.allSatisfy { $0.hasSuffix("q_proj") || $0.hasSuffix("0.mlp.up_proj") })
    let (a, b) = (
      adapter.parameters.filter { $0.name.contains("lora_A") }, adapter.parameters.filter { $0.name.contains("lora_B") }
    )
    let values = a.flatMap { transformer.backend.floats($0.value) }.map { Double($0) * 5 }
    let count = Double(values.count)
    let mean = values.reduce(0, +) / count
    let deviation = (values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / count).squareRoot()
    // Five standard errors.
    #expect(abs(mean) < 5 / count.squareRoot() && abs(deviation - 1) < 5 / (2 * count).squareRoot())
    let within = values.filter { abs($0) < 1 }.count
    #expect(abs(Double(within) / count - 0.6827) < 5 * (0.6827 * 0.3173 / count).squareRoot())
    #expect(b.allSatisfy { transformer.backend.floats($0.value).allSatisfy { $0 == 0 } })
    let json = configuration.json(base: "b", names: [])
    #expect(json["init_lora_weights"] == "gaussian")
    #expect(try LoRAConfiguration(json: json, path: "c").initialization == .gaussian)
  }

  /// The message of what `body` throws.
  static func message(_ body: () throws -> Void) -> String {
    do {
      try body()
      return ""
    } catch {
      return "\(error)"
    }
  }

  static func scratch() throws -> URL {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("swiftlet-adapter-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    return folder
  }

  @Test(arguments: names) func logitsEqualPEFT(_ name: String) throws {
    let golden = try Goldens.json("peft/\(name).json")
    let (transformer, adapter) = try Self.open(golden)
    let ids = try #require(golden["ids"]?.ids)
    let expected = try #require(golden["logits"]?.array).flatMap(\.floats)
    #expect(relativeError(Self.logits(transformer, ids), expected) < 1e-5)
    let low = adapter.parameters.filter { $0.name.contains("lora_") }.reduce(0) { $0 + $1.value.count }
    #expect(low == golden["adapter_parameters"]?.integer)
    adapter.isEnabled = false
    let plain = Self.logits(transformer, ids)
    let base = try Transformer(
      ModelFiles(opening: Goldens.folder.appendingPathComponent(golden["base"]?.string ?? "")))
    #expect(plain == Self.logits(base, ids))
    adapter.isEnabled = true
    #expect(relativeError(Self.logits(transformer, ids), expected) < 1e-5)
  }

  /// Adapters that are exported for llama.cpp and mlx-lm are read again.
  @Test(arguments: names, [true, false]) func exportedAdaptersComputeTheSame(_ name: String, asGGUF: Bool) throws {
    let golden = try Goldens.json("peft/\(name).json")
    let folder = try Self.scratch()
    defer { try? FileManager.default.removeItem(at: folder) }
    let output = folder.appendingPathComponent(asGGUF ? "a.gguf" : "a")
    do {
      try Self.export(golden, to: output)
    } catch {
      // These programs can't apply every adapter.
      let isSupported =
        (["lora", "fused", "all_linear", "qwen3_5_gguf"] + Self.expertNames).contains(name) || name == "dora" && !asGGUF
      #expect(!isSupported, "\(error)")
      return
    }
    let (transformer, adapter) = try Self.open(golden, adapter: output)
    let expected = try #require(golden["logits"]?.array).flatMap(\.floats)
    #expect(relativeError(Self.logits(transformer, try #require(golden["ids"]?.ids)), expected) < 1e-5)
    withExtendedLifetime(adapter) {}
  }

  private static func export(_ golden: JSONValue, to output: URL) throws {
    let base = Goldens.folder.appendingPathComponent(try #require(golden["base"]?.string))
    let adapter = Goldens.folder.appendingPathComponent(try #require(golden["adapter"]?.string))
    let configuration = try ModelFiles(opening: base).configuration
    if output.pathExtension == "gguf" {
      try LoRAExport.write(adapter, base: configuration, to: output, name: "a")
    } else {
      try MLXAdapterExport.write(adapter, base: configuration, to: output)
    }
  }

  @Test func exportedAdaptersNeedTheirBase() throws {
    let golden = try Goldens.json("peft/lora.json")
    let folder = try Self.scratch()
    defer { try? FileManager.default.removeItem(at: folder) }
    let (gguf, mlx) = (folder.appendingPathComponent("a.gguf"), folder.appendingPathComponent("a"))
    try Self.export(golden, to: gguf)
    try Self.export(golden, to: mlx)
    func message(_ url: URL, _ base: String) -> String {
      Self.message {
        let transformer = try Transformer(ModelFiles(opening: Goldens.folder.appendingPathComponent("models/\(base)")))
        _ = try Adapter(reading: url, onto: transformer)
      }
    }
    #expect(message(gguf, "qwen2").contains("architecture \"llama\""))
    #expect(message(mlx, "phi3").contains("use the adapter's own base model"), "\(message(mlx, "phi3"))")
    let config = mlx.appendingPathComponent("adapter_config.json")
    try Data(#"{"fine_tune_type": "full"}"#.utf8).write(to: config)
    #expect(message(mlx, "llama").contains("must be lora or dora"))
    let missing = folder.appendingPathComponent("missing.gguf")
    #expect(message(missing, "llama").contains("there is no adapter_config.json"))
  }

  /// What llama.cpp's convert_lora_to_gguf.py wrote.
  @Test(arguments: ["lora", "fused", "qwen3_5_gguf"]) func adaptersForLlamaCppEqualPEFT(_ name: String) throws {
    let golden = try Goldens.json("peft/\(name).json")
    let file = Goldens.folder.appendingPathComponent("gguf_export/\(name).gguf")
    let (transformer, adapter) = try Self.open(golden, adapter: file)
    let expected = try #require(golden["logits"]?.array).flatMap(\.floats)
    #expect(relativeError(Self.logits(transformer, try #require(golden["ids"]?.ids)), expected) < 1e-5)
    withExtendedLifetime(adapter) {}
  }

  @Test(arguments: names) func mergedWeightsEqualPEFT(_ name: String) throws {
    let golden = try Goldens.json("peft/\(name).json")
    let files = try ModelFiles(opening: Goldens.folder.appendingPathComponent(golden["base"]?.string ?? ""))
    let tokenizer = try Tokenizer(directory: Goldens.folder.appendingPathComponent("models/tokenizer"))
    let model = try CausalLM(files, tokenizer: tokenizer)
    let path = try #require(golden["adapter"]?.string)
    let adapter = try Adapter(reading: Goldens.folder.appendingPathComponent(path), onto: model.transformer)
    let folder = try Self.scratch()
    defer { try? FileManager.default.removeItem(at: folder) }
    try model.write(to: folder, type: .float32)
    let written = try ModelFiles(opening: folder)
    let merged = try #require(golden["merged"]?.object)
    #expect(merged.count >= adapter.layers.count)
    for (name, summary) in merged.members {
      // PEFT's model lists a tied head too; files don't.
      if name == "lm_head.weight", model.transformer.head === model.transformer.embedding { continue }
      let tensor = try #require(try written.tensor(named: name), "\(name)")
      let values = model.transformer.backend.floats(tensor)
      let norm = try #require(summary["l2"]?.double)
      let ours = values.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
      #expect(abs(ours - norm) < 1e-6 * norm, "\(name)")
      let first = summary["first"]?.floats ?? []
      #expect(relativeError(Array(values.prefix(first.count)), first) < 1e-6, "\(name)")
    }
    // The folder is a complete model with the same logits as the base model with the adapter.
    let ids = try #require(golden["ids"]?.ids)
    let reopened = try Transformer(written)
    // Merging in PEFT changes this model's logits by more than others'.
    let tolerance = name == "qwen3_5_gguf" ? 1e-5 : 2e-6
    #expect(relativeError(Self.logits(reopened, ids), Self.logits(model.transformer, ids)) < tolerance)
  }

  @Test(arguments: names) func adaptersRoundTrip(_ name: String) throws {
    let golden = try Goldens.json("peft/\(name).json")
    let (transformer, adapter) = try Self.open(golden)
    let ids = try #require(golden["ids"]?.ids)
    let folder = try Self.scratch()
    defer { try? FileManager.default.removeItem(at: folder) }
    let (first, second) = (folder.appendingPathComponent("1"), folder.appendingPathComponent("2"))
    try adapter.write(to: first, base: "base")
    let (again, copy) = try Self.open(golden, adapter: first)
    #expect(Self.logits(again, ids) == Self.logits(transformer, ids))
    copy.isEnabled = false
    try copy.write(to: second, base: "base")
    for file in ["adapter_config.json", "adapter_model.safetensors"] {
      let bytes = try Data(contentsOf: first.appendingPathComponent(file))
      #expect(!bytes.isEmpty)
      #expect(try bytes == Data(contentsOf: second.appendingPathComponent(file)), "\(file)")
    }
    // PEFT's own file selects the same layers.
    let path = try #require(golden["adapter"]?.string)
    let theirs = try Goldens.json("\(path)/adapter_config.json")
    let ours = try JSONValue(parsing: Data(contentsOf: first.appendingPathComponent("adapter_config.json")))
    for key in [
      "r", "lora_alpha", "use_rslora", "modules_to_save", "rank_pattern", "peft_type", "task_type", "bias", "lora_bias",
      "trainable_token_indices",
    ] {
      #expect(ours[key] == theirs[key], "\(key)")
    }
    for (key, value) in theirs["alpha_pattern"]?.object?.members ?? [] {
      #expect(ours["alpha_pattern"]?[key]?.double == value.double)
    }
    func targets(_ json: JSONValue) -> [String]? { json["target_modules"]?.array?.compactMap(\.string).sorted() }
    // Regular expressions are saved as lists: see MLXTests.patternsAreSavedAsLists.
    if theirs["target_modules"]?.string == nil { #expect(targets(ours) == targets(theirs)) }
  }

  @Test func freshAdaptersChangeNothing() throws {
    let transformer = try FamilyTests.transformer("qwen2")
    let ids: [Int32] = [4, 5, 6, 7]
    let before = Self.logits(transformer, ids)
    var configuration = LoRAConfiguration()
    configuration.targetModules = .allLinear
    let adapter = try Adapter(configuration, on: transformer, seed: 1)
    #expect(Self.logits(transformer, ids) == before)
    #expect(adapter.layers.count == transformer.linearLayers.count)
    for layer in adapter.layers {
      let a = transformer.backend.floats(try #require(layer.lora).a.value)
      let bound = 1 / Float(layer.inputSize).squareRoot()
      #expect(a.allSatisfy { abs($0) <= bound })
      // A uniform distribution's mean square is a third of its bound's.
      let meanSquare = a.reduce(0) { $0 + $1 * $1 } / Float(a.count)
      #expect(abs(meanSquare / (bound * bound) - 1.0 / 3) < 0.08, "\(layer.path)")
    }
    let again = try Adapter(configuration, on: FamilyTests.transformer("qwen2"), seed: 1)
    let other = try Adapter(configuration, on: FamilyTests.transformer("qwen2"), seed: 2)
    func values(_ adapter: Adapter) -> [[Float]] { adapter.parameters.map { transformer.backend.floats($0.value) } }
    #expect(values(adapter) == values(again))
    #expect(values(adapter) != values(other))
  }

  @Test func pathsOfTargetsAreKept() throws {
    let transformer = try FamilyTests.transformer("llama")
    var configuration = LoRAConfiguration()
    configuration.targetModules = .names(["layers.0.self_attn.q_proj", "down_proj"])
    configuration.excludeModules = .names(["layers.1.mlp.down_proj"])
    let adapter = try Adapter(configuration, on: transformer, seed: 1)
    #expect(adapter.layers.map(\.path) == ["model.layers.0.self_attn.q_proj", "model.layers.0.mlp.down_proj"])
    let folder = try Self.scratch()
    defer { try? FileManager.default.removeItem(at: folder) }
    try adapter.write(to: folder, base: "base")
    let again = try Adapter(reading: folder, onto: FamilyTests.transformer("llama"))
    #expect(again.layers.map(\.path) == adapter.layers.map(\.path))
  }

  /// Folders that don't match the model end in one sentence that names the problem, and don't change the model.
  @Test(arguments: [
    ("training/dora/adapter", "qwen3", "shape"), ("peft/embedding", "llama_linear", "embed_tokens"),
    ("training/lora/adapter", "qwen3", "shape"), ("peft/fused", "llama", "own base model"),
    ("models/llama", "llama", "adapter_config.json"),
  ])
  func mismatchedAdaptersAreRejected(_ folder: String, _ base: String, _ expected: String) throws {
    let transformer = try FamilyTests.transformer(base)
    let before = Self.logits(transformer, [3, 4, 5])
    let message = Self.message {
      _ = try Adapter(reading: Goldens.folder.appendingPathComponent(folder), onto: transformer)
    }
    #expect(message.contains(expected), "\(message)")
    #expect(!message.contains("\n"))
    #expect(Self.logits(transformer, [3, 4, 5]) == before)
  }

  @Test(arguments: [
    (#""peft_type": "LORA""#, #""peft_type": "IA3""#, "IA3"), (#""peft_type": "LORA""#, #""peft": 1"#, "peft_type"),
    (#""bias": "none""#, #""bias": "all""#, "bias"), (#""r": 4"#, #""r": -4"#, "\"r\""),
    (#""r": 4"#, #""r": 5"#, "shape"), (#""rank_pattern": {}"#, #""rank_pattern": {"q_proj": "x"}"#, "rank_pattern"),
    (#""lora_alpha": 8"#, #""lora_alpha": "8""#, "lora_alpha"),
    (#""modules_to_save": null"#, #""modules_to_save": ["nothing"]"#, "nothing"),
    (#""modules_to_save": null"#, #""modules_to_save": ["lm_head"]"#, "lm_head.weight"),
    (#""exclude_modules": null"#, #""exclude_modules": ["q_proj"]"#, "q_proj.lora_A"),
    (#""exclude_modules": null"#, #""exclude_modules": "([""#, "regular expression"),
    (#""fan_in_fan_out": false"#, #""fan_in_fan_out": true"#, "fan_in_fan_out"), (#"{"#, #"["#, "adapter_config.json"),
  ])
  func brokenConfigurations(_ old: String, _ new: String, _ expected: String) throws {
    let source = Goldens.folder.appendingPathComponent("training/lora/adapter")
    let folder = try Self.scratch()
    defer { try? FileManager.default.removeItem(at: folder) }
    let weights = "adapter_model.safetensors"
    try FileManager.default.copyItem(
      at: source.appendingPathComponent(weights), to: folder.appendingPathComponent(weights))
    let text = try String(contentsOf: source.appendingPathComponent("adapter_config.json"), encoding: .utf8)
    #expect(text.contains(old))
    let range = try #require(text.range(of: old))
    try text.replacingCharacters(in: range, with: new).write(
      to: folder.appendingPathComponent("adapter_config.json"), atomically: true, encoding: .utf8)
    let transformer = try FamilyTests.transformer("llama")
    let message = Self.message { _ = try Adapter(reading: folder, onto: transformer) }
    #expect(message.contains(expected), "\(message)")
    #expect(!message.contains("\n"))
    #expect(transformer.linearLayers.allSatisfy { $0.lora == nil })
  }

  @Test func brokenWeights() throws {
    let source = Goldens.folder.appendingPathComponent("training/lora/adapter")
    let folder = try Self.scratch()
    defer { try? FileManager.default.removeItem(at: folder) }
    let transformer = try FamilyTests.transformer("llama")
    func message() -> String { Self.message { _ = try Adapter(reading: folder, onto: transformer) } }
    try FileManager.default.copyItem(
      at: source.appendingPathComponent("adapter_config.json"), to: folder.appendingPathComponent("adapter_config.json")
    )
    #expect(message().contains("adapter_model.safetensors"))
    let bytes = try Data(contentsOf: source.appendingPathComponent("adapter_model.safetensors"))
    try bytes.prefix(bytes.count / 2).write(to: folder.appendingPathComponent("adapter_model.safetensors"))
    #expect(message().contains("adapter_model.safetensors"))
    #expect(transformer.linearLayers.allSatisfy { $0.lora == nil })
  }

  @Test func unknownTargetsAreRejected() throws {
    let transformer = try FamilyTests.transformer("llama_tied")
    func message(_ change: (inout LoRAConfiguration) -> Void) -> String {
      var configuration = LoRAConfiguration()
      change(&configuration)
      return Self.message { _ = try Adapter(configuration, on: transformer, seed: 0) }
    }
    #expect(message { $0.targetModules = .names(["query"]) }.contains("q_proj"))
    #expect(message { $0.targetModules = .pattern("([") }.contains("matches no layer"))
    var configuration = LoRAConfiguration()
    configuration.targetModules = .names(["q_proj", "qkv_proj", "mlp.up_proj", "roj"])
    let paths = ["model.layers.0.self_attn.q_proj", "model.layers.0.mlp.up_proj"]
    #expect(configuration.unmatchedTargets(among: paths) == ["qkv_proj", "roj"])
    #expect(message { $0.targetModules = .names(["q_proj", "lm_head"]) }.contains("lm_head"))
    #expect(message { $0.modulesToSave = ["heads"] }.contains("heads"))
    #expect(transformer.head === transformer.embedding)
    #expect(transformer.linearLayers.allSatisfy { $0.lora == nil })
    #expect(transformer.parameters.allSatisfy { !$0.isTrainable })
  }
}
