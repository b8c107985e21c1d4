import Diagnostics
import OrderedJSON
import Tensors

/// The sizes and switches of a decoder-only transformer: everything in which families differ.
///
/// A family fills this in from its `config.json` (see `Families/`), whose keys the comments name.
public struct TransformerConfiguration: Sendable, Hashable, Codable {
  /// `model_type`, which selects the family.
  public var modelType: String
  /// What the paths of all modules but the head begin with: `model.`, or `model.language_model.` in a model that also has
  /// a vision tower.
  public var modulePrefix = "model."
  /// `vocab_size`: the number of rows of embedding and head, at least the size of the tokenizer's vocabulary.
  public var vocabularySize: Int
  /// `hidden_size`: the number of elements of a hidden state.
  public var hiddenSize: Int
  /// `intermediate_size`: the number of elements between the two projections of an MLP.
  public var intermediateSize: Int
  /// `num_attention_heads`: the number of query heads.
  public var attentionHeads: Int
  /// `num_key_value_heads`: a divisor of `attentionHeads`; each key/value head serves a group of query heads.
  public var keyValueHeads: Int
  /// `head_dim`, or `hidden_size / num_attention_heads` if missing; even.
  public var headDim: Int
  /// The layers, from the embedding to the head.
  public var layers: [LayerConfiguration]
  /// `max_position_embeddings`: the longest sequence in tokens, without RoPE scaling.
  public var maxPositions: Int
  /// `rms_norm_eps`: added to the mean square in RMS norms.
  public var normEpsilon: Float
  /// Added to the weights of RMS norms: 1 for Gemma, 0 for all others.
  public var normOffset: Float = 0
  /// `tie_word_embeddings`: whether the embedding is also the head.
  public var tiesEmbeddings: Bool
  /// Multiplies the embeddings: √hidden_size for Gemma, `embedding_multiplier` for Granite.
  public var embeddingScale: Float = 1
  /// Multiplies the attention scores: 1/√head_dim, except for Gemma and Granite.
  public var attentionScale: Float
  /// Multiplies what attention and MLP add to the hidden states: `residual_multiplier` for Granite.
  public var residualScale: Float = 1
  /// Multiplies the logits: 1 / `logits_scaling` for Granite.
  public var logitScale: Float = 1
  /// `attn_logit_softcapping`: attention scores are softcap · tanh(score / softcap). 0 for none.
  public var attentionSoftcap: Float = 0
  /// The activation of the gated MLP.
  public var activation: Activation = .silu
  /// The layers that compute queries, keys and values, in this order: three, or one fused layer.
  public var attentionInputs = ["q_proj", "k_proj", "v_proj"]
  /// The layers that compute gate and up: two, or one fused layer.
  public var mlpInputs = ["gate_proj", "up_proj"]
  /// Whether the layers for queries, keys and values have a bias.
  public var hasAttentionInputBias = false
  /// Whether the attention's output layer has a bias.
  public var hasAttentionOutputBias = false
  /// Whether the MLP's layers have a bias.
  public var hasMLPBias = false
  /// Whether the attention's output is multiplied by the sigmoid of a gate, which `q_proj` computes next to each query
  /// head (Qwen3.5).
  public var hasAttentionGate = false
  /// Whether queries and keys pass an RMS norm before rotation (QK norm).
  public var hasQueryKeyNorms = false
  /// Whether that norm is over all heads together (OLMo 2), and not over each head.
  public var normsHeadsTogether = false
  /// Whether the inputs of attention and MLP pass an RMS norm; not in OLMo 2.
  public var hasInputNorms = true
  /// Whether the outputs of attention and MLP pass an RMS norm before they are added (Gemma, OLMo 2).
  public var hasOutputNorms = false
  /// `final_logit_softcapping`: logits become cap · tanh(logit / cap); 0 for no cap.
  public var logitSoftcap: Float = 0

  /// Whether each head's output is multiplied by the sigmoid of a gate, which `g_proj` computes (LFM3).
  public var hasHeadGates = false
  /// Whether each head has a logit that takes a share of attention and has no value (gpt-oss).
  public var hasAttentionSinks = false
  /// Whether values pass an RMS norm without a weight (Gemma 4).
  public var normsValues = false
  /// Whether each layer has a number, `layer_scalar`, that multiplies the hidden states after it (Gemma 4).
  public var hasLayerScalars = false
  /// `hidden_size_per_layer_input`: the number of elements of what each layer is given of a token besides the hidden states
  /// (Gemma 4's per-layer embeddings); 0 for nothing.
  public var perLayerInputSize = 0

  /// Names of modules that differ from Llama's: `operator_norm` for `input_layernorm` in LFM2, for example.
  public var moduleNames: [String: String] = [:]

  /// Names of modules that files call differently than transformers does: `router.layer` for `router` in Granite's mixtures of
  /// experts, for example.
  public var fileNames: [String: String] = [:]

  /// What mixes the tokens of a sequence in a layer.
  public enum Mixer: Sendable, Hashable, Codable {
    /// Softmax attention, within a sliding window if the layer has one.
    case attention
    /// A gated convolution over the last `length` tokens (LFM2).
    case shortConvolution(length: Int, hasBias: Bool)
    /// Linear attention by the gated delta rule, after a convolution over `length` tokens (Qwen3.5).
    case gatedDelta(DeltaShape, length: Int)
  }

  /// A mixture of experts in place of the MLP.
  public struct Experts: Sendable, Hashable, Codable {
    /// The number of experts that the router chooses from.
    public var count: Int
    /// The number of experts that each token goes to.
    public var chosen: Int
    /// The intermediate size of an expert.
    public var intermediateSize: Int
    /// Whether the router's weights for a token add up to 1.
    public var normalizesWeights: Bool
    /// Whether the router has a bias.
    public var hasRouterBias = false
    /// How transformers stores the experts' matrices.
    public var storage = Storage.apart
    /// `router_aux_loss_coef`: how much the routers' auxiliary loss counts in training, unless the training says otherwise.
    public var routerLossCoefficient = 0.001
    /// `output_router_logits`, which adds that loss in training where transformers or TRL wouldn't by default.
    public var returnsRouterLogits = false

    /// A way to store the matrices of experts.
    public enum Storage: String, Sendable, Hashable, Codable {
      /// Each by itself.
      case apart
      /// All of a kind in the weight of one module.
      case stacks
      /// All of a kind in one tensor, each transposed; or their codes and exponents in MXFP4, not transposed (gpt-oss).
      case transposedStacks

      /// mlx-lm's name for the module that transformers calls `experts`.
      var mlxModule: String { self == .transposedStacks ? "experts" : "switch_mlp" }
    }
  }

  /// What may differ from layer to layer.
  public struct LayerConfiguration: Sendable, Hashable, Codable {
    /// Its experts; `nil` for an MLP.
    public var experts: Experts?
    /// What mixes its tokens: attention in most families.
    public var mixer = Mixer.attention
    /// The sliding window: how many keys a query sees, including its own. 0 for full attention.
    public var window = 0
    /// Its rotary embedding; `nil` for a layer without positions.
    public var rotary: RotaryConfiguration?
    /// Its head dim, key/value heads and intermediate size, where they are not those of the configuration.
    public var headDim: Int?, keyValueHeads: Int?, intermediateSize: Int?
    /// Whether its values are its keys before their norm (Gemma 4's `attention_k_eq_v`).
    public var keysAreValues = false
    /// The earlier layer whose keys and values it attends to; `nil` if it has its own (Gemma 4's `num_kv_shared_layers`).
    public var sharedLayer: Int?
  }

  /// The most tokens a sequence may have: `maxPositions`, times the factor of linear RoPE scaling.
  public var contextLength: Int {
    switch layers.first?.rotary?.scaling {
    case .linear(let factor) where factor > 1: Int(Double(maxPositions) * min(factor, 0x1p20))
    // The base grows with the length, without a limit.
    case .dynamic: .max
    default: maxPositions
    }
  }

  /// The experts of the first layer that has some; `nil` if the model is no mixture of experts.
  package var experts: Experts? { layers.lazy.compactMap(\.experts).first }

  /// The shortest sliding window; `nil` if no sequence is longer than one.
  var shortestWindow: Int? {
    layers.map(\.window).filter { $0 > 0 }.min().flatMap { $0 < maxPositions ? $0 : nil }
  }

  /// How the model's experts are stored; `nil` if it has none.
  var expertStorage: Experts.Storage? { experts?.storage }

  /// Whether a layer carries a state from token to token, from which no earlier one can be recovered.
  package var isRecurrent: Bool { layers.contains { $0.mixer != .attention } }

  /// The attention of layer `index`.
  public func attentionShape(layer index: Int) -> AttentionShape {
    let layer = layers[index]
    return AttentionShape(
      attentionHeads: attentionHeads, keyValueHeads: layer.keyValueHeads ?? keyValueHeads,
      headDim: layer.headDim ?? headDim, window: layer.window, scale: attentionScale, softcap: attentionSoftcap)
  }

  /// Whether a later layer attends to the keys and values of layer `index`.
  func isShared(layer index: Int) -> Bool { layers.contains { $0.sharedLayer == index } }
}

extension TransformerConfiguration {
  /// Reads what all families share: sizes, norms, head and positions. Every layer has full attention.
  init(common config: ConfigurationReader) throws(SwiftletError) {
    modelType = try config.string("model_type")
    // The limits are far above any model, so that products of sizes can't overflow.
    vocabularySize = try config.size("vocab_size", atMost: 1 << 24)
    hiddenSize = try config.size("hidden_size", atMost: 1 << 20)
    intermediateSize = try config.size("intermediate_size", atMost: 1 << 22)
    attentionHeads = try config.size("num_attention_heads", atMost: 1 << 14)
    keyValueHeads = try config.optionalSize("num_key_value_heads", atMost: 1 << 14) ?? attentionHeads
    let givenHeadDim = try config.optionalSize("head_dim", atMost: 1 << 14)
    headDim = givenHeadDim ?? hiddenSize / attentionHeads
    maxPositions = try config.optionalSize("max_position_embeddings") ?? 2048
    normEpsilon = Float(try config.optionalNumber("rms_norm_eps") ?? 1e-6)
    tiesEmbeddings = try config.optionalBool("tie_word_embeddings") ?? false
    attentionScale = Float(1 / Double(headDim).squareRoot())
    layers = []
    try checkSizes(config)
    let layerCount = try config.size("num_hidden_layers", atMost: 1000)
    let rotary = try RotaryConfiguration(config, headDim: headDim, maxPositions: maxPositions)
    layers = Array(repeating: LayerConfiguration(window: 0, rotary: rotary), count: layerCount)
  }

  private func checkSizes(_ config: ConfigurationReader) throws(SwiftletError) {
    guard attentionHeads % keyValueHeads == 0 else {
      throw config.error(
        "num_attention_heads must be a multiple of num_key_value_heads (got \(attentionHeads) and \(keyValueHeads))")
    }
    // Sizes within their limits can still exhaust the memory together.
    let matrices = [
      ("vocab_size", Double(vocabularySize)), ("intermediate_size", 2 * Double(intermediateSize)),
      ("head_dim", 3 * Double(attentionHeads) * Double(headDim)),
    ]
    for (key, outputs) in matrices where outputs * Double(hiddenSize) > 0x1p32 {
      throw config.error(
        "\"\(key)\" and \"hidden_size\" give a matrix of more than 2^32 elements; check the file")
    }
    guard headDim > 0, headDim % 2 == 0 else {
      throw config.error("head_dim must be even (got \(headDim))")
    }
    guard normEpsilon >= 0, normEpsilon.isFinite else {
      throw config.error("rms_norm_eps must not be negative (got \(normEpsilon))")
    }
  }
}
