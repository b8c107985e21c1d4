import Diagnostics
import Checkpoints
import OrderedJSON
import Tensors

/// A GGUF file seen as a Hugging Face checkpoint: its header as a `config.json`, its tensors under the names and in the
/// row order that transformers uses.
struct GGUFModel: Sendable {
  let file: GGUFFile
  let path: String
  let configuration: JSONValue
  private let naming: GGUFNaming

  init(_ file: GGUFFile, path: String) throws(SwiftletError) {
    self.file = file
    self.path = path
    guard let architecture = file.metadata["general.architecture"]?.string else {
      throw SwiftletError.model("\(path): the header has no general.architecture; is this a language model?")
    }
    naming = GGUFNaming(architecture: architecture)
    configuration = try Self.configuration(file, architecture, path)
  }

  // MARK: Header

  private static func configuration(
    _ file: GGUFFile, _ architecture: String, _ path: String
  ) throws(SwiftletError) -> JSONValue {
    guard let modelType = GGUFNaming.modelTypes[architecture] else {
      let known = GGUFNaming.modelTypes.keys.sorted().joined(separator: ", ")
      throw SwiftletError.model("\(path): architecture \"\(architecture)\" is not supported; supported are \(known)")
    }
    var config = JSONObject([("model_type", .string(modelType))])
    func integer(_ key: String, _ ggufKey: String) {
      if let value = file.metadata["\(architecture).\(ggufKey)"]?.integer, value > 0 { config[key] = .integer(value) }
    }
    func number(_ key: String, _ ggufKey: String) {
      if let value = file.metadata["\(architecture).\(ggufKey)"]?.double { config[key] = .number(value) }
    }
    integer("hidden_size", "embedding_length")
    integer("intermediate_size", "feed_forward_length")
    integer("num_attention_heads", "attention.head_count")
    integer("num_key_value_heads", "attention.head_count_kv")
    integer("num_hidden_layers", "block_count")
    integer("max_position_embeddings", "context_length")
    integer("head_dim", "attention.key_length")
    integer("sliding_window", "attention.sliding_window")
    number("rms_norm_eps", "attention.layer_norm_rms_epsilon")
    number("rope_theta", "rope.freq_base")
    if let embedding = file.tensor(named: "token_embd.weight") { config["vocab_size"] = .integer(embedding.rows) }
    config["tie_word_embeddings"] = .bool(file.tensor(named: "output.weight") == nil)
    config["attention_bias"] = .bool(file.tensor(named: "blk.0.attn_output.bias") != nil)
    config["mlp_bias"] = .bool(file.tensor(named: "blk.0.ffn_down.bias") != nil)
    if let scaling = ropeScaling(file, architecture) { config["rope_scaling"] = scaling }
    if let rotated = file.metadata["\(architecture).rope.dimension_count"]?.integer,
      let size = config["head_dim"]?.integer ?? headDim(config), rotated < size
    {
      config["partial_rotary_factor"] = .number(Double(rotated) / Double(size))
    }
    if architecture == "gemma3" { addGemma(file, to: &config) }
    return .object(config)
  }

  /// What only Gemma 3 has: the kinds of its layers, the rope base of local ones, and a limit of logits.
  private static func addGemma(_ file: GGUFFile, to config: inout JSONObject) {
    config["query_pre_attn_scalar"] = config["head_dim"] ?? .integer(256)
    if let base = file.metadata["gemma3.rope.freq_base_swa"]?.double { config["rope_local_base_freq"] = .number(base) }
    if let cap = file.metadata["gemma3.final_logit_softcapping"]?.double {
      config["final_logit_softcapping"] = .number(cap)
    }
    let pattern = file.metadata["gemma3.attention.sliding_window_pattern"]
    if let period = pattern?.integer, period > 0 { config["sliding_window_pattern"] = .integer(period) }
    if let isLocal = pattern?.bools {
      config["layer_types"] = .array(isLocal.map { $0 ? "sliding_attention" : "full_attention" })
    }
    if config["sliding_window"] == nil, let layers = config["num_hidden_layers"]?.integer {
      config["layer_types"] = .array(Array(repeating: "full_attention", count: min(layers, 1000)))
    }
  }

  private static func headDim(_ config: JSONObject) -> Int? {
    guard let hiddenSize = config["hidden_size"]?.integer, let heads = config["num_attention_heads"]?.integer, heads > 0
    else { return nil }
    return hiddenSize / heads
  }

  private static func ropeScaling(_ file: GGUFFile, _ architecture: String) -> JSONValue? {
    func values(_ name: String) -> JSONValue? {
      guard let tensor = file.tensor(named: name) else { return nil }
      return .array(CPUBackend.shared.floats(tensor).map { .number(Double($0)) })
    }
    if let factors = values("rope_freqs.weight") { return ["rope_type": "factors", "factors": factors] }
    if let short = values("rope_factors_short.weight"), let long = values("rope_factors_long.weight") {
      var scaling = JSONObject([("rope_type", "longrope"), ("short_factor", short), ("long_factor", long)])
      if let original = file.metadata["\(architecture).rope.scaling.original_context_length"]?.integer {
        scaling["original_max_position_embeddings"] = .integer(original)
      }
      if let factor = file.metadata["\(architecture).rope.scaling.attn_factor"]?.double {
        scaling["attention_factor"] = .number(factor)
      }
      return .object(scaling)
    }
    guard file.metadata["\(architecture).rope.scaling.type"]?.string == "linear",
      let factor = file.metadata["\(architecture).rope.scaling.factor"]?.double
    else { return nil }
    return ["rope_type": "linear", "factor": .number(factor)]
  }

  // MARK: Tensors

  /// The tensor that transformers calls `name`.
  func tensor(named name: String, configuration: TransformerConfiguration) -> Tensor? {
    guard let ggufName = naming.ggufName(of: name), let tensor = file.tensor(named: ggufName) else { return nil }
    let rows = tensor.shape.first ?? 0
    guard let order = naming.rowOrder(of: name, rows: rows, configuration, .fromGGUF) else { return tensor }
    let matrix = tensor.shape.count == 1 ? tensor.reshaped([rows, 1]) : tensor
    return CPUBackend.shared.permutedRows(matrix, order).reshaped(tensor.shape)
  }
}
