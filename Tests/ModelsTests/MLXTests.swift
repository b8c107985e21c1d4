import Checkpoints
import Diagnostics
import Foundation
import Models
import OrderedJSON
import Tensors
import Testing
import Tokenizers

/// MLX's codes: models as mlx-lm saves them, and what we write for it (Tests/Goldens/mlx).
@Suite struct MLXTests {
  static let names = [
    "llama_4bit", "qwen3_8bit", "qwen3_5_4bit", "llama_mxfp4", "qwen3_moe_4bit", "granitemoe_4bit", "gpt_oss_mxfp4",
  ]
  private static let affine = [
    ("llama_4bit", AffineFormat()), ("qwen3_8bit", AffineFormat(bits: 8, groupSize: 32)),
  ]

  /// Models whose sliding windows mlx-lm 0.32.2 ignores, or that it doesn't know (LFM3).
  private static let withoutWindows = ["mistral", "phi3", "gemma2", "lfm3"]

  private static func files(_ name: String) throws -> ModelFiles {
    try ModelFiles(opening: Goldens.folder.appendingPathComponent(name))
  }

  private static func model(_ name: String) throws -> CausalLM {
    let tokenizer = try Tokenizer(directory: Goldens.folder.appendingPathComponent("models/tokenizer"))
    return try CausalLM(files(name), tokenizer: tokenizer)
  }

  /// An adapter whose updates are not zero.
  private static func adapter(_ configuration: LoRAConfiguration, on transformer: Transformer) throws -> Adapter {
    var configuration = configuration
    configuration.initialization = .gaussian
    let adapter = try Adapter(configuration, on: transformer, seed: 1)
    let backend = transformer.backend
    for parameter in adapter.parameters where parameter.name.contains("lora_B") {
      let values = (0..<parameter.value.count).map { Float($0 % 13 - 6) / 100 }
      backend.copy(backend.tensor(values, parameter.value.shape), to: parameter.value)
    }
    return adapter
  }

  private static func written(_ model: CausalLM, _ format: AffineFormat?, _ type: ElementType) throws -> ModelFiles {
    let folder = try AdapterTests.scratch()
    defer { try? FileManager.default.removeItem(at: folder) }
    try model.writeMLX(to: folder, format: format, type: type)
    return try ModelFiles(opening: folder)
  }

  @Test(arguments: names) func logitsEqualTheReference(_ name: String) throws {
    let golden = try Goldens.json("mlx/\(name)/golden.json")
    let transformer = try Transformer(Self.files("mlx/\(name)"))
    #expect(transformer.linearLayers.contains { $0.weight.value.type.hasScales })
    let ids = try #require(golden["ids"]?.ids)
    let expected = try #require(golden["logits"]?.array).flatMap(\.floats)
    #expect(relativeError(AdapterTests.logits(transformer, ids), expected) < 1e-5)
  }

  /// What `mlx_lm.convert` makes of the same model: every tensor has the same bytes, and config.json the same entries.
  @Test(arguments: affine) func writtenModelsHaveTheBytesOfTheReference(_ name: String, format: AffineFormat) throws {
    let base = try #require(Goldens.json("mlx/\(name)/golden.json")["base"]?.string)
    let type: ElementType = name == "llama_4bit" ? .bfloat16 : .float16
    let ours = try Self.written(Self.model(base), format, type)
    let theirs = try Self.files("mlx/\(name)")
    for key in ["quantization", "quantization_config"] {
      #expect(ours.configurationJSON[key] == theirs.configurationJSON[key])
    }
    let (a, b) = (try Transformer(ours).parameters, try Transformer(theirs).parameters)
    #expect(a.count == b.count)
    for (a, b) in zip(a, b) {
      #expect(a.name == b.name && a.value.type == b.value.type && a.value.affineFormat == b.value.affineFormat)
      #expect(a.value.withBytes { Array($0) } == b.value.withBytes { Array($0) }, "\(a.name)")
      let parts = { (tensor: Tensor) in [tensor.scales?.absmax, tensor.scales?.biases].compactMap { $0 } }
      #expect(parts(a.value).map(\.type) == parts(b.value).map(\.type))
      let bytes = { (tensor: Tensor) in parts(tensor).map { part in part.withBytes { Array($0) } } }
      #expect(bytes(a.value) == bytes(b.value), "scales of \(a.name)")
    }
  }

  /// The same for experts, which mlx-lm has in one tensor: all but the router, which it has in 8 bits. gpt-oss's stay in
  /// MXFP4.
  @Test(arguments: [("qwen3_moe_4bit", 4), ("granitemoe_4bit", 4), ("gpt_oss_mxfp4", 8)])
  func writtenExpertsHaveTheBytesOfTheReference(_ name: String, bits: Int) throws {
    let base = try #require(Goldens.json("mlx/\(name)/golden.json")["base"]?.string)
    let model = try Self.model(base)
    let folder = try AdapterTests.scratch()
    defer { try? FileManager.default.removeItem(at: folder) }
    try model.writeMLX(to: folder, format: AffineFormat(bits: bits, groupSize: 32), type: .bfloat16)
    let config = try ModelFiles(opening: folder).configurationJSON
    #expect(config["num_experts"] != nil && config["rope_theta"] != nil)
    if bits == 8 {
      #expect(config["rope_scaling"]?["rope_type"] == "yarn")
      var reference = try #require(Self.files("mlx/\(name)").configurationJSON["quantization"]?.object)
      for key in reference.keys where key.hasSuffix("router") { reference[key] = nil }
      #expect(config["quantization"] == .object(reference))
      #expect(config["quantization_config"] == .object(reference))
    }
    let ours = try SafetensorsCheckpoint(contentsOf: folder)
    let theirs = try SafetensorsCheckpoint(contentsOf: Goldens.folder.appendingPathComponent("mlx/\(name)"))
    func isRouter(_ name: String) -> Bool { name.contains("mlp.gate.") || name.contains("router") }
    #expect(Set(ours.tensorNames.filter { !isRouter($0) }) == Set(theirs.tensorNames.filter { !isRouter($0) }))
    for name in theirs.tensorNames where !isRouter(name) {
      let (a, b) = (try #require(ours.tensor(named: name)), try #require(theirs.tensor(named: name)))
      #expect(a.shape == b.shape && a.type == b.type, "\(name)")
      #expect(a.withBytes { Array($0) } == b.withBytes { Array($0) }, "\(name)")
    }
  }

  /// What is written in floats is read as the same model, with the keys of transformers 4 beside those of 5.
  @Test(arguments: FamilyTests.names) func writtenFloatsAreTheSameModel(_ name: String) throws {
    let model = try Self.model("models/\(name)")
    let folder = try AdapterTests.scratch()
    defer { try? FileManager.default.removeItem(at: folder) }
    let notes = try model.writeMLX(to: folder, format: nil, type: .float32)
    #expect(notes.contains { $0.contains("window") } == Self.withoutWindows.contains(name), "\(notes)")
    #expect(notes.contains { $0.contains("RoPE") } == ["phi3_longrope", "phi4_mini"].contains(name), "\(notes)")
    let files = try ModelFiles(opening: folder)
    let ids = try #require(Goldens.json("models/\(name)/golden.json")["sequences"]?[0]?["ids"]?.ids)
    let expected = AdapterTests.logits(model.transformer, ids)
    #expect(relativeError(AdapterTests.logits(try Transformer(files), ids), expected) < 1e-6)
    let text = { (json: JSONValue) in json["text_config"] ?? json }
    let (config, original) = (text(files.configurationJSON), text(model.files.configurationJSON))
    let isTied = model.transformer.head === model.transformer.embedding
    #expect(config["tie_word_embeddings"]?.bool == isTied)
    if name == "qwen3_5" { #expect(config["full_attention_interval"] == 3) }
    if let base = original["rope_parameters"]?["rope_theta"] { #expect(config["rope_theta"] == base) }
    if original["per_layer_config"] != nil { #expect(config["global_head_dim"]?.integer != nil) }
    #expect(notes.contains { $0.contains("no models of type") } == (name == "lfm3"), "\(notes)")
    if name == "lfm2" {
      #expect(config["block_dim"] == config["hidden_size"] && config["block_auto_adjust_ff_dim"] == false)
    }
  }

  /// mlx-lm has the fused layer of Granite 4's MLP in two.
  @Test(arguments: [nil, AffineFormat(bits: 8, groupSize: 32)]) func partsOfAFusedLayerAreApart(
    format: AffineFormat?
  ) throws {
    let model = try Self.model("models/granite4")
    let ids: [Int32] = [5, 9, 100, 30, 7]
    let adapter = try Self.adapter(.lora(rank: 4), on: model.transformer)
    let expected = AdapterTests.logits(model.transformer, ids)
    let files = try Self.written(model, format, .float32)
    #expect(files.configurationJSON["layer_types"]?.array?.allSatisfy { $0.string == "attention" } == true)
    let tokenizer = try Tokenizer(directory: Goldens.folder.appendingPathComponent("models/tokenizer"))
    let read = try CausalLM(files, tokenizer: tokenizer)
    let paths = read.transformer.linearLayers.map(\.path)
    #expect(paths.contains { $0.hasSuffix("layers.0.mlp.gate_proj") } && !paths.contains { $0.contains("shared_mlp") })
    #expect(relativeError(AdapterTests.logits(read.transformer, ids), expected) < (format == nil ? 2e-6 : 2e-2))
    // transformers has no such layers, and mlx-lm none for an adapter on the fused one.
    let folder = try AdapterTests.scratch()
    defer { try? FileManager.default.removeItem(at: folder) }
    #expect(throws: SwiftletError.self) { try read.write(to: folder, type: .float32) }
    try adapter.write(to: folder, base: "org/granite4")
    #expect(throws: SwiftletError.self) {
      try MLXAdapterExport.write(
        folder, base: model.transformer.configuration, to: folder.appendingPathComponent("mlx"))
    }
  }

  /// Experts in floats, and in codes made of these; then what was read from the folder, written for transformers.
  @Test(arguments: ["gpt_oss", "granitemoe"]) func expertsInFloatsAreWritten(_ name: String) throws {
    let model = try Self.model("models/\(name)")
    let ids: [Int32] = [5, 9, 100, 30, 7]
    let expected = AdapterTests.logits(model.transformer, ids)
    let folder = try AdapterTests.scratch()
    defer { try? FileManager.default.removeItem(at: folder) }
    let floats = folder.appendingPathComponent("floats")
    let codes = folder.appendingPathComponent("codes")
    let plain = folder.appendingPathComponent("hf")
    try model.writeMLX(to: floats, format: nil, type: .float32)
    #expect(try ModelFiles(opening: floats).configurationJSON["quantization"] == nil)
    try model.writeMLX(to: codes, format: AffineFormat(bits: 8, groupSize: 32), type: .float32)
    let tokenizer = try Tokenizer(directory: Goldens.folder.appendingPathComponent("models/tokenizer"))
    let read = try CausalLM(ModelFiles(opening: floats), tokenizer: tokenizer)
    #expect(relativeError(AdapterTests.logits(read.transformer, ids), expected) < 1e-6)
    try read.write(to: plain, type: .float32)
    #expect(relativeError(AdapterTests.logits(try Transformer(ModelFiles(opening: plain)), ids), expected) < 1e-6)
    let coded = try Transformer(ModelFiles(opening: codes))
    #expect(coded.expertParameters.contains { $0.experts[0][0].weight.value.affineFormat?.bits == 8 })
    for (a, b) in zip(coded.parameters, read.transformer.parameters) {
      let (ours, exact) = (coded.backend.floats(a.value), coded.backend.floats(b.value))
      #expect(a.name == b.name && relativeError(ours, exact) < 1e-2, "\(a.name)")
    }
  }

  /// An adapter on experts is trained over codes, and merged into what transformers reads, and mlx-lm.
  @Test(arguments: ["qwen3_moe_4bit", "granitemoe_4bit", "gpt_oss_mxfp4"]) func expertsInCodesAreMerged(_ name: String)
    throws
  {
    let model = try Self.model("mlx/\(name)")
    let adapter = try Self.adapter(ExpertAdapterTests.configuration(), on: model.transformer)
    let ids: [Int32] = [5, 9, 100, 30, 7]
    let expected = AdapterTests.logits(model.transformer, ids)
    let folder = try AdapterTests.scratch()
    defer { try? FileManager.default.removeItem(at: folder) }
    let (plain, floats) = (folder.appendingPathComponent("hf"), folder.appendingPathComponent("mlx"))
    try model.write(to: plain, type: .float32)
    try model.writeMLX(to: floats, format: nil, type: .float32)
    for written in [plain, floats] {
      #expect(relativeError(AdapterTests.logits(try Transformer(ModelFiles(opening: written)), ids), expected) < 2e-6)
    }
    let names = try SafetensorsCheckpoint(contentsOf: plain).tensorNames
    #expect(!names.contains { $0.contains("switch_mlp") || $0.hasSuffix(".scales") })
    adapter.isEnabled = false
    #expect(relativeError(AdapterTests.logits(model.transformer, ids), expected) > 1e-3)
  }

  /// Without an adapter, nothing is quantized again.
  @Test(arguments: affine) func codesRoundTrip(_ name: String, format: AffineFormat) throws {
    let model = try Self.model("mlx/\(name)")
    let files = try Self.written(model, format, model.transformer.embedding.value.scales?.original ?? .float32)
    for (a, b) in zip(try Transformer(files).parameters, model.transformer.parameters) {
      #expect(a.value.type == b.value.type && a.value.withBytes { Array($0) } == b.value.withBytes { Array($0) })
    }
  }

  /// The gradients of an adapter over codes equal those over the values of the codes.
  @Test func adaptersAreTrainedOverCodes() throws {
    func gradients(inFloat32: Bool) throws -> [[Float]] {
      let transformer = try Transformer(Self.files("mlx/llama_4bit"), inFloat32: inFloat32)
      let adapter = try Adapter(.lora(rank: 4), on: transformer, seed: 1)
      for parameter in adapter.parameters where parameter.name.contains("lora_B") {
        let values = (0..<parameter.value.count).map { Float($0 % 13 - 6) / 100 }
        transformer.backend.copy(
          transformer.backend.tensor(values, parameter.value.shape), to: parameter.value)
      }
      let batch = TokenBatch([[5, 9, 100, 30, 7, 200, 41]])
      let tape = Tape(on: transformer.backend, isRecording: true)
      _ = tape.linearCrossEntropy(
        transformer.hiddenStates(batch, on: tape), head: transformer.head, targets: batch.targets, gradientScale: 1)
      tape.backward()
      return try adapter.parameters.map { transformer.backend.floats(try #require($0.gradient)) }
    }
    for (a, b) in zip(try gradients(inFloat32: false), try gradients(inFloat32: true)) {
      #expect(relativeError(a, b) < 1e-5)
    }
  }

  /// A merged model in 16 bits has no trace of the codes.
  @Test func mergingGivesFloats() throws {
    let model = try Self.model("mlx/qwen3_5_4bit")
    let folder = try AdapterTests.scratch()
    defer { try? FileManager.default.removeItem(at: folder) }
    try model.write(to: folder, type: .float32)
    let files = try ModelFiles(opening: folder)
    #expect(files.configurationJSON["quantization"] == nil && files.configurationJSON["quantization_config"] == nil)
    let names = try SafetensorsCheckpoint(contentsOf: folder).tensorNames
    #expect(!names.contains { $0.hasSuffix(".scales") || $0.hasSuffix(".biases") })
    let golden = try Goldens.json("mlx/qwen3_5_4bit/golden.json")
    let expected = try #require(golden["logits"]?.array).flatMap(\.floats)
    // Norms are stored as offsets from 1 again, as transformers has them.
    let merged = try Transformer(files)
    #expect(merged.configuration.normOffset == 1)
    #expect(relativeError(AdapterTests.logits(merged, try #require(golden["ids"]?.ids)), expected) < 1e-5)
  }

  // MARK: Adapters

  /// mlx-lm computes y + scale · (x A) B, with one rank and scale for all layers.
  @Test(arguments: ["lora", "dora"]) func adaptersHaveMLXsLayout(_ name: String) throws {
    let golden = try Goldens.json("peft/\(name).json")
    let (transformer, adapter) = try AdapterTests.open(golden)
    let source = Goldens.folder.appendingPathComponent(try #require(golden["adapter"]?.string))
    try checkLayout(of: adapter, in: source, transformer, isDoRA: name == "dora")
  }

  @Test func ranksAndScalesOfLayersAreEvened() throws {
    let transformer = try Transformer(Self.files("models/llama"))
    var configuration = LoRAConfiguration.lora(rank: 4, targetModules: .names(["q_proj", "v_proj", "down_proj"]))
    configuration.rankPattern = [LoRAConfiguration.ModulePattern("q_proj", 2), .init("1.mlp.down_proj", 6)]
    configuration.alphaPattern = [LoRAConfiguration.ModulePattern("v_proj", 3)]
    let adapter = try Adapter(configuration, on: transformer, seed: 1)
    for parameter in adapter.parameters where parameter.name.contains("lora_B") {
      let values = (0..<parameter.value.count).map { Float($0 % 13 - 6) / 100 }
      transformer.backend.copy(transformer.backend.tensor(values, parameter.value.shape), to: parameter.value)
    }
    let folder = try AdapterTests.scratch()
    defer { try? FileManager.default.removeItem(at: folder) }
    try adapter.write(to: folder, base: "base")
    try checkLayout(of: adapter, in: folder, transformer, isDoRA: false)
  }

  private func checkLayout(of adapter: Adapter, in source: URL, _ transformer: Transformer, isDoRA: Bool) throws {
    let folder = try AdapterTests.scratch()
    defer { try? FileManager.default.removeItem(at: folder) }
    try MLXAdapterExport.write(source, base: transformer.configuration, to: folder)
    let json = try JSONValue(parsing: Data(contentsOf: folder.appendingPathComponent("adapter_config.json")))
    let settings = try #require(json["lora_parameters"])
    let rank = try #require(settings["rank"]?.integer)
    let scale = try #require(settings["scale"]?.double.map(Float.init))
    #expect(json["num_layers"]?.integer == transformer.configuration.layers.count)
    #expect(json["fine_tune_type"]?.string == (isDoRA ? "dora" : "lora"))
    let keys = Set(settings["keys"]?.array?.compactMap(\.string) ?? [])
    let file = try SafetensorsCheckpoint(contentsOf: folder.appendingPathComponent("adapters.safetensors"))
    var expectedNames = 0
    let backend = transformer.backend
    for layer in adapter.layers {
      let lora = try #require(layer.lora)
      let a = try #require(file.tensor(named: "\(layer.path).lora_a"))
      let b = try #require(file.tensor(named: "\(layer.path).lora_b"))
      #expect(a.shape == [layer.inputSize, rank] && b.shape == [rank, layer.outputSize])
      #expect(keys.contains(layer.path.split(separator: ".").dropFirst(3).joined(separator: ".")))
      let theirs = referenceProduct(backend.floats(a), backend.floats(b), layer.inputSize, rank, layer.outputSize)
      let ours = referenceProduct(
        backend.floats(lora.b.value), backend.floats(lora.a.value), layer.outputSize, lora.rank, layer.inputSize)
      for input in 0..<layer.inputSize {
        for output in 0..<layer.outputSize {
          let (x, y) = (
            theirs[input * layer.outputSize + output] * Double(scale),
            ours[output * layer.inputSize + input] * Double(lora.scale)
          )
          #expect(abs(x - y) < 1e-6, "\(layer.path)")
        }
      }
      if let magnitude = lora.magnitude {
        let stored = try #require(file.tensor(named: "\(layer.path).m"))
        #expect(backend.floats(stored) == backend.floats(magnitude.parameter.value))
      }
      expectedNames += lora.parameters.count
    }
    #expect(file.tensorNames.count == expectedNames)
  }

  private func referenceProduct(_ a: [Float], _ b: [Float], _ m: Int, _ k: Int, _ n: Int) -> [Double] {
    var result = [Double](repeating: 0, count: m * n)
    for i in 0..<m {
      for p in 0..<k {
        for j in 0..<n { result[i * n + j] += Double(a[i * k + p]) * Double(b[p * n + j]) }
      }
    }
    return result
  }

  /// mlx-swift-lm reads lists of target modules only, so a regular expression is saved as one that selects the same layers.
  @Test(arguments: [(#".*\.(q|v)_proj"#, ["q_proj", "v_proj"]), (#"model\.layers\.1\..*q_proj"#, nil)])
  func patternsAreSavedAsLists(_ pattern: String, names: [String]?) throws {
    let transformer = try Transformer(Self.files("models/llama"))
    var configuration = LoRAConfiguration()
    configuration.targetModules = .pattern(pattern)
    let adapter = try Adapter(configuration, on: transformer, seed: 1)
    let folder = try AdapterTests.scratch()
    defer { try? FileManager.default.removeItem(at: folder) }
    try adapter.write(to: folder, base: "base")
    let json = try JSONValue(parsing: Data(contentsOf: folder.appendingPathComponent("adapter_config.json")))
    let listed = try #require(json["target_modules"]?.array).compactMap(\.string)
    #expect(listed == names ?? ["model.layers.1.self_attn.q_proj"])
    let again = try Adapter(reading: folder, onto: Transformer(Self.files("models/llama")))
    #expect(again.layers.map(\.path) == adapter.layers.map(\.path))
  }
}
