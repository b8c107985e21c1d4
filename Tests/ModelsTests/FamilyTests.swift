import Foundation
import Models
import OrderedJSON
import Tensors
import Testing

/// Every family against transformers: tiny random weights, see Tests/Goldens/generators/models.py.
@Suite struct FamilyTests {
  static let names = [
    "llama", "llama_tied", "llama_bf16", "llama_f16", "llama_linear", "llama_dynamic", "llama_llama3", "mistral",
    "qwen2", "qwen3", "phi3", "phi3_longrope", "gemma3_text", "gemma3_six_layers", "smollm3",
    "gemma3_vision", "mistral3", "ministral3", "granite", "phi4", "phi4_mini", "olmo2", "olmo3", "gemma2", "lfm2",
    "qwen3_5", "qwen3_5_gguf", "qwen3_moe",
    "qwen3_moe_mixed", "granite4", "gemma4", "gemma4_gguf", "gemma4_keys", "gpt_oss", "granitemoe", "lfm3",
  ]
  /// The names with a golden of gradient projections (Tests/Goldens/generators/gradients.py).
  static let projectedNames = [
    "llama", "llama_tied", "mistral", "qwen2", "qwen3", "phi3", "gemma3_text", "smollm3", "gemma3_vision", "mistral3",
    "ministral3", "granite", "phi4_mini", "olmo2", "olmo3", "gemma2", "lfm2", "qwen3_5", "qwen3_moe",
    "qwen3_moe_mixed", "granite4", "gemma4", "gemma4_keys", "gpt_oss", "granitemoe", "lfm3",
  ]
  static let ggufNames = names.filter {
    FileManager.default.fileExists(atPath: Goldens.folder.appendingPathComponent("models/\($0)/model.gguf").path)
  }

  static func transformer(
    _ name: String, gguf: Bool = false, inFloat32: Bool = false, on backend: any Backend = CPUBackend.shared
  ) throws -> Transformer {
    let folder = Goldens.folder.appendingPathComponent("models/\(name)")
    return try Transformer(
      ModelFiles(opening: gguf ? folder.appendingPathComponent("model.gguf") : folder), on: backend,
      inFloat32: inFloat32)
  }

  static func checkLogits(_ transformer: Transformer, _ golden: JSONValue, tolerance: Double) throws {
    let sequences = try #require(golden["sequences"]?.array)
    let tokens = TokenBatch(sequences.map { $0["ids"]?.ids ?? [] })
    let tape = Tape(on: transformer.backend, isRecording: false)
    let hidden = transformer.hiddenStates(tokens, on: tape).value
    let logits = transformer.backend.floats(transformer.logits(hidden))
    let expected = sequences.flatMap { $0["logits"]?.array?.flatMap(\.floats) ?? [] }
    #expect(relativeError(logits, expected) < tolerance)
  }

  @Test(arguments: names) func logitsEqualTheReference(_ name: String) throws {
    try Self.checkLogits(Self.transformer(name), Goldens.json("models/\(name)/golden.json"), tolerance: 1e-5)
  }

  @Test(arguments: ggufNames) func logitsFromGGUFEqualTheReference(_ name: String) throws {
    try Self.checkLogits(
      Self.transformer(name, gguf: true), Goldens.json("models/\(name)/golden.json"), tolerance: 1e-5)
  }

  @Test(arguments: names) func configurationsRoundTripThroughCoding(_ name: String) throws {
    let configuration = try Self.transformer(name).configuration
    let data = try JSONEncoder().encode(configuration)
    #expect(try JSONDecoder().decode(TransformerConfiguration.self, from: data) == configuration)
  }

  @Test func ggufGoldensExist() { #expect(Self.ggufNames.count >= 4) }

  @Test(arguments: names) func olderConfigurationsGiveTheSameModel(_ name: String) throws {
    let folder = Goldens.folder.appendingPathComponent("models/\(name)")
    func shape(_ file: String) throws -> TransformerConfiguration {
      try TransformerConfiguration(json: Goldens.json("models/\(name)/\(file)"), path: folder.path)
    }
    #expect(try shape("config.json") == shape("config_before_5.json"))
  }

  @Test(arguments: names, [false, true]) func gradientsEqualTheReference(_ name: String, checkpointed: Bool) throws {
    try Self.checkGradients(name, checkpointed: checkpointed, on: CPUBackend.shared)
  }

  static func checkGradients(_ name: String, checkpointed: Bool, on backend: any Backend) throws {
    let golden = try Goldens.json("models/\(name)/golden.json")
    let transformer = try Self.transformer(name, inFloat32: true, on: backend)
    for parameter in transformer.parameters { parameter.isTrainable = true }
    let sequences = try #require(golden["sequences"]?.array).map { $0["ids"]?.ids ?? [] }
    let batch = TokenBatch(sequences)
    let count = batch.targetCount
    let tape = Tape(on: transformer.backend, isRecording: true)
    let hidden = transformer.hiddenStates(
      batch, on: tape,
      checkpointed: checkpointed ? Set(transformer.configuration.layers.indices) : [])
    let sums = tape.linearCrossEntropy(
      hidden, head: transformer.head, targets: batch.targets, gradientScale: 1 / Float(count),
      softcap: transformer.configuration.logitSoftcap)
    tape.backward()
    let loss = try #require(golden["loss"]?.double)
    #expect(abs(sums.loss / Double(count) - loss) < 1e-5 * loss)
    let expected = try #require(golden["gradients"]?.object)
    #expect(expected.count == transformer.parameters.count)
    for parameter in transformer.parameters {
      let reference = try #require(expected[parameter.name], "\(parameter.name)")
      let gradient = transformer.backend.floats(try #require(parameter.gradient, "\(parameter.name)"))
      let norm = try #require((reference["norm"] ?? reference["l2"])?.double)
      let ours = gradient.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
      #expect(abs(ours - norm) <= 1e-4 * norm, "norm of \(parameter.name)")
      let first = try #require(reference["first"]?.floats)
      let scale = norm / Double(gradient.count).squareRoot()
      for (a, b) in zip(gradient, first) {
        #expect(abs(Double(a - b)) <= 1e-4 * max(scale, Double(abs(b))), "\(parameter.name)")
      }
    }
  }

  /// All elements of all gradients: their dot products with vectors of random signs. An error of size d anywhere in a
  /// gradient changes each of the eight products by about d.
  @Test(arguments: projectedNames) func fullGradientsEqualTheReference(_ name: String) throws {
    let golden = try Goldens.json("gradients/\(name).json")
    let transformer = try Self.transformer(name, inFloat32: true)
    for parameter in transformer.parameters { parameter.isTrainable = true }
    let sequences = try #require(Goldens.json("models/\(name)/golden.json")["sequences"]?.array)
    let batch = TokenBatch(sequences.map { $0["ids"]?.ids ?? [] })
    let tape = Tape(on: transformer.backend, isRecording: true)
    _ = tape.linearCrossEntropy(
      transformer.hiddenStates(batch, on: tape), head: transformer.head, targets: batch.targets,
      gradientScale: 1 / Float(batch.targetCount), softcap: transformer.configuration.logitSoftcap)
    tape.backward()
    for parameter in transformer.parameters {
      let reference = try #require(golden[parameter.name], "\(parameter.name)")
      let norm = try #require(reference["norm"]?.double)
      let expected = try #require(reference["projections"]?.array).compactMap(\.double)
      let gradient = transformer.backend.floats(try #require(parameter.gradient))
      var found = [Double](repeating: 0, count: 8)
      for (index, value) in gradient.enumerated() {
        var random = RandomSource(seed: UInt64(index) &* 0x9E37_79B9_7F4A_7C15)
        let bits = random.next()
        for k in 0..<8 { found[k] += bits >> UInt64(k) & 1 == 1 ? Double(value) : -Double(value) }
      }
      #expect(expected.count == 8)
      for (a, b) in zip(found, expected) { #expect(abs(a - b) <= 1e-4 * norm, "\(parameter.name)") }
    }
  }
}
