import Checkpoints
import Diagnostics
import OrderedJSON

extension Family {
  /// Gemma 3, and the language model of its multimodal versions: norms before and after both halves of a layer, with weights
  /// stored as offsets from 1; scaled embeddings; GeGLU; norms on query and key heads; and layers that alternate between a
  /// sliding window and full attention, each kind with its own RoPE base.
  static let gemma3 = Family(
    modelTypes: ["gemma3_text"], wrapperTypes: ["gemma3"],
    defaults: [
      "vocab_size": 262_208, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256,
      "max_position_embeddings": 131_072,
    ],
    className: "Gemma3ForCausalLM", endOfTurnTokens: ["<end_of_turn>"], classifier: .textOnly,
    mlxAppliesWindows: true, gguf: .gemma3
  ) { transformer, config throws(SwiftletError) in
    try transformer.readGemma(config)
    transformer.hasQueryKeyNorms = true
    transformer.logitSoftcap = Float(try config.optionalNumber("final_logit_softcapping") ?? 0)
    transformer.attentionSoftcap = Float(try config.optionalNumber("attn_logit_softcapping") ?? 0)
    let window = try config.optionalSize("sliding_window") ?? 4096
    let pattern = try config.optionalSize("sliding_window_pattern") ?? 6
    let (local, global) = try transformer.windowedRotaries(
      config, localBase: 10000, globalBase: 1_000_000)
    try transformer.setWindows(
      config, window: window, local: local, global: global, isLocal: { ($0 + 1) % pattern != 0 })
  }
}

extension TransformerConfiguration {
  /// What Gemma 2 and 3 share.
  mutating func readGemma(_ config: ConfigurationReader) throws(SwiftletError) {
    normOffset = 1
    embeddingScale = Float(hiddenSize).squareRoot()
    activation = .gelu
    hasOutputNorms = true
    tiesEmbeddings = try config.optionalBool("tie_word_embeddings") ?? true
    hasAttentionInputBias = try config.optionalBool("attention_bias") ?? false
    hasAttentionOutputBias = hasAttentionInputBias
    let scalar = try config.optionalNumber("query_pre_attn_scalar") ?? 256
    guard scalar > 0 else {
      throw config.error("query_pre_attn_scalar must be positive (got \(scalar))")
    }
    attentionScale = Float(1 / scalar.squareRoot())
    if try config.optionalBool("use_bidirectional_attention") == true {
      throw config.error(
        "use_bidirectional_attention is not supported; only causal models can be trained")
    }
  }
}

extension GGUFArchitecture {
  fileprivate static let gemma3 = GGUFArchitecture(
    name: "gemma3",
    renamedParts: [
      "post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm",
      "post_feedforward_layernorm": "post_ffw_norm",
    ],
    appliesWindows: true, check: checkGemma, writeHeader: writeGemmaHeader,
    readHeader: readGemmaHeader)

  @Sendable private static func checkGemma(
    _ transformer: TransformerConfiguration, _ refusal: (String) -> SwiftletError
  ) throws(SwiftletError) {
    if transformer.hasAttentionInputBias { throw refusal("attention bias") }
    // llama.cpp recognizes Gemma 3 27B by its number of layers.
    let is27B = transformer.layers.count == 62
    let scalar = is27B ? transformer.hiddenSize / transformer.attentionHeads : transformer.headDim
    if transformer.attentionScale != Float(1 / Double(scalar).squareRoot()) {
      throw refusal("query_pre_attn_scalar other than \(scalar)")
    }
  }

  /// The window, the RoPE base of the layers that have it, and which ones do if not llama.cpp's five of six.
  @Sendable private static func writeGemmaHeader(
    _ transformer: TransformerConfiguration, _ header: inout GGUFHeader
  ) {
    let isLocal = transformer.layers.map { $0.window > 0 }
    guard let local = transformer.layers.first(where: { $0.window > 0 }) else { return }
    header.set("attention.sliding_window", local.window)
    if let base = local.rotary?.base { header.set("rope.freq_base_swa", .float32(Float(base))) }
    if isLocal != isLocal.indices.map({ ($0 + 1) % 6 != 0 }) {
      header.set("attention.sliding_window_pattern", .array(.bool(isLocal)))
    }
  }

  @Sendable private static func readGemmaHeader(_ file: GGUFFile, _ config: inout JSONObject) {
    config["query_pre_attn_scalar"] = config["head_dim"] ?? .integer(256)
    if let base = file.metadata["gemma3.rope.freq_base_swa"]?.double {
      config["rope_local_base_freq"] = .number(base)
    }
    if let cap = file.metadata["gemma3.final_logit_softcapping"]?.double {
      config["final_logit_softcapping"] = .number(cap)
    }
    let pattern = file.metadata["gemma3.attention.sliding_window_pattern"]
    if let period = pattern?.integer, period > 0 {
      config["sliding_window_pattern"] = .integer(period)
    }
    if let isLocal = pattern?.bools {
      config["layer_types"] = .array(isLocal.map { $0 ? "sliding_attention" : "full_attention" })
    }
    if config["sliding_window"] == nil, let layers = config["num_hidden_layers"]?.integer {
      config["layer_types"] = .array(Array(repeating: "full_attention", count: min(layers, 1000)))
    }
  }
}
