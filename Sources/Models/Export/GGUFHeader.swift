import Diagnostics
import Checkpoints

/// The header of a GGUF model: its architecture in llama.cpp's keys, and what llama.cpp does otherwise.
struct GGUFHeader {
  /// `general.*` and the architecture's own keys.
  private(set) var metadata = GGUFMetadata()
  /// Sentences on where llama.cpp's results will differ, and when.
  private(set) var notes: [String] = []
  let naming: GGUFNaming

  /// The header of a model of this shape.
  /// - Parameter path: named in messages.
  /// - Throws: `SwiftletError` where llama.cpp would load the file as something else, or not at all.
  init(_ transformer: TransformerConfiguration, name: String, path: String) throws(SwiftletError) {
    guard let naming = GGUFNaming(modelType: transformer.modelType) else {
      throw SwiftletError.model("\(path): llama.cpp has no architecture for model_type \"\(transformer.modelType)\"")
    }
    self.naming = naming
    try Self.check(transformer, naming.architecture, path)
    let architecture = naming.architecture
    metadata["general.architecture"] = .string(architecture)
    metadata["general.type"] = .string("model")
    metadata["general.name"] = .string(name)
    addSizes(transformer)
    addPositions(transformer)
    if architecture == "gemma3" { addKindsOfLayers(transformer) }
    noteWindows(transformer)
    metadata["general.quantization_version"] = .uint32(2)
  }

  private mutating func set(_ key: String, _ value: GGUFValue) { metadata["\(naming.architecture).\(key)"] = value }

  private mutating func set(_ key: String, _ value: Int) {
    set(key, .uint32(UInt32(clamping: value)))
  }

  private mutating func addSizes(_ transformer: TransformerConfiguration) {
    set("block_count", transformer.layers.count)
    set("context_length", transformer.maxPositions)
    set("embedding_length", transformer.hiddenSize)
    set("feed_forward_length", transformer.intermediateSize)
    set("attention.head_count", transformer.attentionHeads)
    set("attention.head_count_kv", transformer.keyValueHeads)
    set("attention.key_length", transformer.headDim)
    set("attention.value_length", transformer.headDim)
    set("attention.layer_norm_rms_epsilon", .float32(transformer.normEpsilon))
    set("vocab_size", transformer.vocabularySize)
    if transformer.logitSoftcap > 0 { set("final_logit_softcapping", .float32(transformer.logitSoftcap)) }
  }

  private mutating func addPositions(_ transformer: TransformerConfiguration) {
    guard let rotary = transformer.widestRotary else { return }
    set("rope.dimension_count", rotary.rotated)
    set("rope.freq_base", .float32(Float(rotary.base)))
    switch rotary.scaling {
    case .linear(let factor):
      set("rope.scaling.type", .string("linear"))
      set("rope.scaling.factor", .float32(Float(factor)))
    case .longrope(_, _, let original, let attentionFactor):
      set("rope.scaling.original_context_length", original)
      set("rope.scaling.attn_factor", .float32(Float(attentionFactor)))
      notes.append(
        "llama.cpp takes the long rope factors where its context is set longer than \(original) tokens, whatever the "
          + "length of the text; start it with --ctx-size \(original) or less for texts that fit")
    case .dynamic(_, let limit):
      notes.append("llama.cpp has no dynamic rope scaling: it answers differently beyond \(limit) tokens")
    case .none, .llama3, .factors: break
    }
  }

  /// Gemma: which layers have a window, where that is not llama.cpp's own five of six, and their rope base.
  private mutating func addKindsOfLayers(_ transformer: TransformerConfiguration) {
    let isLocal = transformer.layers.map { $0.window > 0 }
    guard let local = transformer.layers.first(where: { $0.window > 0 }) else { return }
    set("attention.sliding_window", local.window)
    if let base = local.rotary?.base { set("rope.freq_base_swa", .float32(Float(base))) }
    if isLocal != isLocal.indices.map({ ($0 + 1) % 6 != 0 }) {
      set("attention.sliding_window_pattern", .array(.bool(isLocal)))
    }
  }

  private mutating func noteWindows(_ transformer: TransformerConfiguration) {
    guard naming.architecture != "gemma3", let window = transformer.layers.map(\.window).filter({ $0 > 0 }).min() else {
      if naming.architecture == "phi3" { set("attention.sliding_window", 0) }
      return
    }
    if naming.architecture == "phi3" { set("attention.sliding_window", window) }
    guard window < transformer.maxPositions else { return }
    notes.append(
      "llama.cpp has no sliding window for this architecture: it answers differently beyond \(window) tokens")
  }

  /// Refuses what llama.cpp's graph of the architecture cannot compute.
  private static func check(
    _ transformer: TransformerConfiguration, _ architecture: String, _ path: String
  ) throws(SwiftletError) {
    func refuse(_ what: String) -> SwiftletError {
      SwiftletError.model("\(path): llama.cpp's \(architecture) has no \(what)")
    }
    if transformer.hasAttentionOutputBias, architecture != "llama" { throw refuse("bias on the attention's output") }
    if transformer.hasMLPBias, architecture != "llama" { throw refuse("bias on the feed-forward layers") }
    let isWhole = transformer.widestRotary?.rotated == transformer.headDim
    if !isWhole, architecture != "phi3" { throw refuse("partial rotation (partial_rotary_factor)") }
    if ["qwen2", "phi3"].contains(architecture),
      transformer.attentionHeads * transformer.headDim != transformer.hiddenSize
    {
      throw refuse("head_dim other than hidden_size / num_attention_heads")
    }
    switch transformer.widestRotary?.scaling {
    case .llama3, .factors:
      if architecture != "llama" { throw refuse("rope scaling by factors") }
    case .longrope:
      if architecture != "phi3" { throw refuse("longrope scaling") }
    default: break
    }
    if architecture == "smollm3" {
      let isUsual = transformer.layers.enumerated().allSatisfy {
        ($0.element.rotary == nil) == (($0.offset + 1) % 4 == 0)
      }
      if !isUsual { throw refuse("choice of layers without positions (no_rope_layers); it leaves out every fourth") }
    }
    if architecture == "gemma3" { try checkGemma(transformer, refuse) }
  }

  private static func checkGemma(
    _ transformer: TransformerConfiguration, _ refuse: (String) -> SwiftletError
  ) throws(SwiftletError) {
    if transformer.hasAttentionInputBias { throw refuse("attention bias") }
    // llama.cpp knows Gemma 3 27B by its number of layers.
    let size =
      transformer.layers.count == 62 ? transformer.hiddenSize / transformer.attentionHeads : transformer.headDim
    if transformer.attentionScale != Float(1 / Double(size).squareRoot()) {
      throw refuse("query_pre_attn_scalar other than \(size)")
    }
  }
}

extension TransformerConfiguration {
  /// The positions of the layers that see everything; of Gemma's two kinds the global one.
  fileprivate var widestRotary: RotaryConfiguration? {
    (layers.first { $0.rotary != nil && $0.window == 0 } ?? layers.first { $0.rotary != nil })?.rotary
  }

  /// The tensors that a GGUF file has for stretched positions, one factor for each frequency.
  var ropeTensors: [(name: String, factors: [Float])] {
    switch widestRotary?.scaling {
    case .factors(let factors): [("rope_freqs.weight", factors.map { Float($0) })]
    case .llama3: [("rope_freqs.weight", widestRotary?.divisors ?? [])]
    case .longrope(let short, let long, _, _):
      [
        ("rope_factors_long.weight", long.map { Float($0) }), ("rope_factors_short.weight", short.map { Float($0) }),
      ]
    default: []
    }
  }
}

extension RotaryConfiguration {
  /// What each frequency of Llama 3.1's scaling is divided by.
  fileprivate var divisors: [Float] {
    let plain = RotaryConfiguration(base: base, rotated: rotated).frequencies(length: 1)
    return zip(plain, frequencies(length: 1)).map { plain, scaled in plain / scaled }
  }
}
