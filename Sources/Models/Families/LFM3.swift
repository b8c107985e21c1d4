import Diagnostics
import OrderedJSON

extension Family {
  /// LFM3: like LFM2, with longer convolutions, norms also on the outputs of both halves of a layer, a gate on each head of
  /// attention, and a sliding window in some layers, with positions of their own.
  static let lfm3 = Family(
    modelTypes: ["lfm3"],
    defaults: [
      "vocab_size": 128_000, "hidden_size": 2048, "intermediate_size": 7680, "num_hidden_layers": 24,
      "num_attention_heads": 16, "num_key_value_heads": 4, "head_dim": 128, "max_position_embeddings": 128_000,
      "tie_word_embeddings": true,
    ],
    className: "Lfm3ForCausalLM", endOfTurnTokens: ["<|im_end|>"], classifier: .missing, mlxHasFamily: false
  ) { transformer, config throws(SwiftletError) in
    transformer.hasQueryKeyNorms = true
    transformer.hasHeadGates = try config.optionalBool("use_attention_gate") ?? true
    transformer.hasOutputNorms = try config.optionalBool("use_sandwich_norm") ?? true
    transformer.hasAttentionInputBias = try config.optionalBool("attention_bias") ?? false
    transformer.hasAttentionOutputBias = transformer.hasAttentionInputBias
    let commonEpsilon = try config.optionalNumber("rms_norm_eps")
    transformer.normEpsilon = Float(try config.optionalNumber("norm_eps") ?? commonEpsilon ?? 1e-5)
    transformer.moduleNames = [
      "norm": "embedding_norm", "input_layernorm": "operator_norm", "mlp.gate_proj": "feed_forward.w1",
      "mlp.up_proj": "feed_forward.w3", "mlp.down_proj": "feed_forward.w2",
    ]
    let outputs = [
      "post_attention_layernorm": "post_operator_norm", "pre_feedforward_layernorm": "ffn_norm",
      "post_feedforward_layernorm": "post_ffn_norm",
    ]
    let inputs = ["post_attention_layernorm": "ffn_norm"]
    transformer.moduleNames.merge(transformer.hasOutputNorms ? outputs : inputs) { $1 }
    transformer.fileNames = ["self_attn.g_proj": "self_attn.gate_proj"]
    try transformer.readLFM3Layers(config)
  }
}

extension TransformerConfiguration {
  fileprivate mutating func readLFM3Layers(_ config: ConfigurationReader) throws(SwiftletError) {
    let length = try config.optionalSize("conv_L_cache", atMost: 64) ?? 7
    let hasBias = try config.optionalBool("conv_bias") ?? false
    let window = try config.optionalSize("sliding_window") ?? 256
    let types = try layerTypes(config)
    let local = try rotary(
      config, of: "sliding_attention", usual: ["rope_type": "default", "rope_theta": 10_000], headDim: headDim)
    let global = try rotary(
      config, of: "full_attention",
      usual: ["rope_type": "proportional", "rope_theta": 1_000_000, "partial_rotary_factor": 0.5], headDim: headDim)
    for index in layers.indices {
      let usual = index % 4 == 2 ? "full_attention" : index % 4 == 0 && index > 0 ? "sliding_attention" : "conv"
      switch types?[index] ?? usual {
      case "conv": layers[index] = .init(mixer: .shortConvolution(length: length, hasBias: hasBias), rotary: nil)
      case "sliding_attention": layers[index] = .init(window: window, rotary: local)
      default: layers[index] = .init(rotary: global)
      }
    }
  }
}
