import Diagnostics

extension Family {
  /// Qwen2 and Qwen2.5, and the DeepSeek-R1 distillations on them: biases on queries, keys and values.
  static let qwen2 = Family(modelTypes: ["qwen2"]) { transformer, config throws(SwiftletError) in
    transformer.hasAttentionInputBias = true
    try transformer.useQwenWindows(config)
  }

  /// Qwen3, dense: norms on query and key heads.
  static let qwen3 = Family(modelTypes: ["qwen3"]) { transformer, config throws(SwiftletError) in
    transformer.hasQueryKeyNorms = true
    transformer.hasAttentionInputBias = try config.optionalBool("attention_bias") ?? false
    transformer.hasAttentionOutputBias = transformer.hasAttentionInputBias
    try transformer.useQwenWindows(config)
  }
}

extension TransformerConfiguration {
  /// Qwen's windows are off unless `use_sliding_window`; then layers from `max_window_layers` on have one.
  fileprivate mutating func useQwenWindows(_ config: ConfigurationReader) throws(SwiftletError) {
    guard try config.optionalBool("use_sliding_window") == true, let window = try config.optionalSize("sliding_window")
    else { return }
    let first = try config.optionalSize("max_window_layers") ?? 28
    for index in layers.indices where index >= first { layers[index].window = window }
  }
}
