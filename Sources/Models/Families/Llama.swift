import Diagnostics

extension Family {
  /// Llama 2 and 3, SmolLM and SmolLM2, and every other model published as `llama`.
  static let llama = Family(
    modelTypes: ["llama"], className: "LlamaForCausalLM", endOfTurnTokens: ["<|eot_id|>", "<|im_end|>"], gguf: .llama
  ) { transformer, config throws(SwiftletError) in
    transformer.hasAttentionInputBias = try config.optionalBool("attention_bias") ?? false
    transformer.hasAttentionOutputBias = transformer.hasAttentionInputBias
    transformer.hasMLPBias = try config.optionalBool("mlp_bias") ?? false
  }
}

extension GGUFArchitecture {
  /// Llama, and Mistral without its sliding window.
  static let llama = GGUFArchitecture(
    name: "llama", permutesQueryKeyRows: true, writesVocabularySize: true, writesRotaryDim: true,
    features: [.biases, .ropeFactors])
}
