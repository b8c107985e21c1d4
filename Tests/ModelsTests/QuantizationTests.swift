import Checkpoints
import Foundation
import Models
import OrderedJSON
import Tensors
import Testing
import Tokenizers

/// 4-bit models: bitsandbytes' checkpoints as transformers saves them, and our own.
@Suite struct QuantizationTests {
  static let names = ["llama_nf4", "llama_tied_nf4_bf16", "phi3_fp4_f16"]

  private static func files(_ path: String) throws -> ModelFiles {
    try ModelFiles(opening: Goldens.folder.appendingPathComponent(path))
  }

  private static func model(_ path: String, _ quantization: QuantizationConfiguration? = nil) throws -> CausalLM {
    let tokenizer = try Tokenizer(directory: Goldens.folder.appendingPathComponent("models/tokenizer"))
    return try CausalLM(files(path), tokenizer: tokenizer, quantization: quantization)
  }

  /// The model, written in 4 bits to a folder, and the contents of that folder.
  private static func written(_ model: CausalLM, type: ElementType = .bfloat16) throws -> ModelFiles {
    let folder = try AdapterTests.scratch()
    defer { try? FileManager.default.removeItem(at: folder) }
    try model.write(
      to: folder, type: type, quantization: QuantizationConfiguration(FourBitFormat(doubleQuantized: true)))
    // Memory-mapped files stay readable after they are deleted.
    return try ModelFiles(opening: folder)
  }

  /// For weights in 16 bits, the reference's activations have the same 16 bits and round after each operation;
  /// Swiftlet's are always float32. The reference's errors add up to a few units in the last place.
  @Test(arguments: zip(names, [1e-5, 5 * 0x1p-8, 5 * 0x1p-11]))
  func logitsEqualTheReference(_ name: String, tolerance: Double) throws {
    let golden = try Goldens.json("quantization/\(name)/golden.json")
    let transformer = try Transformer(Self.files("quantization/\(name)"))
    let ids = try #require(golden["ids"]?.ids)
    let expected = try #require(golden["logits"]?.array).flatMap(\.floats)
    #expect(relativeError(AdapterTests.logits(transformer, ids), expected) < tolerance)
  }

  /// MXFP4 experts as in published files of gpt-oss, and 8-bit floats with scales per tile, row and tensor. Everything is
  /// computed in float32, there and here.
  @Test(arguments: [("gpt_oss_mxfp4", ElementType.float4), ("llama_fp8", .float8)])
  func logitsOfStoredFormatsEqualTheReference(_ name: String, type: ElementType) throws {
    let golden = try Goldens.json("quantization/\(name)/golden.json")
    let transformer = try Transformer(Self.files("quantization/\(name)"))
    #expect(transformer.parameters.contains { $0.value.type == type })
    let ids = try #require(golden["ids"]?.ids)
    let expected = try #require(golden["logits"]?.array).flatMap(\.floats)
    #expect(relativeError(AdapterTests.logits(transformer, ids), expected) < 1e-5)
    let wide = try Transformer(Self.files("quantization/\(name)"), inFloat32: true)
    #expect(wide.parameters.allSatisfy { $0.value.type == .float32 })
    #expect(relativeError(AdapterTests.logits(wide, ids), expected) < 1e-5)
  }

  /// An adapter on attention leaves the experts' codes and the configuration as they were.
  @Test func mergingKeepsTheCodesOfExperts() throws {
    let model = try Self.model("quantization/gpt_oss_mxfp4")
    _ = try Adapter(.lora(rank: 2), on: model.transformer, seed: 1)
    let folder = try AdapterTests.scratch()
    defer { try? FileManager.default.removeItem(at: folder) }
    try model.write(to: folder, type: .bfloat16)
    let (before, after) = (
      try SafetensorsCheckpoint(contentsOf: model.files.url), try SafetensorsCheckpoint(contentsOf: folder)
    )
    #expect(before.tensorNames.sorted() == after.tensorNames.sorted())
    for name in before.tensorNames where name.hasSuffix("_blocks") || name.hasSuffix("_scales") {
      let (a, b) = (try #require(before.tensor(named: name)), try #require(after.tensor(named: name)))
      #expect(a.shape == b.shape && a.withBytes { Array($0) } == b.withBytes { Array($0) })
    }
    let config = try ModelFiles(opening: folder).configurationJSON
    #expect(config["quantization_config"] == model.files.configurationJSON["quantization_config"])
  }

  /// A file has all tensors of transformers' file, with the same values.
  @Test(arguments: ["gemma4", "gemma4_keys", "gpt_oss", "granitemoe", "lfm3"]) func writtenFilesHaveAllTensors(
    _ name: String
  ) throws {
    let model = try Self.model("models/\(name)")
    let folder = try AdapterTests.scratch()
    defer { try? FileManager.default.removeItem(at: folder) }
    try model.write(to: folder, type: .float32)
    let (before, after) = (
      try SafetensorsCheckpoint(contentsOf: model.files.url), try SafetensorsCheckpoint(contentsOf: folder)
    )
    #expect(before.tensorNames.sorted() == after.tensorNames.sorted())
    for name in before.tensorNames {
      let (a, b) = (try #require(before.tensor(named: name)), try #require(after.tensor(named: name)))
      #expect(a.shape == b.shape && CPUBackend.shared.floats(a) == CPUBackend.shared.floats(b), "\(name)")
    }
  }

  @Test func skippedLayersStayFloats() throws {
    let transformer = try Transformer(Self.files("quantization/llama_tied_nf4_bf16"))
    for linear in transformer.linearLayers {
      let isSkipped = linear.path == "model.layers.0.mlp.down_proj"
      #expect(linear.weight.value.type == (isSkipped ? .bfloat16 : .nf4), "\(linear.path)")
    }
    #expect(transformer.embedding.value.type == .bfloat16)
  }

  /// Quantizing on loading gives the same bytes that transformers saves after doing so.
  @Test func loadingQuantizesAsTransformersDoes() throws {
    let theirs = try Transformer(Self.files("quantization/llama_nf4"))
    var done: [Int] = []
    let ours = try Transformer(
      Self.files("models/llama"), quantization: QuantizationConfiguration(FourBitFormat(doubleQuantized: true))
    ) { layers, of in
      done.append(layers)
      #expect(of == 2)
    }
    #expect(done == [1, 2])
    for (a, b) in zip(ours.parameters, theirs.parameters) {
      #expect(a.name == b.name && a.value.type == b.value.type && a.value.fourBitFormat == b.value.fourBitFormat)
      #expect(a.value.withBytes { Array($0) } == b.value.withBytes { Array($0) }, "\(a.name)")
      #expect(a.value.scales?.nested?.offset == b.value.scales?.nested?.offset)
    }
    #expect(ours.linearLayers.allSatisfy { $0.weight.value.type == .nf4 })
    #expect(ours.head.value.type == .float32)
  }

  @Test func modulesAreSkippedAsTransformersSkipsThem() {
    func quantized(_ skipped: [String]?) -> [String] {
      let paths = ["1.mlp.up_proj", "11.mlp.up_proj", "1.self_attn.q_proj"].map { "model.layers.\($0)" } + ["lm_head"]
      return paths.filter(QuantizationConfiguration(skippedModules: skipped).quantizes)
    }
    #expect(quantized(nil).count == 3)
    #expect(quantized([]).count == 4)
    #expect(quantized(["lm_head", "up_proj"]) == ["model.layers.1.self_attn.q_proj"])
    #expect(quantized(["model.layers.1"]) == ["model.layers.11.mlp.up_proj", "lm_head"])
    #expect(quantized([#"model.layers.\d+.mlp"#]) == ["model.layers.1.self_attn.q_proj", "lm_head"])
    #expect(quantized(["model.layers.1.self_attn.q"]).count == 4)
    #expect(quantized(["("]).count == 4)
  }

  /// Without an adapter, nothing is requantized on saving.
  @Test(arguments: names) func quantizedWeightsRoundTrip(_ name: String) throws {
    let model = try Self.model("quantization/\(name)")
    let type = model.transformer.embedding.value.type
    let files = try Self.written(model, type: type)
    let again = try Transformer(files)
    for (a, b) in zip(again.parameters, model.transformer.parameters) {
      #expect(a.value.type == b.value.type && a.value.fourBitFormat == b.value.fourBitFormat, "\(a.name)")
      #expect(a.value.withBytes { Array($0) } == b.value.withBytes { Array($0) }, "\(a.name)")
    }
    #expect(files.configurationJSON["quantization_config"] == model.files.configurationJSON["quantization_config"])
  }

  /// The dequantized weight plus the update.
  private static func sum(_ linear: Linear, on backend: any Backend) throws -> Tensor {
    let lora = try #require(linear.lora)
    let sum = backend.converted(linear.weight.value, to: .float32)
    let left = backend.leftOperand(Columns(backend.scaled(lora.b.value, lora.scale)), transposed: false)
    let term = ProductTerm(left, lora.a.value, transposed: false)
    backend.compute([Product([term], into: Columns(sum), accumulate: true)])
    return sum
  }

  @Test func mergingRequantizes() throws {
    for path in ["models/llama", "quantization/llama_nf4"] {
      let model = try Self.model(path)
      _ = try Adapter(
        reading: Goldens.folder.appendingPathComponent("training/lora/adapter"), onto: model.transformer)
      let files = try Self.written(model)
      #expect(files.quantization?.format == FourBitFormat(doubleQuantized: true))
      let merged = try Transformer(files)
      let backend = model.transformer.backend
      for (merged, linear) in zip(merged.linearLayers, model.transformer.linearLayers) {
        let sum = try Self.sum(linear, on: backend)
        let expected = try #require(backend.quantized(sum, to: FourBitFormat(doubleQuantized: true)))
        let bytes = merged.weight.value.withBytes { Array($0) }
        #expect(bytes == expected.withBytes { Array($0) }, "\(path), \(linear.path)")
        #expect(merged.weight.value.scales?.original == .bfloat16)
      }
    }
  }

  /// Merged to floats, a 4-bit base gives its dequantized values plus the update.
  @Test(arguments: [ElementType.float32, .bfloat16]) func mergingDequantizesTheBase(type: ElementType) throws {
    let model = try Self.model("quantization/llama_nf4")
    let folder = try AdapterTests.scratch()
    defer { try? FileManager.default.removeItem(at: folder) }
    _ = try Adapter(reading: Goldens.folder.appendingPathComponent("training/lora/adapter"), onto: model.transformer)
    try model.write(to: folder, type: type)
    let files = try ModelFiles(opening: folder)
    #expect(files.quantization == nil)
    let backend = model.transformer.backend
    for (merged, linear) in zip(try Transformer(files).linearLayers, model.transformer.linearLayers) {
      let expected = backend.converted(try Self.sum(linear, on: backend), to: type)
      #expect(merged.weight.value.type == type)
      let bytes = merged.weight.value.withBytes { Array($0) }
      #expect(bytes == expected.withBytes { Array($0) }, "\(linear.path)")
    }
  }

  @Test(
    arguments: [
      ["quant_method": "gptq"], ["quant_method": "bitsandbytes", "load_in_8bit": true],
      ["quant_method": "bitsandbytes", "bnb_4bit_quant_type": "int4"],
    ] as [JSONValue]) func otherQuantizationsAreRefused(_ quantization: JSONValue) throws
  {
    let folder = try AdapterTests.scratch()
    defer { try? FileManager.default.removeItem(at: folder) }
    var config = try #require(Goldens.json("models/llama/config.json").object)
    config["quantization_config"] = quantization
    try JSONValue.object(config).text().write(
      to: folder.appendingPathComponent("config.json"), atomically: true, encoding: .utf8)
    let message = AdapterTests.message { _ = try ModelFiles(opening: folder) }
    #expect(message.contains("config.json") && message.contains("not supported"))
  }

  @Test func nonFiniteWeightsAreNamed() throws {
    let folder = try AdapterTests.scratch()
    defer { try? FileManager.default.removeItem(at: folder) }
    let golden = Goldens.folder.appendingPathComponent("models/llama")
    let checkpoint = try SafetensorsCheckpoint(contentsOf: golden)
    let backend = CPUBackend.shared
    let tensors = try checkpoint.tensorNames.map { name in
      let tensor = try #require(checkpoint.tensor(named: name))
      guard name == "model.layers.1.mlp.up_proj.weight" else { return (name: name, tensor: tensor) }
      var values = backend.floats(tensor)
      values[77] = .nan
      return (name: name, tensor: backend.tensor(values, tensor.shape))
    }
    try SafetensorsWriter.write(tensors: tensors, metadata: [:], to: folder.appendingPathComponent("model.safetensors"))
    try FileManager.default.copyItem(
      at: golden.appendingPathComponent("config.json"), to: folder.appendingPathComponent("config.json"))
    let message = AdapterTests.message {
      _ = try Transformer(ModelFiles(opening: folder), quantization: QuantizationConfiguration())
    }
    #expect(message.contains("model.layers.1.mlp.up_proj.weight") && message.contains("not finite"))
  }
}
