import Diagnostics
import OrderedJSON

extension Family {
  /// Gemma 4, and the language model of its multimodal versions: like Gemma 3, with plain weights of norms, norms on values, a
  /// number that multiplies each layer's output, larger heads and fewer of them for keys in layers without a window,
  /// proportional rotary embeddings there, layers that share keys and values, and per-layer embeddings in the small sizes.
  static let gemma4 = Family(
    modelTypes: ["gemma4_text"], wrapperTypes: ["gemma4"],
    defaults: gemma4Defaults.merging([
      ("max_position_embeddings", 131_072), ("sliding_window", 512), ("hidden_size_per_layer_input", 256),
    ]),
    className: "Gemma4ForCausalLM", endOfTurnTokens: ["<turn|>"], classifier: .missing,
    mlxAppliesWindows: true, gguf: .gemma4
  ) { transformer, config throws(SwiftletError) in
    try transformer.readGemma4(config)
  }

  /// Gemma 4 12B, which reads images and sounds without towers, and has no per-layer embeddings.
  static let gemma4Unified = Family(
    modelTypes: ["gemma4_unified_text"], wrapperTypes: ["gemma4_unified"],
    defaults: gemma4Defaults.merging([("max_position_embeddings", 262_144), ("sliding_window", 1024)]),
    className: "Gemma4UnifiedForCausalLM", endOfTurnTokens: ["<turn|>"], classifier: .missing,
    mlxAppliesWindows: true, gguf: .gemma4
  ) { transformer, config throws(SwiftletError) in
    try transformer.readGemma4(config)
  }

  private static let gemma4Defaults: JSONObject = [
    "vocab_size": 262_144, "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 30,
    "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "tie_word_embeddings": true,
    "vocab_size_per_layer_input": 262_144,
  ]
}

extension JSONObject {
  fileprivate func merging(_ members: [(String, JSONValue)]) -> JSONObject {
    var merged = self
    for (key, value) in members { merged[key] = value }
    return merged
  }
}

extension TransformerConfiguration {
  fileprivate mutating func readGemma4(_ config: ConfigurationReader) throws(SwiftletError) {
    if try config.optionalBool("enable_moe_block") == true {
      throw config.error("enable_moe_block, experts beside the MLP, is not supported; use a dense model")
    }
    if let kind = config.json["use_bidirectional_attention"]?.string, kind != "vision" {
      throw config.error(
        "use_bidirectional_attention \(kind.quotedExcerpt) is not supported; only causal models can be trained")
    }
    embeddingScale = Float(hiddenSize).squareRoot()
    attentionScale = 1
    activation = .gelu
    hasOutputNorms = true
    hasQueryKeyNorms = true
    normsValues = true
    hasLayerScalars = true
    hasAttentionInputBias = try config.optionalBool("attention_bias") ?? false
    hasAttentionOutputBias = hasAttentionInputBias
    logitSoftcap = Float(try config.optionalNumber("final_logit_softcapping") ?? 0)
    perLayerInputSize = try config.count("hidden_size_per_layer_input", atMost: 1 << 16)
    let rows = try config.size("vocab_size_per_layer_input", atMost: 1 << 24)
    guard perLayerInputSize == 0 || rows == vocabularySize else {
      throw config.error(
        "vocab_size_per_layer_input must be vocab_size (got \(rows) and \(vocabularySize))")
    }
    try readLayers(config)
  }

  private mutating func readLayers(_ config: ConfigurationReader) throws(SwiftletError) {
    var types =
      try layerTypes(config)
      ?? layers.indices.map { ($0 + 1) % 6 == 0 ? "full_attention" : "sliding_attention" }
    types[types.count - 1] = "full_attention"
    let isLocal = types.map { $0 == "sliding_attention" }
    let window = try config.size("sliding_window")
    let keysAreValues = try config.optionalBool("attention_k_eq_v") ?? false
    let (globalDim, globalHeads) = try globalSizes(config, isLocal: isLocal, keysAreValues: keysAreValues)
    let local = try rotary(
      config, of: "sliding_attention", usual: ["rope_type": "default", "rope_theta": 10_000], headDim: headDim)
    let global = try rotary(
      config, of: "full_attention",
      usual: ["rope_type": "proportional", "rope_theta": 1_000_000, "partial_rotary_factor": 0.25], headDim: globalDim)
    let shared = try config.count("num_kv_shared_layers", atMost: layers.count)
    let isWide = try config.optionalBool("use_double_wide_mlp") ?? false
    let first = layers.count - shared
    for index in layers.indices {
      var layer = LayerConfiguration(window: isLocal[index] ? window : 0, rotary: isLocal[index] ? local : global)
      if !isLocal[index] {
        (layer.headDim, layer.keyValueHeads) = (globalDim, globalHeads)
        layer.keysAreValues = keysAreValues
      }
      if index >= first {
        guard let source = (0..<first).last(where: { isLocal[$0] == isLocal[index] }) else {
          throw config.error(
            "num_kv_shared_layers leaves no layer of the type \(types[index].quotedExcerpt) before them")
        }
        layer.sharedLayer = source
        if isWide { layer.intermediateSize = 2 * intermediateSize }
      }
      layers[index] = layer
    }
  }

  /// The head dim and key/value heads of layers without a window. Newer files list them layer by layer.
  private func globalSizes(
    _ config: ConfigurationReader, isLocal: [Bool], keysAreValues: Bool
  ) throws(SwiftletError) -> (headDim: Int, heads: Int) {
    var section = config
    var heads = keyValueHeads
    if let layers = config.section("per_layer_config") {
      if let index = isLocal.firstIndex(of: false), let own = layers.section(String(index)) {
        section = own
        heads = try own.optionalSize("num_key_value_heads", atMost: 1 << 14) ?? heads
      }
    } else if keysAreValues {
      heads = try config.optionalSize("num_global_key_value_heads", atMost: 1 << 14) ?? heads
    }
    let listed = config.json["per_layer_config"] == nil ? "global_head_dim" : "head_dim"
    let dim = try section.optionalSize(listed, atMost: 1 << 14) ?? 512
    guard dim % 2 == 0, attentionHeads % heads == 0 else {
      throw config.error(
        "\(listed) must be even, and num_attention_heads a multiple of num_global_key_value_heads")
    }
    return (dim, heads)
  }
}

extension ConfigurationReader {
  /// An integer that may be 0, which is also the meaning of a missing key.
  fileprivate func count(_ key: String, atMost limit: Int) throws(SwiftletError) -> Int {
    guard let value = json[key], !value.isNull else { return 0 }
    guard let number = value.integer, number >= 0, number <= limit else {
      throw error("\"\(key)\" must be an integer from 0 to \(limit)")
    }
    return number
  }
}
