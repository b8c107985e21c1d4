import Checkpoints
import Diagnostics
import OrderedJSON

extension Family {
  /// Qwen2 and Qwen2.5, and the DeepSeek-R1 distillations based on them: biases on queries, keys and values.
  static let qwen2 = Family(
    modelTypes: ["qwen2"], className: "Qwen2ForCausalLM", endOfTurnTokens: ["<|im_end|>", "<|endoftext|>"],
    gguf: GGUFArchitecture(name: "qwen2", derivesHeadDim: true)
  ) { transformer, config throws(SwiftletError) in
    transformer.hasAttentionInputBias = true
    try transformer.readQwenWindows(config)
  }

  /// Qwen3, dense: RMS norms on the query and key heads.
  static let qwen3 = Family(
    modelTypes: ["qwen3"], className: "Qwen3ForCausalLM", endOfTurnTokens: ["<|im_end|>", "<|endoftext|>"],
    gguf: GGUFArchitecture(name: "qwen3")
  ) { transformer, config throws(SwiftletError) in
    transformer.hasQueryKeyNorms = true
    transformer.hasAttentionInputBias = try config.optionalBool("attention_bias") ?? false
    transformer.hasAttentionOutputBias = transformer.hasAttentionInputBias
    try transformer.readQwenWindows(config)
  }
}

extension Family {
  /// Qwen3's mixtures of experts.
  static let qwen3MoE = Family(
    modelTypes: ["qwen3_moe"], className: "Qwen3MoeForCausalLM", endOfTurnTokens: ["<|im_end|>", "<|endoftext|>"],
    gguf: .qwen3MoE
  ) { transformer, config throws(SwiftletError) in
    transformer.hasQueryKeyNorms = true
    transformer.hasAttentionInputBias = try config.optionalBool("attention_bias") ?? false
    transformer.hasAttentionOutputBias = transformer.hasAttentionInputBias
    try transformer.readQwenWindows(config)
    // transformers 5 writes the second name.
    let (named, renamed) = (
      try config.optionalSize("num_experts", atMost: 4096),
      try config.optionalSize("num_local_experts", atMost: 4096)
    )
    var experts = TransformerConfiguration.Experts(
      count: named ?? renamed ?? 128,
      chosen: try config.optionalSize("num_experts_per_tok", atMost: 4096) ?? 8,
      intermediateSize: try config.optionalSize("moe_intermediate_size", atMost: 1 << 20) ?? 768,
      normalizesWeights: try config.optionalBool("norm_topk_prob") ?? false)
    try config.readCommon(&experts, countKey: "num_experts")
    let step = try config.optionalSize("decoder_sparse_step") ?? 1
    let dense = config.json["mlp_only_layers"]?.array?.compactMap(\.integer) ?? []
    for index in transformer.layers.indices where (index + 1) % step == 0 && !dense.contains(index) {
      transformer.layers[index].experts = experts
    }
  }
}

extension GGUFArchitecture {
  fileprivate static let qwen3MoE = GGUFArchitecture(
    name: "qwen3moe", renamedParts: ["mlp.gate": "ffn_gate_inp"],
    check: { transformer, refusal throws(SwiftletError) in
      if transformer.layers.contains(where: { $0.experts?.normalizesWeights == false }) {
        throw refusal("routers whose weights don't add up to 1 (norm_topk_prob)")
      }
    },
    writeHeader: { transformer, header in
      guard let experts = transformer.layers.first?.experts else { return }
      header.set("expert_feed_forward_length", experts.intermediateSize)
    },
    readHeader: { file, config in
      for (key, ggufKey) in [
        ("num_experts", "expert_count"), ("num_experts_per_tok", "expert_used_count"),
        ("moe_intermediate_size", "expert_feed_forward_length"),
      ] {
        config[key] = file.metadata["qwen3moe.\(ggufKey)"]?.integer.map { .integer($0) }
      }
      // llama.cpp always normalizes them.
      config["norm_topk_prob"] = true
    })
}

extension TransformerConfiguration {
  /// Qwen has sliding windows only with `use_sliding_window`, in the layers from `max_window_layers` on.
  fileprivate mutating func readQwenWindows(_ config: ConfigurationReader) throws(SwiftletError) {
    guard try config.optionalBool("use_sliding_window") == true, let window = try config.optionalSize("sliding_window")
    else { return }
    let first = try config.optionalSize("max_window_layers") ?? 28
    for index in layers.indices where index >= first { layers[index].window = window }
  }
}
