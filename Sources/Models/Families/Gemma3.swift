import Diagnostics
import OrderedJSON

extension Family {
  /// Gemma 3, text: norms around both halves of a layer with weights that are offsets from 1, scaled embeddings, GeGLU,
  /// norms on heads, and layers that alternate between a window and everything, each with its own rope base.
  static let gemma3 = Family(modelTypes: ["gemma3_text"]) { decoder, config throws(SwiftletError) in
    decoder.normOffset = 1
    decoder.embeddingScale = Float(decoder.width).squareRoot()
    decoder.activation = .gelu
    decoder.hasHeadNorms = true
    decoder.hasOutputNorms = true
    decoder.tiesHead = try config.optionalBool("tie_word_embeddings") ?? true
    decoder.hasAttentionInputBias = try config.optionalBool("attention_bias") ?? false
    decoder.hasAttentionOutputBias = decoder.hasAttentionInputBias
    let scalar = try config.optionalNumber("query_pre_attn_scalar") ?? 256
    guard scalar > 0 else { throw config.error("query_pre_attn_scalar must be positive") }
    decoder.attentionScale = Float(1 / scalar.squareRoot())
    decoder.logitSoftcap = Float(try config.optionalNumber("final_logit_softcapping") ?? 0)

    let window = try config.optionalSize("sliding_window") ?? 4096
    let kinds = config.json["layer_types"]?.array?.compactMap(\.string)
    let pattern = try config.optionalSize("sliding_window_pattern") ?? 6
    let (local, global) = try rotaries(decoder, config)
    for index in decoder.layers.indices {
      let isLocal: Bool
      if let kinds, kinds.indices.contains(index) {
        isLocal = kinds[index] == "sliding_attention"
      } else {
        isLocal = (index + 1) % pattern != 0
      }
      decoder.layers[index] = .init(window: isLocal ? window : 0, rotary: isLocal ? local : global)
    }
  }

  /// The two bases: `rope_parameters` by kind of layer, or `rope_theta` and `rope_local_base_freq`.
  private static func rotaries(
    _ decoder: DecoderConfiguration, _ config: ConfigurationReader
  ) throws(SwiftletError) -> (local: RotaryConfiguration, global: RotaryConfiguration) {
    if let parameters = config.section("rope_parameters"), let local = parameters.section("sliding_attention"),
      let global = parameters.section("full_attention")
    {
      func rotary(_ section: ConfigurationReader) throws(SwiftletError) -> RotaryConfiguration {
        try RotaryConfiguration(
          config, section: section, headSize: decoder.headSize, longestContext: decoder.longestContext)
      }
      return (try rotary(local), try rotary(global))
    }
    let scaling = config.section("rope_scaling")
    var global = try RotaryConfiguration(
      config, section: scaling, headSize: decoder.headSize, longestContext: decoder.longestContext)
    if config.json["rope_theta"] == nil { global.base = 1_000_000 }
    let base = try config.optionalNumber("rope_local_base_freq") ?? 10000
    guard base > 0 else { throw config.error("rope_local_base_freq must be positive") }
    return (RotaryConfiguration(base: base, rotated: global.rotated), global)
  }
}
