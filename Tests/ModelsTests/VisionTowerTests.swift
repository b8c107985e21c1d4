import Checkpoints
import Foundation
import Models
import OrderedJSON
import Tensors
import Testing
import Tokenizers

/// Models whose language model is next to a vision tower: nothing reads the tower, and files keep it.
@Suite struct VisionTowerTests {
  static let names = ["gemma3_vision", "mistral3", "ministral3", "qwen3_5"]

  private static func model(_ name: String) throws -> CausalLM {
    try CausalLM(
      ModelFiles(opening: Goldens.folder.appendingPathComponent("models/\(name)")),
      tokenizer: Tokenizer(directory: Goldens.folder.appendingPathComponent("models/tokenizer")))
  }

  @Test(arguments: names) func filesKeepTheTower(_ name: String) throws {
    let model = try Self.model(name)
    let folder = try AdapterTests.scratch()
    defer { try? FileManager.default.removeItem(at: folder) }
    try model.write(to: folder, type: .float32)
    let before = try SafetensorsCheckpoint(contentsOf: model.files.url)
    let after = try SafetensorsCheckpoint(contentsOf: folder)
    #expect(before.tensorNames.sorted() == after.tensorNames.sorted())
    #expect(before.tensorNames.contains { $0.contains("vision_tower") || $0.contains("visual") })
    for name in before.tensorNames {
      let (a, b) = (try #require(before.tensor(named: name)), try #require(after.tensor(named: name)))
      #expect(a.type == b.type && a.shape == b.shape && CPUBackend.shared.floats(a) == CPUBackend.shared.floats(b))
    }
    let config = try JSONValue(parsing: Data(contentsOf: folder.appendingPathComponent("config.json")))
    for key in ["model_type", "text_config", "vision_config", "architectures"] {
      #expect(config[key] == model.files.configurationJSON[key], "\(key)")
    }
  }

  /// In 16 bits, the tower still has the bits that it had.
  @Test func towersKeepTheirType() throws {
    let folder = try AdapterTests.scratch()
    defer { try? FileManager.default.removeItem(at: folder) }
    try Self.model("mistral3").write(to: folder, type: .bfloat16)
    let written = try SafetensorsCheckpoint(contentsOf: folder)
    for name in written.tensorNames {
      let isTower = !name.hasPrefix("language_model.")
      #expect(written.tensor(named: name)?.type == (isTower ? .float32 : .bfloat16), "\(name)")
    }
  }

  /// An adapter of the text-only class has the same names without `language_model.`.
  @Test func adaptersOfTheTextOnlyClassOpen() throws {
    let golden = try Goldens.json("peft/gemma3_vision.json")
    let (transformer, adapter) = try AdapterTests.open(golden)
    let folder = try AdapterTests.scratch()
    defer { try? FileManager.default.removeItem(at: folder) }
    let tensors = adapter.parameters.map { parameter in
      TensorSource(
        name: parameter.name.replacingOccurrences(of: "model.language_model.", with: "model."), tensor: parameter.value)
    }
    try SafetensorsWriter.write(
      tensors, metadata: ["format": "pt"], to: folder.appendingPathComponent("adapter_model.safetensors"))
    let config = Goldens.folder.appendingPathComponent("peft/gemma3_vision/adapter_config.json")
    try FileManager.default.copyItem(at: config, to: folder.appendingPathComponent("adapter_config.json"))
    let (again, copy) = try AdapterTests.open(golden, adapter: folder)
    #expect(copy.layers.count == adapter.layers.count)
    let ids = try #require(golden["ids"]?.ids)
    #expect(AdapterTests.logits(again, ids) == AdapterTests.logits(transformer, ids))
  }

  @Test func unknownInnerModelsAreNamed() throws {
    let json: JSONValue = ["model_type": "gemma3", "text_config": ["model_type": "llama"]]
    let message = AdapterTests.message { _ = try TransformerConfiguration(json: json, path: "m/config.json") }
    #expect(message.contains("\"llama\" is not supported in a gemma3"))
  }
}
