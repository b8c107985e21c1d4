import Diagnostics

extension Family {
  /// Qwen2 and Qwen2.5, and the DeepSeek-R1 distillations on them: biases on queries, keys and values.
  static let qwen2 = Family(modelTypes: ["qwen2"]) { decoder, config throws(SwiftletError) in
    decoder.hasAttentionInputBias = true
    try decoder.useQwenWindows(config)
  }

  /// Qwen3, dense: norms on query and key heads.
  static let qwen3 = Family(modelTypes: ["qwen3"]) { decoder, config throws(SwiftletError) in
    decoder.hasHeadNorms = true
    decoder.hasAttentionInputBias = try config.optionalBool("attention_bias") ?? false
    decoder.hasAttentionOutputBias = decoder.hasAttentionInputBias
    try decoder.useQwenWindows(config)
  }
}

extension DecoderConfiguration {
  /// Qwen's windows are off unless `use_sliding_window`; then layers from `max_window_layers` on have one.
  fileprivate mutating func useQwenWindows(_ config: ConfigurationReader) throws(SwiftletError) {
    guard try config.optionalBool("use_sliding_window") == true, let window = try config.optionalSize("sliding_window")
    else { return }
    let first = try config.optionalSize("max_window_layers") ?? 28
    for index in layers.indices where index >= first { layers[index].window = window }
  }
}
