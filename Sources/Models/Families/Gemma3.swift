import Diagnostics
import OrderedJSON

extension Family {
  /// Gemma 3, text: norms around both halves of a layer with weights that are offsets from 1, scaled embeddings, GeGLU,
  /// norms on heads, and layers that alternate between a window and everything, each with its own rope base.
  static let gemma3 = Family(modelTypes: ["gemma3_text"]) { transformer, config throws(SwiftletError) in
    transformer.normOffset = 1
    transformer.embeddingScale = Float(transformer.hiddenSize).squareRoot()
    transformer.activation = .gelu
    transformer.hasQueryKeyNorms = true
    transformer.hasOutputNorms = true
    transformer.tiesEmbeddings = try config.optionalBool("tie_word_embeddings") ?? true
    transformer.hasAttentionInputBias = try config.optionalBool("attention_bias") ?? false
    transformer.hasAttentionOutputBias = transformer.hasAttentionInputBias
    let scalar = try config.optionalNumber("query_pre_attn_scalar") ?? 256
    guard scalar > 0 else { throw config.error("query_pre_attn_scalar must be positive") }
    transformer.attentionScale = Float(1 / scalar.squareRoot())
    transformer.logitSoftcap = Float(try config.optionalNumber("final_logit_softcapping") ?? 0)

    let window = try config.optionalSize("sliding_window") ?? 4096
    let kinds = config.json["layer_types"]?.array?.compactMap(\.string)
    let pattern = try config.optionalSize("sliding_window_pattern") ?? 6
    let (local, global) = try rotaries(transformer, config)
    for index in transformer.layers.indices {
      let isLocal: Bool
      if let kinds, kinds.indices.contains(index) {
        isLocal = kinds[index] == "sliding_attention"
      } else {
        isLocal = (index + 1) % pattern != 0
      }
      transformer.layers[index] = .init(window: isLocal ? window : 0, rotary: isLocal ? local : global)
    }
  }

  /// The two bases: `rope_parameters` by kind of layer, or `rope_theta` and `rope_local_base_freq`.
  private static func rotaries(
    _ transformer: TransformerConfiguration, _ config: ConfigurationReader
  ) throws(SwiftletError) -> (local: RotaryConfiguration, global: RotaryConfiguration) {
    if let parameters = config.section("rope_parameters"), let local = parameters.section("sliding_attention"),
      let global = parameters.section("full_attention")
    {
      func rotary(_ section: ConfigurationReader) throws(SwiftletError) -> RotaryConfiguration {
        try RotaryConfiguration(
          config, section: section, headDim: transformer.headDim, maxPositions: transformer.maxPositions)
      }
      return (try rotary(local), try rotary(global))
    }
    let scaling = config.section("rope_scaling")
    var global = try RotaryConfiguration(
      config, section: scaling, headDim: transformer.headDim, maxPositions: transformer.maxPositions)
    if config.json["rope_theta"] == nil { global.base = 1_000_000 }
    let base = try config.optionalNumber("rope_local_base_freq") ?? 10000
    guard base > 0 else { throw config.error("rope_local_base_freq must be positive") }
    return (RotaryConfiguration(base: base, rotated: global.rotated), global)
  }
}
