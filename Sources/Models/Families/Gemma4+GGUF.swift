import Checkpoints
import Diagnostics
import OrderedJSON
import Tensors

extension GGUFArchitecture {
  /// Gemma 4, dense: head dims, key/value heads and intermediate sizes of both kinds of layers, and per-layer embeddings.
  static let gemma4 = GGUFArchitecture(
    name: "gemma4",
    renamedParts: [
      "post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm",
      "post_feedforward_layernorm": "post_ffw_norm", "layer_scalar": "layer_output_scale",
      "per_layer_input_gate": "inp_gate", "per_layer_projection": "proj", "post_per_layer_input_norm": "post_norm",
      "embed_tokens_per_layer": "per_layer_token_embd", "per_layer_model_projection": "per_layer_model_proj",
      "per_layer_projection_norm": "per_layer_proj_norm",
    ],
    writesRotaryDim: true, features: [.proportionalRope], spaceTokenizer: "gemma4",
    layersWithoutLoRA: ["per_layer_model_projection"], appliesWindows: true, check: checkGemma4,
    writeHeader: writeGemma4Header, readHeader: readGemma4Header)

  @Sendable private static func checkGemma4(
    _ transformer: TransformerConfiguration, _ refusal: (String) -> SwiftletError
  ) throws(SwiftletError) {
    let layers = transformer.layers
    if transformer.hasAttentionInputBias { throw refusal("attention bias") }
    for layer in layers where layer.window > 0 && layer.rotary?.scaling != RotaryConfiguration.Scaling.none {
      throw refusal("RoPE scaling in layers with a sliding window")
    }
    for layer in layers where layer.window == 0 {
      guard case .proportional = layer.rotary?.scaling else {
        throw refusal("RoPE other than proportional in layers with full attention")
      }
    }
    let first = layers.firstIndex { $0.sharedLayer != nil } ?? layers.count
    // It takes those of the last two layers that have their own, the first of which must have the window.
    for layer in layers[first...] where first < 2 || layer.sharedLayer != first - (layer.window > 0 ? 2 : 1) {
      throw refusal("these layer_types with num_kv_shared_layers")
    }
  }

  @Sendable private static func writeGemma4Header(
    _ transformer: TransformerConfiguration, _ header: inout GGUFHeader
  ) {
    let layers = transformer.layers
    let isLocal = layers.map { $0.window > 0 }
    let global = layers.first { $0.window == 0 }
    let local = layers.first { $0.window > 0 }
    for part in ["key", "value"] {
      header.set("attention.\(part)_length", global?.headDim ?? transformer.headDim)
      header.set("attention.\(part)_length_swa", transformer.headDim)
    }
    header.set("rope.dimension_count_swa", transformer.headDim)
    if let base = local?.rotary?.base { header.set("rope.freq_base_swa", .float32(Float(base))) }
    // The key is required, even if no layer has a window.
    header.set("attention.sliding_window", local?.window ?? transformer.maxPositions)
    header.set("attention.sliding_window_pattern", .array(.bool(isLocal)))
    // llama.cpp takes 30 for a missing key.
    header.set("final_logit_softcapping", .float32(transformer.logitSoftcap))
    header.set("attention.shared_kv_layers", layers.count { $0.sharedLayer != nil })
    header.set("embedding_length_per_layer_input", transformer.perLayerInputSize)
    header.setIfVarying(
      "feed_forward_length", layers.map { $0.intermediateSize ?? transformer.intermediateSize })
    header.setIfVarying("attention.head_count_kv", layers.map { $0.keyValueHeads ?? transformer.keyValueHeads })
  }

  @Sendable private static func readGemma4Header(_ file: GGUFFile, _ config: inout JSONObject) {
    func value(_ key: String) -> GGUFValue? { file.metadata["gemma4.\(key)"] }
    func set(_ key: String, _ ggufKey: String) { config[key] = value(ggufKey)?.integer.map { .integer($0) } }
    if let experts = value("expert_count")?.integer, experts > 0 { config["enable_moe_block"] = true }
    config["global_head_dim"] = config["head_dim"]
    set("head_dim", "attention.key_length_swa")
    set("num_kv_shared_layers", "attention.shared_kv_layers")
    config["hidden_size_per_layer_input"] = .integer(value("embedding_length_per_layer_input")?.integer ?? 0)
    config["vocab_size_per_layer_input"] = config["vocab_size"]
    // Said of a model without one too: mlx-lm takes 30 for a missing key.
    let cap = value("final_logit_softcapping")?.double ?? 0
    config["final_logit_softcapping"] = cap > 0 ? .number(cap) : .null
    if let sizes = value("feed_forward_length")?.integers, let first = sizes.first, let last = sizes.last {
      config["intermediate_size"] = .integer(first)
      config["use_double_wide_mlp"] = .bool(last != first)
    }
    config["rope_parameters"] = rotaryParameters(file, config)
    config["rope_theta"] = nil
    config["rope_scaling"] = nil
    guard let isLocal = value("attention.sliding_window_pattern")?.bools else { return }
    config["layer_types"] = .array(isLocal.map { $0 ? "sliding_attention" : "full_attention" })
    if let heads = value("attention.head_count_kv")?.integers, heads.count == isLocal.count {
      for (key, kind) in [("num_key_value_heads", true), ("num_global_key_value_heads", false)] {
        config[key] = isLocal.firstIndex(of: kind).map { .integer(heads[$0]) }
      }
    }
    // Layers without a tensor for values take their keys. The last ones may have neither.
    config["attention_k_eq_v"] = .bool(
      isLocal.firstIndex(of: false).map { file.tensor(named: "blk.\($0).attn_v.weight") == nil } ?? false)
  }

  /// `rope_parameters` of both kinds of layers.
  private static func rotaryParameters(_ file: GGUFFile, _ config: JSONObject) -> JSONValue {
    var global = JSONObject([("rope_type", "proportional"), ("rope_theta", config["rope_theta"] ?? 1_000_000)])
    if let tensor = file.tensor(named: "rope_freqs.weight"), tensor.count > 0 {
      // Huge divisors stand for frequencies of zero.
      let divisors = CPUBackend.shared.floats(tensor)
      let rotated = divisors.prefix { $0 < 1e20 }
      global["partial_rotary_factor"] = .number(Double(rotated.count) / Double(divisors.count))
      if let factor = rotated.first, factor != 1 { global["factor"] = .number(Double(factor)) }
    }
    let base = file.metadata["gemma4.rope.freq_base_swa"]?.double ?? 10_000
    return [
      "full_attention": .object(global),
      "sliding_attention": ["rope_type": "default", "rope_theta": .number(base)],
    ]
  }
}

extension GGUFHeader {
  /// Sets one of the architecture's own keys to the sizes of all layers, if they aren't the same.
  fileprivate mutating func setIfVarying(_ key: String, _ sizes: [Int]) {
    guard Set(sizes).count > 1 else { return }
    set(key, .array(.int32(sizes.map { Int32(clamping: $0) })))
  }
}
