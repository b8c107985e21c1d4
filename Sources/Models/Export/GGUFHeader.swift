import Checkpoints
import Diagnostics

/// The header of an exported GGUF model: its configuration in llama.cpp's keys, and notes on what llama.cpp computes
/// differently.
package struct GGUFHeader {
  /// `general.*` and the architecture's own keys.
  private(set) var metadata = GGUFMetadata()
  /// Notes on when llama.cpp's results will differ, one sentence each.
  private(set) var notes: [String] = []
  let architecture: GGUFArchitecture

  /// Creates the header of a model; `path` is named in errors.
  /// - Throws: `SwiftletError` if llama.cpp can't compute the model.
  package init(_ transformer: TransformerConfiguration, name: String, path: String) throws(SwiftletError) {
    guard let architecture = transformer.family.gguf else {
      throw SwiftletError.model("model_type \"\(transformer.modelType)\" can't be exported as GGUF", in: path)
    }
    self.architecture = architecture
    try Self.check(transformer, architecture, path)
    metadata["general.architecture"] = .string(architecture.name)
    metadata["general.type"] = .string("model")
    metadata["general.name"] = .string(name)
    addSizes(transformer)
    addPositions(transformer)
    architecture.writeHeader(transformer, &self)
    noteWindows(transformer)
    metadata["general.quantization_version"] = .uint32(2)
  }

  /// Sets one of the architecture's own keys, named without its prefix.
  mutating func set(_ key: String, _ value: GGUFValue) { metadata["\(architecture.name).\(key)"] = value }

  /// Sets one of the architecture's own keys to a size.
  mutating func set(_ key: String, _ value: Int) { set(key, .uint32(UInt32(clamping: value))) }

  private mutating func addSizes(_ transformer: TransformerConfiguration) {
    set("block_count", transformer.layers.count)
    set("context_length", transformer.maxPositions)
    set("embedding_length", transformer.hiddenSize)
    set("feed_forward_length", transformer.intermediateSize)
    set("attention.head_count", transformer.attentionHeads)
    set("attention.head_count_kv", transformer.keyValueHeads)
    if !architecture.derivesHeadDim {
      set("attention.key_length", transformer.headDim)
      set("attention.value_length", transformer.headDim)
    }
    set("attention.layer_norm_rms_epsilon", .float32(transformer.normEpsilon))
    if let experts = transformer.layers.lazy.compactMap(\.experts).first {
      set("expert_count", experts.count)
      set("expert_used_count", experts.chosen)
    }
    if architecture.writesVocabularySize { set("vocab_size", transformer.vocabularySize) }
    if transformer.logitSoftcap > 0 { set("final_logit_softcapping", .float32(transformer.logitSoftcap)) }
  }

  private mutating func addPositions(_ transformer: TransformerConfiguration) {
    guard let rotary = transformer.globalRotary else { return }
    if architecture.writesRotaryDim { set("rope.dimension_count", rotary.rotaryDim) }
    set("rope.freq_base", .float32(Float(rotary.base)))
    switch rotary.scaling {
    case .linear(let factor):
      set("rope.scaling.type", .string("linear"))
      set("rope.scaling.factor", .float32(Float(factor)))
    case .longrope(_, _, let original, let attentionFactor):
      set("rope.scaling.original_context_length", original)
      set("rope.scaling.attn_factor", .float32(Float(attentionFactor)))
      notes.append(
        "llama.cpp uses the long RoPE factors for texts of any length if its context is longer than \(original) tokens; "
          + "start it with --ctx-size \(original) or less for texts that fit")
    case .dynamic(_, let limit):
      notes.append("llama.cpp has no dynamic RoPE scaling; its answers differ beyond \(limit) tokens")
    case .yarn(let yarn):
      if !yarn.truncates {
        notes.append("llama.cpp rounds the bounds of YaRN's frequencies, so its answers may differ a little")
      }
      set("rope.scaling.type", .string("yarn"))
      set("rope.scaling.factor", .float32(Float(yarn.factor)))
      set("rope.scaling.original_context_length", yarn.original)
      set("rope.scaling.yarn_beta_fast", .float32(Float(yarn.fast)))
      set("rope.scaling.yarn_beta_slow", .float32(Float(yarn.slow)))
    case .none, .llama3, .factors, .proportional: break
    }
  }

  private mutating func noteWindows(_ transformer: TransformerConfiguration) {
    guard !architecture.appliesWindows, let window = transformer.shortestWindow else { return }
    notes.append(
      "llama.cpp has no sliding window for this architecture; its answers differ beyond \(window) tokens")
  }

  /// Throws for what llama.cpp's graph of the architecture can't compute.
  private static func check(
    _ transformer: TransformerConfiguration, _ architecture: GGUFArchitecture, _ path: String
  ) throws(SwiftletError) {
    func refusal(_ feature: String) -> SwiftletError {
      SwiftletError.model("llama.cpp's \(architecture.name) doesn't support \(feature)", in: path)
    }
    let features = architecture.features
    if !features.contains(.biases) {
      if transformer.hasAttentionOutputBias { throw refusal("a bias on the attention's output") }
      if transformer.hasMLPBias { throw refusal("a bias in the MLP (mlp_bias)") }
    }
    let isWhole = transformer.layers.allSatisfy { layer in
      layer.rotary.map { $0.rotaryDim == layer.headDim ?? transformer.headDim } ?? true
    }
    if !isWhole || transformer.globalRotary == nil, !features.contains(.partialRotation) {
      throw refusal("partial rotation (partial_rotary_factor)")
    }
    if architecture.derivesHeadDim, transformer.attentionHeads * transformer.headDim != transformer.hiddenSize {
      throw refusal("head_dim other than hidden_size / num_attention_heads")
    }
    switch transformer.globalRotary?.scaling {
    case .llama3, .factors:
      if !features.contains(.ropeFactors) { throw refusal("RoPE scaling by factors") }
    case .longrope:
      if !features.contains(.longRope) { throw refusal("longrope scaling") }
    case .yarn(let yarn):
      guard features.contains(.yarn), yarn.truncates || features.contains(.exactYarn) else {
        throw refusal("this yarn scaling")
      }
    case .proportional:
      if !features.contains(.proportionalRope) { throw refusal("rope_type proportional") }
    default: break
    }
    let withExperts = transformer.layers.count { $0.experts != nil }
    if withExperts > 0, withExperts < transformer.layers.count { throw refusal("layers without experts") }
    if transformer.globalRotary?.queryGrowth != nil, !features.contains(.queryGrowth) {
      throw refusal("llama_4_scaling_beta")
    }
    try architecture.check(transformer, refusal)
  }
}

extension TransformerConfiguration {
  /// The positions of the layers with full attention, or of the first layer with positions if all have a window.
  private var fullAttentionRotary: RotaryConfiguration? {
    layers.first { $0.rotary != nil && $0.window == 0 }?.rotary
  }

  var globalRotary: RotaryConfiguration? {
    fullAttentionRotary ?? layers.first { $0.rotary != nil }?.rotary
  }

  /// The tensors that a GGUF file holds for scaled positions, one factor per frequency.
  var ropeTensors: [(name: String, factors: [Float])] {
    switch globalRotary?.scaling {
    case .factors(let factors): [("rope_freqs.weight", factors.map { Float($0) })]
    case .llama3: [("rope_freqs.weight", globalRotary?.divisors ?? [])]
    // llama.cpp has the frequencies of whole heads, and no zeros among them.
    case .proportional(let rotated, let factor):
      [("rope_freqs.weight", (0..<(globalRotary?.rotaryDim ?? 0) / 2).map { $0 < rotated ? Float(factor) : 1e30 })]
    case .longrope(let short, let long, _, _):
      [
        ("rope_factors_long.weight", long.map { Float($0) }), ("rope_factors_short.weight", short.map { Float($0) }),
      ]
    default: []
    }
  }
}

extension RotaryConfiguration {
  /// The divisor of each frequency with Llama 3.1's scaling.
  fileprivate var divisors: [Float] {
    let unscaled = RotaryConfiguration(base: base, rotaryDim: rotaryDim).frequencies(length: 1)
    return zip(unscaled, frequencies(length: 1)).map { unscaled, scaled in unscaled / scaled }
  }
}
