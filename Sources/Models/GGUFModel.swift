import Checkpoints
import OrderedJSON
import Tensors

/// A GGUF file seen as a Hugging Face checkpoint: its header as a `config.json`, its tensors under the names and in the
/// row order that transformers uses.
struct GGUFModel: Sendable {
  let file: GGUFFile
  let path: String
  let configuration: JSONValue
  private let ggufNames: [String: String]
  private let architecture: String

  init(_ file: GGUFFile, path: String) throws(ModelError) {
    self.file = file
    self.path = path
    guard let architecture = file.metadata["general.architecture"]?.string else {
      throw ModelError("\(path): the header has no general.architecture; is this a language model?")
    }
    self.architecture = architecture
    configuration = try Self.configuration(file, architecture, path)
    ggufNames = Self.names(file, architecture)
  }

  // MARK: Header

  /// llama.cpp's architecture names and transformers' `model_type`s for them.
  private static let modelTypes = [
    "llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "phi3": "phi3", "gemma3": "gemma3_text", "smollm3": "smollm3",
  ]

  private static func configuration(
    _ file: GGUFFile, _ architecture: String, _ path: String
  ) throws(ModelError) -> JSONValue {
    guard let modelType = modelTypes[architecture] else {
      let known = modelTypes.keys.sorted().joined(separator: ", ")
      throw ModelError("\(path): architecture \"\(architecture)\" is not supported; supported are \(known)")
    }
    var config = JSONObject([("model_type", .string(modelType))])
    func integer(_ key: String, _ ggufKey: String) {
      if let value = file.metadata["\(architecture).\(ggufKey)"]?.integer, value > 0 { config[key] = .integer(value) }
    }
    func number(_ key: String, _ ggufKey: String) {
      if let value = file.metadata["\(architecture).\(ggufKey)"]?.float { config[key] = .number(value) }
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
      let size = config["head_dim"]?.integer ?? headSize(config), rotated < size
    {
      config["partial_rotary_factor"] = .number(Double(rotated) / Double(size))
    }
    if architecture == "gemma3" { config["query_pre_attn_scalar"] = config["head_dim"] ?? .integer(256) }
    return .object(config)
  }

  private static func headSize(_ config: JSONObject) -> Int? {
    guard let width = config["hidden_size"]?.integer, let heads = config["num_attention_heads"]?.integer, heads > 0
    else { return nil }
    return width / heads
  }

  private static func ropeScaling(_ file: GGUFFile, _ architecture: String) -> JSONValue? {
    func widened(_ name: String) -> JSONValue? {
      guard let tensor = file.tensor(named: name) else { return nil }
      return .array(CPUBackend.shared.floats(tensor).map { .number(Double($0)) })
    }
    if let factors = widened("rope_freqs.weight") { return ["rope_type": "factors", "factors": factors] }
    if let short = widened("rope_factors_short.weight"), let long = widened("rope_factors_long.weight") {
      var scaling = JSONObject([("rope_type", "longrope"), ("short_factor", short), ("long_factor", long)])
      if let original = file.metadata["\(architecture).rope.scaling.original_context_length"]?.integer {
        scaling["original_max_position_embeddings"] = .integer(original)
      }
      if let factor = file.metadata["\(architecture).rope.scaling.attn_factor"]?.float {
        scaling["attention_factor"] = .number(factor)
      }
      return .object(scaling)
    }
    guard file.metadata["\(architecture).rope.scaling.type"]?.string == "linear",
      let factor = file.metadata["\(architecture).rope.scaling.factor"]?.float
    else { return nil }
    return ["rope_type": "linear", "factor": .number(factor)]
  }

  // MARK: Tensors

  /// The parts of a layer: llama.cpp's name, transformers' name.
  private static func layerNames(_ architecture: String) -> [(gguf: String, name: String)] {
    var names = [
      ("attn_norm", "input_layernorm"), ("attn_q", "self_attn.q_proj"), ("attn_k", "self_attn.k_proj"),
      ("attn_v", "self_attn.v_proj"), ("attn_qkv", "self_attn.qkv_proj"), ("attn_output", "self_attn.o_proj"),
      ("attn_q_norm", "self_attn.q_norm"), ("attn_k_norm", "self_attn.k_norm"), ("ffn_gate", "mlp.gate_proj"),
      ("ffn_up", architecture == "phi3" ? "mlp.gate_up_proj" : "mlp.up_proj"), ("ffn_down", "mlp.down_proj"),
    ]
    if architecture == "gemma3" {
      names += [
        ("post_attention_norm", "post_attention_layernorm"), ("ffn_norm", "pre_feedforward_layernorm"),
        ("post_ffw_norm", "post_feedforward_layernorm"),
      ]
    } else {
      names.append(("ffn_norm", "post_attention_layernorm"))
    }
    return names
  }

  private static func names(_ file: GGUFFile, _ architecture: String) -> [String: String] {
    var names = [
      "model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
      "lm_head.weight": "output.weight",
    ]
    let parts = layerNames(architecture)
    for layer in 0..<min(file.metadata["\(architecture).block_count"]?.integer ?? 0, file.tensorNames.count) {
      for (gguf, name) in parts {
        for kind in ["weight", "bias"] {
          names["model.layers.\(layer).\(name).\(kind)"] = "blk.\(layer).\(gguf).\(kind)"
        }
      }
    }
    return names
  }

  /// The tensor that transformers calls `name`.
  func tensor(named name: String, configuration: DecoderConfiguration) -> Tensor? {
    guard let ggufName = ggufNames[name], let tensor = file.tensor(named: ggufName) else { return nil }
    let heads: Int
    if ggufName.contains(".attn_q.") {
      heads = configuration.heads
    } else if ggufName.contains(".attn_k.") {
      heads = configuration.keyValueHeads
    } else {
      return tensor
    }
    guard architecture == "llama" || architecture == "smollm3" else { return tensor }
    // llama.cpp rotates neighbours (2i, 2i + 1), transformers halves (i, i + d/2): its converter reorders the rows of
    // each head, and this puts them back.
    let outputs = tensor.shape.first ?? 0
    guard heads > 0, outputs % (2 * heads) == 0 else { return tensor }
    let size = outputs / heads
    let order = (0..<outputs).map { row in
      let within = row % size
      return row - within + within % (size / 2) * 2 + within / (size / 2)
    }
    if tensor.shape.count == 1 {
      return CPUBackend.shared.permutedRows(tensor.reshaped([outputs, 1]), order).reshaped([outputs])
    }
    return CPUBackend.shared.permutedRows(tensor, order)
  }
}
