import Checkpoints
import Diagnostics
import OrderedJSON

extension Family {
  /// Gemma 2: like Gemma 3, without norms on heads, with softcaps on attention scores and logits, and a sliding window
  /// in every other layer.
  static let gemma2 = Family(
    modelTypes: ["gemma2"],
    defaults: ["head_dim": 256, "num_key_value_heads": 4, "max_position_embeddings": 8192],
    className: "Gemma2ForCausalLM", endOfTurnTokens: ["<end_of_turn>"], gguf: .gemma2
  ) { transformer, config throws(SwiftletError) in
    try transformer.readGemma(config)
    transformer.logitSoftcap = try config.softcap("final_logit_softcapping", default: 30)
    transformer.attentionSoftcap = try config.softcap("attn_logit_softcapping", default: 50)
    let window = try config.optionalSize("sliding_window") ?? 4096
    let rotary = transformer.layers.first?.rotary
    try transformer.setWindows(
      config, window: window, local: rotary, global: rotary, isLocal: { ($0 + 1) % 2 != 0 })
  }
}

extension ConfigurationReader {
  /// The softcap under `key`; 0 if it is `null`.
  fileprivate func softcap(_ key: String, default usual: Float) throws(SwiftletError) -> Float {
    guard let value = json[key] else { return usual }
    guard !value.isNull else { return 0 }
    guard let cap = value.double, cap > 0, cap.isFinite else {
      throw error("\(key) must be positive or null")
    }
    return Float(cap)
  }
}

extension GGUFArchitecture {
  fileprivate static let gemma2 = GGUFArchitecture(
    name: "gemma2",
    renamedParts: [
      "post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm",
      "post_feedforward_layernorm": "post_ffw_norm",
    ],
    appliesWindows: true,
    check: { transformer, refusal throws(SwiftletError) in
      if transformer.hasAttentionInputBias { throw refusal("attention bias") }
      let isUsual = transformer.layers.enumerated().allSatisfy { ($1.window > 0) == ($0 % 2 == 0) }
      if !isUsual { throw refusal("layer_types other than a sliding window in every other layer") }
      // llama.cpp recognizes Gemma 2 27B by its number of layers.
      let is27B = transformer.layers.count == 46
      let scalar = is27B ? transformer.hiddenSize / transformer.attentionHeads : transformer.headDim
      if transformer.attentionScale != Float(1 / Double(scalar).squareRoot()) {
        throw refusal("query_pre_attn_scalar other than \(scalar)")
      }
    },
    writeHeader: { transformer, header in
      header.set("attn_logit_softcapping", .float32(transformer.attentionSoftcap))
      if let window = transformer.layers.first?.window {
        header.set("attention.sliding_window", window)
      }
    },
    readHeader: { file, config in
      let (heads, hidden) = (config["num_attention_heads"]?.integer, config["hidden_size"]?.integer)
      if config["num_hidden_layers"]?.integer == 46, let heads, let hidden, heads > 0 {
        config["query_pre_attn_scalar"] = .integer(hidden / heads)
      } else {
        config["query_pre_attn_scalar"] = config["head_dim"] ?? .integer(256)
      }
      for key in ["attn_logit_softcapping", "final_logit_softcapping"] {
        if let cap = file.metadata["gemma2.\(key)"]?.double { config[key] = .number(cap) }
      }
    })
}
