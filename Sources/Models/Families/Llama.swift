import Diagnostics

extension Family {
  /// Llama 2 and 3, SmolLM and SmolLM2, and everyone who publishes as `llama`.
  static let llama = Family(modelTypes: ["llama"]) { decoder, config throws(SwiftletError) in
    decoder.hasAttentionInputBias = try config.optionalBool("attention_bias") ?? false
    decoder.hasAttentionOutputBias = decoder.hasAttentionInputBias
    decoder.hasFeedForwardBias = try config.optionalBool("mlp_bias") ?? false
  }
}
