import Checkpoints
import Diagnostics
import OrderedJSON

extension Family {
  /// gpt-oss: mixtures of experts with biases and a SwiGLU within limits, attention sinks, and a sliding window in every other
  /// layer.
  static let gptOSS = Family(
    modelTypes: ["gpt_oss"],
    defaults: [
      "num_hidden_layers": 36, "vocab_size": 201_088, "hidden_size": 2880, "intermediate_size": 2880, "head_dim": 64,
      "num_attention_heads": 64, "num_key_value_heads": 8, "sliding_window": 128, "max_position_embeddings": 131_072,
      "rms_norm_eps": 1e-5, "rope_theta": 150_000,
    ],
    className: "GptOssForCausalLM", endOfTurnTokens: ["<|return|>", "<|call|>"], mlxAppliesWindows: true,
    gguf: .gptOSS
  ) { transformer, config throws(SwiftletError) in
    transformer.hasAttentionInputBias = try config.optionalBool("attention_bias") ?? true
    transformer.hasAttentionOutputBias = transformer.hasAttentionInputBias
    transformer.hasAttentionSinks = true
    transformer.hasMLPBias = true
    transformer.mlpInputs = ["gate_up_proj"]
    transformer.moduleNames = ["mlp.gate": "mlp.router"]
    transformer.activation = .clampedSwiGLU
    try config.requireNumber("swiglu_alpha", 1.702)
    try config.requireNumber("swiglu_limit", 7)
    try config.checkActivation("hidden_act", isOneOf: ["silu", "swish"])
    let (named, renamed) = (
      try config.optionalSize("num_local_experts", atMost: 4096), try config.optionalSize("num_experts", atMost: 4096)
    )
    var experts = TransformerConfiguration.Experts(
      count: named ?? renamed ?? 128, chosen: try config.optionalSize("num_experts_per_tok", atMost: 4096) ?? 4,
      intermediateSize: transformer.intermediateSize, normalizesWeights: true, hasRouterBias: true,
      storage: .transposedStacks)
    try config.readCommon(&experts, countKey: "num_local_experts")
    let rotary = transformer.layers.first?.rotary
    try transformer.setWindows(
      config, window: try config.optionalSize("sliding_window") ?? 128, local: rotary, global: rotary,
      isLocal: { $0 % 2 == 0 })
    for index in transformer.layers.indices { transformer.layers[index].experts = experts }
  }
}

extension GGUFArchitecture {
  fileprivate static let gptOSS = GGUFArchitecture(
    name: "gpt-oss", renamedParts: ["mlp.router": "ffn_gate_inp", "post_attention_layernorm": "post_attention_norm"],
    features: [.biases, .yarn, .exactYarn], appliesWindows: true,
    writeHeader: { transformer, header in
      header.set("expert_feed_forward_length", transformer.intermediateSize)
      if let window = transformer.layers.map(\.window).filter({ $0 > 0 }).min() {
        header.set("attention.sliding_window", window)
      }
    },
    readHeader: { file, config in
      for (key, ggufKey) in [
        ("num_local_experts", "expert_count"), ("num_experts_per_tok", "expert_used_count"),
        ("intermediate_size", "expert_feed_forward_length"),
      ] {
        config[key] = file.metadata["gpt-oss.\(ggufKey)"]?.integer.map { .integer($0) }
      }
      if var scaling = config["rope_scaling"]?.object {
        scaling["truncate"] = false
        config["rope_scaling"] = .object(scaling)
      }
    })
}

extension ConfigurationReader {
  /// Throws if `key` has another value than the one the family's kernels compute with.
  fileprivate func requireNumber(_ key: String, _ value: Double) throws(SwiftletError) {
    guard let given = try optionalNumber(key), abs(given - value) > 1e-9 else { return }
    throw error("\"\(key)\" must be \(value) (got \(given))")
  }
}
