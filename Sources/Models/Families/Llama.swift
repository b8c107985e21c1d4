import Diagnostics

extension Family {
  /// Llama 2 and 3, SmolLM and SmolLM2, and everyone who publishes as `llama`.
  static let llama = Family(modelTypes: ["llama"]) { transformer, config throws(SwiftletError) in
    transformer.hasAttentionInputBias = try config.optionalBool("attention_bias") ?? false
    transformer.hasAttentionOutputBias = transformer.hasAttentionInputBias
    transformer.hasMLPBias = try config.optionalBool("mlp_bias") ?? false
  }
}
