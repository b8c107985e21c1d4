import Checkpoints
import Diagnostics
import Essentials
import OrderedJSON

extension Family {
  /// OLMo 2: norms only after attention and MLP, and norms over all query heads and all key heads together.
  static let olmo2 = Family(
    modelTypes: ["olmo2"], defaults: ["rms_norm_eps": 1e-5], className: "Olmo2ForCausalLM",
    endOfTurnTokens: ["<|endoftext|>", "<|im_end|>"], gguf: .olmo2
  ) { transformer, config throws(SwiftletError) in
    try transformer.readOLMo(config)
  }

  /// OLMo 3: OLMo 2 with a sliding window in three of four layers; only the others scale their positions.
  static let olmo3 = Family(
    modelTypes: ["olmo3"], defaults: ["rms_norm_eps": 1e-5], className: "Olmo3ForCausalLM",
    endOfTurnTokens: ["<|endoftext|>", "<|im_end|>"], mlxAppliesWindows: true, gguf: .olmo2
  ) { transformer, config throws(SwiftletError) in
    try transformer.readOLMo(config)
    let window = try config.optionalSize("sliding_window") ?? 4096
    let (local, global) = try transformer.windowedRotaries(
      config, localBase: nil, globalBase: 500_000)
    try transformer.setWindows(
      config, window: window, local: local, global: global, isLocal: { ($0 + 1) % 4 != 0 })
  }
}

extension TransformerConfiguration {
  fileprivate mutating func readOLMo(_ config: ConfigurationReader) throws(SwiftletError) {
    hasInputNorms = false
    hasOutputNorms = true
    hasQueryKeyNorms = true
    normsHeadsTogether = true
    hasAttentionInputBias = try config.optionalBool("attention_bias") ?? false
    hasAttentionOutputBias = hasAttentionInputBias
  }
}

extension GGUFArchitecture {
  fileprivate static let olmo2 = GGUFArchitecture(
    name: "olmo2",
    renamedParts: [
      "post_attention_layernorm": "post_attention_norm",
      "post_feedforward_layernorm": "post_ffw_norm",
    ],
    features: [.yarn], derivesHeadDim: true, appliesWindows: true,
    check: { transformer, refusal throws(SwiftletError) in
      if transformer.hasAttentionInputBias { throw refusal("attention bias") }
      guard case .yarn(let yarn)? = transformer.globalRotary?.scaling else { return }
      // llama.cpp computes it from the factor, whatever the header says.
      if abs(yarn.attentionFactor - (0.1 * log(yarn.factor) + 1)) > 1e-6 {
        throw refusal("an attention_factor other than 0.1 * log(factor) + 1")
      }
    },
    writeHeader: { transformer, header in
      guard let local = transformer.layers.first(where: { $0.window > 0 }) else { return }
      if case .yarn(let yarn)? = transformer.globalRotary?.scaling {
        header.set("rope.scaling.yarn_attn_factor", .float32(Float(yarn.attentionFactor)))
      }
      if let base = local.rotary?.base { header.set("rope.freq_base_swa", .float32(Float(base))) }
      header.set("attention.sliding_window", local.window)
      header.set(
        "attention.sliding_window_pattern", .array(.bool(transformer.layers.map { $0.window > 0 })))
    },
    readHeader: { file, config in
      guard config["sliding_window"] != nil else { return }
      config["model_type"] = "olmo3"
      if let isLocal = file.metadata["olmo2.attention.sliding_window_pattern"]?.bools {
        config["layer_types"] = .array(isLocal.map { $0 ? "sliding_attention" : "full_attention" })
      }
    })
}
