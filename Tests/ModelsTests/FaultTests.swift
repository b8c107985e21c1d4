import Checkpoints
import Foundation
import Models
import OrderedJSON
import Tensors
import Testing
import Tokenizers

/// Broken configurations and folders give one-line errors, never a crash.
@Suite struct FaultTests {
  /// A change to `models/llama/config.json` (a value of `nil` removes the key), and what the message must name.
  static let changes: [(key: String, value: String?, named: String)] = [
    ("model_type", nil, "model_type"), ("model_type", "5", "model_type"), ("model_type", "\"gpt_neox\"", "smollm3"),
    ("vocab_size", nil, "vocab_size"), ("vocab_size", "\"256\"", "vocab_size"), ("vocab_size", "-1", "vocab_size"),
    ("vocab_size", "9223372036854775807", "vocab_size"), ("hidden_size", nil, "hidden_size"),
    ("hidden_size", "1e300", "hidden_size"), ("hidden_size", "4611686018427387904", "hidden_size"),
    ("intermediate_size", "0", "intermediate_size"), ("intermediate_size", "[96]", "intermediate_size"),
    ("num_hidden_layers", "2147483648", "num_hidden_layers"), ("num_hidden_layers", "2.5", "num_hidden_layers"),
    ("num_attention_heads", "null", "num_attention_heads"), ("num_attention_heads", "1000000", "num_attention_heads"),
    ("num_key_value_heads", "3", "num_key_value_heads"), ("head_dim", "13", "even"),
    ("head_dim", "1048576", "head_dim"), ("rms_norm_eps", "\"tiny\"", "rms_norm_eps"),
    ("rms_norm_eps", "-1", "rms_norm_eps"), ("tie_word_embeddings", "\"yes\"", "tie_word_embeddings"),
    ("attention_bias", "1", "attention_bias"), ("max_position_embeddings", "-128", "max_position_embeddings"),
    ("hidden_act", "\"relu\"", "relu"), ("rope_parameters", #"{"rope_type": "ntk", "rope_theta": 1e4}"#, "ntk"),
    ("rope_parameters", #"{"rope_type": "linear", "rope_theta": 1e4}"#, "factor"),
    ("rope_parameters", #"{"rope_type": "linear", "rope_theta": 1e4, "factor": 0}"#, "factor"),
    ("rope_parameters", #"{"rope_theta": -1}"#, "rope_theta"),
    ("rope_parameters", #"{"rope_theta": 1e4, "partial_rotary_factor": 0.01}"#, "partial_rotary_factor"),
    (
      "rope_parameters",
      #"{"rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4, "#
        + #""original_max_position_embeddings": 1e300}"#, "original_max_position_embeddings"
    ),
    (
      "rope_parameters", #"{"rope_type": "longrope", "short_factor": [1], "long_factor": [1, "a"]}"#, "long_factor"
    ),
    (
      "rope_parameters", #"{"rope_type": "longrope", "short_factor": [1], "long_factor": [1]}"#, "short_factor"
    ),
  ]

  static func configuration(_ key: String, _ value: String?) throws -> JSONValue {
    var object = try #require(Goldens.json("models/llama/config.json").object)
    object[key] = try value.map { try JSONValue(parsing: Data($0.utf8)) }
    return .object(object)
  }

  @Test(arguments: changes.indices) func brokenConfiguration(_ index: Int) throws {
    let (key, value, named) = Self.changes[index]
    let message = AdapterTests.message {
      _ = try TransformerConfiguration(json: Self.configuration(key, value), path: "model/config.json")
    }
    #expect(message.hasPrefix("model/config.json"), "\(key): \(value ?? "nothing") gives \"\(message)\"")
    #expect(message.contains(named), "\(message)")
    #expect(!message.contains("\n"))
  }

  /// A list of layer types that leaves layers out tells nothing about them.
  @Test(arguments: ["gemma2", "gemma3_text", "olmo3", "gpt_oss", "lfm3"])
  func layerTypesMustBeComplete(_ name: String) throws {
    var object = try #require(Goldens.json("models/\(name)/config.json").object)
    let types = try #require(object["layer_types"]?.array)
    for wrong in [Array(types.dropLast()), types + ["full_attention"]] {
      object["layer_types"] = .array(wrong)
      let message = AdapterTests.message {
        _ = try TransformerConfiguration(json: .object(object), path: "model/config.json")
      }
      #expect(message.hasPrefix("model/config.json") && message.contains("one entry for each of the"), "\(message)")
    }
  }

  @Test func theUnchangedConfigurationIsAccepted() throws {
    let shape = try TransformerConfiguration(json: Self.configuration("bos_token_id", "1"), path: "config.json")
    #expect(shape.hiddenSize == 64)
  }

  /// A copy of the tiny Llama with its configuration changed.
  static func folder(_ key: String, _ value: String?) throws -> URL {
    let folder = try AdapterTests.scratch()
    let source = Goldens.folder.appendingPathComponent("models/llama")
    try FileManager.default.copyItem(
      at: source.appendingPathComponent("model.safetensors"), to: folder.appendingPathComponent("model.safetensors"))
    try configuration(key, value).text().write(
      to: folder.appendingPathComponent("config.json"), atomically: true, encoding: .utf8)
    return folder
  }

  @Test(arguments: [
    ("num_hidden_layers", "3", "model.layers.2"), ("intermediate_size", "104", "mlp.gate_proj"),
    ("vocab_size", "255", "embed_tokens"), ("head_dim", "8", "q_proj"), ("num_key_value_heads", "4", "k_proj"),
    ("attention_bias", "true", "bias"), ("model_type", "\"qwen3\"", "q_norm"), ("model_type", "\"phi3\"", "qkv_proj"),
  ])
  func mismatchedWeightsAreRejected(_ key: String, _ value: String, _ named: String) throws {
    let folder = try Self.folder(key, value)
    defer { try? FileManager.default.removeItem(at: folder) }
    let message = AdapterTests.message { _ = try Transformer(ModelFiles(opening: folder)) }
    #expect(message.contains(folder.path), "\(message)")
    #expect(message.contains(named), "\(message)")
    #expect(!message.contains("\n"))
  }

  @Test func brokenFolders() throws {
    let folder = try AdapterTests.scratch()
    defer { try? FileManager.default.removeItem(at: folder) }
    func message() -> String { AdapterTests.message { _ = try Transformer(ModelFiles(opening: folder)) } }
    #expect(message().contains("config.json"))
    let config = folder.appendingPathComponent("config.json")
    for text in ["", "{", "[]", "null", #"{"model_type""#, #"{"model_type": "llama"}"#] {
      try text.write(to: config, atomically: true, encoding: .utf8)
      #expect(message().contains("config.json"), "\(text)")
    }
    try Self.configuration("bos_token_id", "1").text().write(to: config, atomically: true, encoding: .utf8)
    let weights = folder.appendingPathComponent("model.safetensors")
    let whole = try Data(contentsOf: Goldens.folder.appendingPathComponent("models/llama/model.safetensors"))
    for bytes in [Data(), whole.prefix(4), whole.prefix(1000), whole.prefix(whole.count - 1)] {
      try bytes.write(to: weights)
      #expect(message().contains("model.safetensors"))
    }
    try whole.write(to: weights)
    #expect(message().isEmpty)
    let nowhere = AdapterTests.message { _ = try ModelFiles(opening: folder.appendingPathComponent("nothing")) }
    #expect(nowhere.contains("no such file"))
  }

  @Test func brokenGGUF() throws {
    let folder = try AdapterTests.scratch()
    defer { try? FileManager.default.removeItem(at: folder) }
    let file = folder.appendingPathComponent("model.gguf")
    let whole = try Data(contentsOf: Goldens.folder.appendingPathComponent("models/qwen2/model.gguf"))
    for count in [0, 3, 24, 200, whole.count / 2, whole.count - 1] {
      try whole.prefix(count).write(to: file)
      let message = AdapterTests.message { _ = try Transformer(ModelFiles(opening: file)) }
      #expect(message.contains("model.gguf"), "\(count) bytes")
    }
    // Another architecture with the same name.
    var bytes = [UInt8](whole)
    let name = Array("general.architecture".utf8)
    let start = try #require(bytes.indices.first { bytes[$0...].starts(with: name) })
    let value = start + name.count + 12
    bytes.replaceSubrange(value..<value + 5, with: Array("bloom".utf8))
    try Data(bytes).write(to: file)
    let message = AdapterTests.message { _ = try Transformer(ModelFiles(opening: file)) }
    #expect(message.contains("bloom") && message.contains("qwen3"), "\(message)")
  }

  @Test func tokenizerLargerThanTheVocabulary() throws {
    let folder = try AdapterTests.scratch()
    defer { try? FileManager.default.removeItem(at: folder) }
    try Self.configuration("vocab_size", "200").text().write(
      to: folder.appendingPathComponent("config.json"), atomically: true, encoding: .utf8)
    let tokenizer = try Tokenizer(directory: Goldens.folder.appendingPathComponent("models/tokenizer"))
    let message = AdapterTests.message { _ = try CausalLM(ModelFiles(opening: folder), tokenizer: tokenizer) }
    #expect(message.contains("255") && message.contains("200"), "\(message)")
  }
}
