import Diagnostics

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

extension TransformerConfiguration {
  /// Qwen has sliding windows only with `use_sliding_window`, in the layers from `max_window_layers` on.
  fileprivate mutating func readQwenWindows(_ config: ConfigurationReader) throws(SwiftletError) {
    guard try config.optionalBool("use_sliding_window") == true, let window = try config.optionalSize("sliding_window")
    else { return }
    let first = try config.optionalSize("max_window_layers") ?? 28
    for index in layers.indices where index >= first { layers[index].window = window }
  }
}
