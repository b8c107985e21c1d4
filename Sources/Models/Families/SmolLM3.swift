import Diagnostics

extension Family {
  /// SmolLM3: Llama with some layers that have no positions (NoPE).
  static let smolLM3 = Family(
    modelTypes: ["smollm3"], className: "SmolLM3ForCausalLM", endOfTurnTokens: ["<|im_end|>"], gguf: .smolLM3
  ) { transformer, config throws(SwiftletError) in
    transformer.tiesEmbeddings = try config.optionalBool("tie_word_embeddings") ?? true
    transformer.hasAttentionInputBias = try config.optionalBool("attention_bias") ?? false
    transformer.hasAttentionOutputBias = transformer.hasAttentionInputBias
    transformer.hasMLPBias = try config.optionalBool("mlp_bias") ?? false
    let listed = config.json["no_rope_layers"]?.array?.map { $0.integer ?? 1 }
    let interval = try config.optionalSize("no_rope_layer_interval") ?? 4
    for index in transformer.layers.indices {
      let hasPositions = listed.map { index < $0.count ? $0[index] != 0 : true } ?? ((index + 1) % interval != 0)
      if !hasPositions { transformer.layers[index].rotary = nil }
    }
  }
}

extension GGUFArchitecture {
  fileprivate static let smolLM3 = GGUFArchitecture(
    name: "smollm3", permutesQueryKeyRows: true, writesVocabularySize: true, writesRotaryDim: true,
    check: { transformer, refusal throws(SwiftletError) in
      let isUsual = transformer.layers.enumerated().allSatisfy { index, layer in
        (layer.rotary == nil) == ((index + 1) % 4 == 0)
      }
      if !isUsual { throw refusal("no_rope_layers other than every fourth layer") }
    })
}
