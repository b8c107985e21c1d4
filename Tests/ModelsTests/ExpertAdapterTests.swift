import Checkpoints
import Foundation
import Models
import OrderedJSON
import Tensors
import Testing
import Tokenizers

/// LoRA on experts through PEFT's `target_parameters`: what AdapterTests and TrainingGoldenTests don't show.
@Suite struct ExpertAdapterTests {
  /// Experts that are given no token have gradients of zero.
  @Test(arguments: AdapterTests.expertNames) func gradientsEqualPEFT(_ name: String) throws {
    try Self.checkGradients(name, on: CPUBackend.shared)
  }

  static func checkGradients(_ name: String, on backend: any Backend) throws {
    let golden = try Goldens.json("peft/\(name).json")
    let (transformer, adapter) = try AdapterTests.open(golden, on: backend)
    let batch = TokenBatch([try #require(golden["ids"]?.ids)])
    let tape = Tape(on: backend, isRecording: true)
    _ = tape.linearCrossEntropy(
      transformer.hiddenStates(batch, on: tape), head: transformer.head, targets: batch.targets,
      gradientScale: 1 / Float(batch.targetCount), softcap: 0)
    tape.backward()
    let expected = try #require(golden["gradients"]?.object)
    #expect(expected.count == adapter.parameters.count)
    for parameter in adapter.parameters {
      let reference = try #require(expected[Adapter.fileName(of: parameter)], "\(parameter.name)")
      let gradient = adapter.saved(try #require(parameter.gradient, "\(parameter.name)"), of: parameter)
      let values = backend.floats(gradient).map(Double.init)
      let norm = try #require(reference["l2"]?.double)
      let tolerance = 1e-5 * norm
      #expect(gradient.shape.map(Double.init) == reference["shape"]?.doubles)
      #expect(abs(values.reduce(0) { $0 + $1 * $1 }.squareRoot() - norm) < tolerance, "norm of \(parameter.name)")
      #expect(
        abs(values.reduce(0, +) - (reference["sum"]?.double ?? .nan)) < tolerance * Double(values.count).squareRoot(),
        "sum of \(parameter.name)")
      for (a, b) in zip(values, reference["first"]?.doubles ?? []) {
        #expect(abs(a - b) < tolerance, "\(parameter.name)")
      }
    }
  }

  static func configuration(_ names: [String] = ["experts.gate_up_proj", "experts.down_proj"]) -> LoRAConfiguration {
    var configuration = LoRAConfiguration()
    configuration.targetParameters = names
    return configuration
  }

  /// A is distributed as PEFT initializes it, and B is zero. Nothing but the experts has an update.
  @Test func freshUpdatesChangeNothing() throws {
    let transformer = try FamilyTests.transformer("qwen3_moe")
    let before = AdapterTests.logits(transformer, [4, 5, 6, 7])
    let adapter = try Adapter(Self.configuration(), on: transformer, seed: 1)
    #expect(AdapterTests.logits(transformer, [4, 5, 6, 7]) == before)
    #expect(adapter.layers.isEmpty && adapter.parameters.count == 2 * 2 * 2)
    for parameter in adapter.parameters where parameter.name.contains("lora_A") {
      let values = transformer.backend.floats(parameter.value)
      let bound = 1 / Float(parameter.value.columns).squareRoot()
      #expect(parameter.value.rows == 6 * 8 && values.allSatisfy { abs($0) <= bound })
      let meanSquare = values.reduce(0) { $0 + $1 * $1 } / Float(values.count)
      #expect(abs(meanSquare / (bound * bound) - 1.0 / 3) < 0.05)
    }
    // The backward pass completes gradients layer by layer.
    let layers = adapter.parameters.map { $0.name.contains("layers.1.") ? 1 : 0 }
    #expect(layers == layers.sorted())
    let tree = ModuleTree(transformer)
    #expect(
      tree.allWeights.filter { $0.name.hasPrefix("lora_") }.reduce(0) { $0 + $1.count }
        == adapter.parameters.reduce(0) { $0 + $1.value.count })
  }

  /// What a checkpoint of a run has is what resumes.
  @Test func savedFactorsAreRestored() throws {
    let golden = try Goldens.json("peft/qwen3_moe_experts.json")
    let (transformer, adapter) = try AdapterTests.open(golden)
    let folder = try AdapterTests.scratch()
    defer { try? FileManager.default.removeItem(at: folder) }
    try adapter.write(to: folder, base: "base")
    var configuration = adapter.configuration
    configuration.targetModules = .names(["q_proj", "o_proj"])
    let resumed = try FamilyTests.transformer("qwen3_moe")
    let other = try Adapter(configuration, on: resumed, seed: 9)
    try other.restore(
      from: SafetensorsCheckpoint(contentsOf: folder.appendingPathComponent("adapter_model.safetensors")),
      folder: folder.path)
    #expect(AdapterTests.logits(resumed, [4, 5, 6]) == AdapterTests.logits(transformer, [4, 5, 6]))
  }

  /// A merged model has no codes for its experts, and says so; one whose experts have no update keeps them.
  @Test(arguments: [true, false]) func mergedExpertsAreNotInCodes(_ hasUpdate: Bool) throws {
    let files = try ModelFiles(opening: Goldens.folder.appendingPathComponent("quantization/gpt_oss_mxfp4"))
    let model = try CausalLM(
      files, tokenizer: Tokenizer(directory: Goldens.folder.appendingPathComponent("models/tokenizer")))
    var configuration = Self.configuration(hasUpdate ? ["experts.down_proj"] : [])
    if !hasUpdate { configuration.targetModules = .names(["q_proj"]) }
    configuration.initialization = .gaussian
    let adapter = try Adapter(configuration, on: model.transformer, seed: 1)
    let backend = model.transformer.backend
    for parameter in adapter.parameters where parameter.name.contains("lora_B") {
      let count = parameter.value.count
      backend.copy(
        backend.tensor((0..<count).map { Float($0 % 7 - 3) / 20 }, parameter.value.shape), to: parameter.value)
    }
    let folder = try AdapterTests.scratch()
    defer { try? FileManager.default.removeItem(at: folder) }
    try model.write(to: folder, type: .float32)
    let written = try ModelFiles(opening: folder)
    #expect((written.configurationJSON["quantization_config"] == nil) == hasUpdate)
    let ids: [Int32] = [3, 4, 5, 6, 7]
    let ours = AdapterTests.logits(model.transformer, ids)
    #expect(relativeError(AdapterTests.logits(try Transformer(written), ids), ours) < 2e-6)
    adapter.isEnabled = false
    #expect(relativeError(AdapterTests.logits(model.transformer, ids), ours) > 1e-3)
  }

  /// GGUF files have gate and input of an expert apart, which are one matrix for PEFT, and alternate in gpt-oss's. What is
  /// written of the adapter has PEFT's bytes, and what is merged its logits.
  @Test(arguments: ["qwen3_moe_experts", "gpt_oss_experts", "granitemoe_experts"])
  func adaptersFitGGUFFiles(_ name: String) throws {
    let golden = try Goldens.json("peft/\(name).json")
    let file = Goldens.folder.appendingPathComponent("\(golden["base"]?.string ?? "")/model.gguf")
    let model = try CausalLM(opening: file)
    let source = Goldens.folder.appendingPathComponent(try #require(golden["adapter"]?.string))
    let adapter = try Adapter(reading: source, onto: model.transformer)
    let ids = try #require(golden["ids"]?.ids)
    let expected = try #require(golden["logits"]?.array).flatMap(\.floats)
    #expect(relativeError(AdapterTests.logits(model.transformer, ids), expected) < 1e-5)
    let folder = try AdapterTests.scratch()
    defer { try? FileManager.default.removeItem(at: folder) }
    try adapter.write(to: folder, base: "base")
    let weights = "adapter_model.safetensors"
    let ours = try SafetensorsCheckpoint(contentsOf: folder.appendingPathComponent(weights))
    let theirs = try SafetensorsCheckpoint(contentsOf: source.appendingPathComponent(weights))
    #expect(Set(ours.tensorNames) == Set(theirs.tensorNames))
    for name in theirs.tensorNames {
      let (a, b) = (try #require(ours.tensor(named: name)), try #require(theirs.tensor(named: name)))
      #expect(a.shape == b.shape && a.withBytes { Array($0) } == b.withBytes { Array($0) }, "\(name)")
    }
    let (plain, gguf) = (folder.appendingPathComponent("hf"), folder.appendingPathComponent("merged.gguf"))
    try model.write(to: plain, type: .float32)
    try model.writeGGUF(to: gguf, type: .f32, name: "merged")
    for written in [plain, gguf] {
      let merged = try Transformer(ModelFiles(opening: written))
      #expect(relativeError(AdapterTests.logits(merged, ids), expected) < 1e-5)
    }
  }

  /// llama.cpp and mlx-lm have A `[experts, rank, in]` and B `[experts, out, rank]`, of gates and inputs apart. mlx-lm's all have
  /// the same rank.
  @Test func exportedFactorsAreThoseOfExperts() throws {
    let golden = try Goldens.json("peft/qwen3_moe_experts.json")
    let (transformer, adapter) = try AdapterTests.open(golden)
    let folder = try AdapterTests.scratch()
    defer { try? FileManager.default.removeItem(at: folder) }
    let (gguf, mlx) = try Self.export(golden, to: folder)
    let llama = try GGUFFile(contentsOf: gguf)
    let alpha = try #require(llama.metadata["adapter.lora.alpha"]?.double)
    let switched = try SafetensorsCheckpoint(contentsOf: mlx.appendingPathComponent("adapters.safetensors"))
    let json = try JSONValue(parsing: Data(contentsOf: mlx.appendingPathComponent("adapter_config.json")))
    let settings = try #require(json["lora_parameters"])
    #expect(settings["keys"]?.array?.contains("mlp.switch_mlp.down_proj") == true)
    let scale = try #require(settings["scale"]?.double)
    let names = ["gate_proj": "ffn_gate_exps", "up_proj": "ffn_up_exps", "down_proj": "ffn_down_exps"]
    for parameter in transformer.expertParameters {
      for (expert, layers) in parameter.experts.enumerated() {
        for layer in layers {
          let (index, lora) = (try #require(layer.weight.layerIndex), try #require(layer.lora))
          let (inGGUF, inMLX) = (
            "blk.\(index).\(try #require(names[layer.name])).weight",
            "model.layers.\(index).mlp.switch_mlp.\(layer.name)"
          )
          func update(_ factors: [Tensor?], scale: (Int) -> Double) throws -> [Double] {
            let (a, b) = (try #require(factors[0]), try #require(factors[1]))
            let rank = b.columns
            #expect(a.shape == [parameter.experts.count, rank, layer.inputSize])
            #expect(b.shape == [parameter.experts.count, layer.outputSize, rank])
            return Self.product(a.matrix(expert), b.matrix(expert)).map { $0 * scale(rank) }
          }
          let expected = Self.product(lora.a.value, lora.b.value).map { $0 * Double(lora.scale) }
          let factors = ["lora_a", "lora_b"]
          let theirs = [
            try update(factors.map { llama.tensor(named: "\(inGGUF).\($0)") }) { alpha / Double($0) },
            try update(factors.map { switched.tensor(named: "\(inMLX).\($0)") }) { _ in scale },
          ]
          for values in theirs {
            #expect(zip(values, expected).allSatisfy { abs($0 - $1) < 1e-6 }, "\(layer.path)")
          }
        }
      }
    }
    withExtendedLifetime(adapter) {}
  }

  /// B A, row by row.
  private static func product(_ a: Tensor, _ b: Tensor) -> [Double] {
    let (left, right) = (CPUBackend.shared.floats(b), CPUBackend.shared.floats(a))
    return (0..<b.rows).flatMap { row in
      (0..<a.columns).map { column in
        (0..<a.rows).reduce(0.0) { $0 + Double(left[row * a.rows + $1]) * Double(right[$1 * a.columns + column]) }
      }
    }
  }

  /// PEFT has one A for gate and input.
  @Test func factorsThatPEFTLacksAreRefused() throws {
    let golden = try Goldens.json("peft/qwen3_moe_experts.json")
    let folder = try AdapterTests.scratch()
    defer { try? FileManager.default.removeItem(at: folder) }
    let (gguf, _) = try Self.export(golden, to: folder)
    let file = try GGUFFile(contentsOf: gguf)
    func message(_ change: (String, Tensor) -> Tensor?) throws -> String {
      let changed = folder.appendingPathComponent("changed.gguf")
      let tensors = file.tensorNames.compactMap { name in
        file.tensor(named: name).flatMap { change(name, $0) }.map { TensorSource(name: name, tensor: $0) }
      }
      try GGUFWriter.write(metadata: file.metadata, tensors: tensors, to: changed)
      return AdapterTests.message { _ = try AdapterTests.open(golden, adapter: changed) }
    }
    #expect(try message { $1 }.isEmpty)
    #expect(try message { $0.contains("blk.1.ffn_up_exps") ? nil : $1 }.contains("is not whole"))
    let backend = CPUBackend.shared
    #expect(
      try message { $0 == "blk.1.ffn_up_exps.weight.lora_a" ? backend.scaled($1, 2) : $1 }.contains("an A of their own")
    )
  }

  /// Exports an adapter for llama.cpp and mlx-lm.
  private static func export(_ golden: JSONValue, to folder: URL) throws -> (gguf: URL, mlx: URL) {
    let (gguf, mlx) = (folder.appendingPathComponent("a.gguf"), folder.appendingPathComponent("mlx"))
    let base = try ModelFiles(opening: Goldens.folder.appendingPathComponent(golden["base"]?.string ?? ""))
      .configuration
    let adapter = Goldens.folder.appendingPathComponent(golden["adapter"]?.string ?? "")
    try LoRAExport.write(adapter, base: base, to: gguf, name: "a")
    try MLXAdapterExport.write(adapter, base: base, to: mlx)
    return (gguf, mlx)
  }

  /// MXFP4 stays MXFP4, in GGML's blocks.
  @Test func codesOfExpertsStayInGGUFFiles() throws {
    let model = try CausalLM(
      ModelFiles(opening: Goldens.folder.appendingPathComponent("quantization/gpt_oss_mxfp4")),
      tokenizer: Tokenizer(directory: Goldens.folder.appendingPathComponent("models/tokenizer")))
    let folder = try AdapterTests.scratch()
    defer { try? FileManager.default.removeItem(at: folder) }
    let file = folder.appendingPathComponent("model.gguf")
    try model.writeGGUF(to: file, type: nil, name: "codes")
    let written = try CausalLM(opening: file)
    let stacks = try GGUFFile(contentsOf: file)
    for name in ["gate", "up", "down"] {
      #expect(stacks.tensor(named: "blk.0.ffn_\(name)_exps.weight")?.type == .mxfp4)
    }
    let ids: [Int32] = [3, 4, 5, 6, 7]
    let expected = AdapterTests.logits(model.transformer, ids)
    #expect(relativeError(AdapterTests.logits(written.transformer, ids), expected) < 2e-6)
  }

  @Test func settingsThatPEFTRefusesAreRejected() throws {
    let transformer = try FamilyTests.transformer("qwen3_moe")
    func message(_ transformer: Transformer, _ change: (inout LoRAConfiguration) -> Void) -> String {
      var configuration = Self.configuration()
      change(&configuration)
      return AdapterTests.message { _ = try Adapter(configuration, on: transformer, seed: 0) }
    }
    #expect(message(transformer) { $0.dropout = 0.1 }.contains("set lora_dropout to 0"))
    #expect(message(transformer) { $0.usesDoRA = true }.contains("use_dora"))
    #expect(message(transformer) { $0.hasBias = true }.contains("lora_bias"))
    #expect(message(transformer) { $0.initialization = .orthogonal }.contains("orthogonal"))
    #expect(
      message(transformer) { $0.targetParameters = ["experts.up_proj"] }
        .contains("name experts.down_proj and experts.gate_up_proj"))
    #expect(message(try FamilyTests.transformer("llama")) { _ in }.contains("this model has none"))
    #expect(transformer.linearLayers.allSatisfy { $0.lora == nil })
  }
}
