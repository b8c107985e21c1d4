import Checkpoints
import Diagnostics
import OrderedJSON

extension Family {
  /// Gemma 3, text only: norms before and after both halves of a layer, with weights stored as offsets from 1; scaled
  /// embeddings; GeGLU; norms on query and key heads; and layers that alternate between a sliding window and full
  /// attention, each kind with its own RoPE base.
  static let gemma3 = Family(
    modelTypes: ["gemma3_text"], className: "Gemma3ForCausalLM", endOfTurnTokens: ["<end_of_turn>"], gguf: .gemma3
  ) { transformer, config throws(SwiftletError) in
    transformer.normOffset = 1
    transformer.embeddingScale = Float(transformer.hiddenSize).squareRoot()
    transformer.activation = .gelu
    transformer.hasQueryKeyNorms = true
    transformer.hasOutputNorms = true
    transformer.tiesEmbeddings = try config.optionalBool("tie_word_embeddings") ?? true
    transformer.hasAttentionInputBias = try config.optionalBool("attention_bias") ?? false
    transformer.hasAttentionOutputBias = transformer.hasAttentionInputBias
    let scalar = try config.optionalNumber("query_pre_attn_scalar") ?? 256
    guard scalar > 0 else { throw config.error("query_pre_attn_scalar must be positive (got \(scalar))") }
    transformer.attentionScale = Float(1 / scalar.squareRoot())
    transformer.logitSoftcap = Float(try config.optionalNumber("final_logit_softcapping") ?? 0)
    try transformer.readGemmaLayers(config)
  }
}

extension TransformerConfiguration {
  /// Which layers have a window (`layer_types`, or every layer but each `sliding_window_pattern`th), and their RoPE.
  fileprivate mutating func readGemmaLayers(_ config: ConfigurationReader) throws(SwiftletError) {
    let window = try config.optionalSize("sliding_window") ?? 4096
    let types = config.json["layer_types"]?.array?.compactMap(\.string)
    let pattern = try config.optionalSize("sliding_window_pattern") ?? 6
    let (local, global) = try gemmaRotaries(config)
    for index in layers.indices {
      let isLocal: Bool
      if let types, types.indices.contains(index) {
        isLocal = types[index] == "sliding_attention"
      } else {
        isLocal = (index + 1) % pattern != 0
      }
      layers[index] = .init(window: isLocal ? window : 0, rotary: isLocal ? local : global)
    }
  }

  /// `rope_parameters` per layer type (transformers 5), or `rope_theta` and `rope_local_base_freq` (before).
  private func gemmaRotaries(
    _ config: ConfigurationReader
  ) throws(SwiftletError) -> (local: RotaryConfiguration, global: RotaryConfiguration) {
    if let parameters = config.section("rope_parameters"), let local = parameters.section("sliding_attention"),
      let global = parameters.section("full_attention")
    {
      func rotary(_ section: ConfigurationReader) throws(SwiftletError) -> RotaryConfiguration {
        try RotaryConfiguration(config, section: section, headDim: headDim, maxPositions: maxPositions)
      }
      return (try rotary(local), try rotary(global))
    }
    let scaling = config.section("rope_scaling")
    var global = try RotaryConfiguration(config, section: scaling, headDim: headDim, maxPositions: maxPositions)
    if config.json["rope_theta"] == nil { global.base = 1_000_000 }
    let base = try config.optionalNumber("rope_local_base_freq") ?? 10000
    guard base > 0 else { throw config.error("rope_local_base_freq must be positive (got \(base))") }
    return (RotaryConfiguration(base: base, rotaryDim: global.rotaryDim), global)
  }
}

extension GGUFArchitecture {
  fileprivate static let gemma3 = GGUFArchitecture(
    name: "gemma3",
    renamedParts: [
      "post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm",
      "post_feedforward_layernorm": "post_ffw_norm",
    ],
    appliesWindows: true, check: checkGemma, writeHeader: writeGemmaHeader, readHeader: readGemmaHeader)

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
  @Sendable private static func writeGemmaHeader(_ transformer: TransformerConfiguration, _ header: inout GGUFHeader) {
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
    if let base = file.metadata["gemma3.rope.freq_base_swa"]?.double { config["rope_local_base_freq"] = .number(base) }
    if let cap = file.metadata["gemma3.final_logit_softcapping"]?.double {
      config["final_logit_softcapping"] = .number(cap)
    }
    let pattern = file.metadata["gemma3.attention.sliding_window_pattern"]
    if let period = pattern?.integer, period > 0 { config["sliding_window_pattern"] = .integer(period) }
    if let isLocal = pattern?.bools {
      config["layer_types"] = .array(isLocal.map { $0 ? "sliding_attention" : "full_attention" })
    }
    if config["sliding_window"] == nil, let layers = config["num_hidden_layers"]?.integer {
      config["layer_types"] = .array(Array(repeating: "full_attention", count: min(layers, 1000)))
    }
  }
}
