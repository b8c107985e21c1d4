import Diagnostics

extension Family {
  /// SmolLM3: Llama with layers that have no positions.
  static let smolLM3 = Family(modelTypes: ["smollm3"]) { transformer, config throws(SwiftletError) in
    transformer.tiesEmbeddings = try config.optionalBool("tie_word_embeddings") ?? true
    transformer.hasAttentionInputBias = try config.optionalBool("attention_bias") ?? false
    transformer.hasAttentionOutputBias = transformer.hasAttentionInputBias
    transformer.hasMLPBias = try config.optionalBool("mlp_bias") ?? false
    let given = config.json["no_rope_layers"]?.array?.map { $0.integer ?? 1 }
    let interval = try config.optionalSize("no_rope_layer_interval") ?? 4
    for index in transformer.layers.indices {
      let hasPositions = given.map { index < $0.count ? $0[index] != 0 : true } ?? ((index + 1) % interval != 0)
      if !hasPositions { transformer.layers[index].rotary = nil }
    }
  }
}
