import Diagnostics
import OrderedJSON
import Tensors

/// The shape of a transformer-only transformer: what the families differ in, and nothing else.
///
/// A family fills this from its `config.json` (see `Families/`); names in comments are that file's keys.
public struct TransformerConfiguration: Sendable {
  /// `model_type`
  public var modelType: String
  /// `vocab_size`
  public var vocabularySize: Int
  /// `hidden_size`
  public var hiddenSize: Int
  /// `intermediate_size`
  public var intermediateSize: Int
  /// `num_attention_heads`
  public var attentionHeads: Int
  /// `num_key_value_heads`
  public var keyValueHeads: Int
  /// `head_dim`, else `hidden_size / num_attention_heads`
  public var headDim: Int
  /// One for each layer.
  public var layers: [LayerConfiguration]
  /// `max_position_embeddings`
  public var maxPositions: Int
  /// `rms_norm_eps`
  public var normEpsilon: Float
  /// What is added to norm weights: 1 for Gemma.
  public var normOffset: Float = 0
  /// `tie_word_embeddings`: the head is the embedding.
  public var tiesEmbeddings: Bool
  /// What embeddings are multiplied by: √hiddenSize for Gemma.
  public var embeddingScale: Float = 1
  /// What attention scores are multiplied by.
  public var attentionScale: Float
  /// Inside the gated unit.
  public var activation: Activation = .silu
  /// The projections of queries, keys and values, in this order: three, or one that makes all.
  public var attentionInputs = ["q_proj", "k_proj", "v_proj"]
  /// The projections of gate and up: two, or one that makes both.
  public var mlpInputs = ["gate_proj", "up_proj"]
  /// Whether query, key and value projections have a bias.
  public var hasAttentionInputBias = false
  /// Whether the attention's output projection has a bias.
  public var hasAttentionOutputBias = false
  /// Whether the feed-forward projections have a bias.
  public var hasMLPBias = false
  /// Whether each query and key head is normed.
  public var hasQueryKeyNorms = false
  /// Whether the outputs of attention and feed-forward are normed before they are added (Gemma).
  public var hasOutputNorms = false
  /// `final_logit_softcapping`, 0 for none.
  public var logitSoftcap: Float = 0

  /// How one layer's attention looks.
  public struct LayerConfiguration: Sendable {
    /// Keys that a query sees, itself included; 0 for all.
    public var window = 0
    /// Its positions; `nil` for none.
    public var rotary: RotaryConfiguration?
  }

  /// Tokens that a sequence may have: `maxPositions`, times what positions are stretched by.
  public var contextLength: Int {
    switch layers.first?.rotary?.scaling {
    case .linear(let factor) where factor > 1: Int(Double(maxPositions) * min(factor, 0x1p20))
    // The base grows with the length, without an end.
    case .dynamic: .max
    default: maxPositions
    }
  }

  /// How the attention of layer `index` looks.
  public func attentionShape(layer index: Int) -> AttentionShape {
    AttentionShape(
      attentionHeads: attentionHeads, keyValueHeads: keyValueHeads, headDim: headDim, window: layers[index].window,
      scale: attentionScale)
  }
}

extension TransformerConfiguration {
  /// What all families read the same way: sizes, norm, head, positions. Every layer attends to everything.
  init(common config: ConfigurationReader) throws(SwiftletError) {
    modelType = try config.string("model_type")
    // Limits far above any model there is, so that no product of sizes can overflow.
    vocabularySize = try config.size("vocab_size", atMost: 1 << 24)
    hiddenSize = try config.size("hidden_size", atMost: 1 << 20)
    intermediateSize = try config.size("intermediate_size", atMost: 1 << 22)
    attentionHeads = try config.size("num_attention_heads", atMost: 1 << 14)
    keyValueHeads = try config.optionalSize("num_key_value_heads", atMost: 1 << 14) ?? attentionHeads
    headDim = try config.optionalSize("head_dim", atMost: 1 << 14) ?? hiddenSize / attentionHeads
    maxPositions = try config.optionalSize("max_position_embeddings") ?? 2048
    normEpsilon = Float(try config.optionalNumber("rms_norm_eps") ?? 1e-6)
    tiesEmbeddings = try config.optionalBool("tie_word_embeddings") ?? false
    attentionScale = Float(1 / Double(headDim).squareRoot())
    let layerCount = try config.size("num_hidden_layers", atMost: 1000)
    guard attentionHeads % keyValueHeads == 0 else {
      throw config.error("num_key_value_heads (\(keyValueHeads)) must divide num_attention_heads (\(attentionHeads))")
    }
    // What the sizes allow together may still exhaust the memory.
    let matrices = [
      ("vocab_size", Double(vocabularySize)), ("intermediate_size", 2 * Double(intermediateSize)),
      ("head_dim", 3 * Double(attentionHeads) * Double(headDim)),
    ]
    for (key, outputs) in matrices where outputs * Double(hiddenSize) > 0x1p32 {
      throw config.error("\"\(key)\" and \"hidden_size\" make a matrix of over 2^32 elements; is the file damaged?")
    }
    guard headDim > 0, headDim % 8 == 0 else {
      throw config.error("heads of \(headDim) elements are not a multiple of 8")
    }
    guard normEpsilon >= 0, normEpsilon.isFinite else { throw config.error("rms_norm_eps must not be negative") }
    let rotary = try RotaryConfiguration(config, headDim: headDim, maxPositions: maxPositions)
    layers = Array(repeating: LayerConfiguration(window: 0, rotary: rotary), count: layerCount)
  }
}

/// Reads `config.json` with one clear sentence for whatever is missing or mistyped.
struct ConfigurationReader {
  let json: JSONValue
  /// The file, for messages.
  let path: String

  func error(_ reason: String) -> SwiftletError { SwiftletError.model("\(path): \(reason)") }

  func string(_ key: String) throws(SwiftletError) -> String {
    guard let value = json[key] else { throw error("\"\(key)\" is missing; is this the right file?") }
    guard let text = value.string else { throw error("\"\(key)\" should be a string, not \(value.kind)") }
    return text
  }

  /// A positive integer.
  func size(_ key: String, atMost limit: Int = 1 << 31) throws(SwiftletError) -> Int {
    guard let value = try optionalSize(key, atMost: limit) else {
      throw error("\"\(key)\" is missing; is this the right file?")
    }
    return value
  }

  func optionalSize(_ key: String, atMost limit: Int = 1 << 31) throws(SwiftletError) -> Int? {
    guard let value = json[key], !value.isNull else { return nil }
    guard let number = value.integer, number > 0, number <= limit else {
      throw error("\"\(key)\" should be a positive integer, at most \(limit)")
    }
    return number
  }

  func optionalNumber(_ key: String) throws(SwiftletError) -> Double? {
    guard let value = json[key], !value.isNull else { return nil }
    guard let number = value.double, number.isFinite else {
      throw error("\"\(key)\" should be a number, not \(value.kind)")
    }
    return number
  }

  /// Refuses a model whose gated units have another function than the family's transformer computes.
  func checkActivation(_ key: String, isOneOf known: [String]) throws(SwiftletError) {
    guard let name = json[key]?.string, !known.contains(name) else { return }
    throw error("\"\(key)\" \"\(name)\" is not supported; this model_type has \(known[0])")
  }

  func optionalBool(_ key: String) throws(SwiftletError) -> Bool? {
    guard let value = json[key], !value.isNull else { return nil }
    guard let truth = value.bool else { throw error("\"\(key)\" should be true or false, not \(value.kind)") }
    return truth
  }

  func numbers(_ key: String) throws(SwiftletError) -> [Double] {
    guard let elements = json[key]?.array else { throw error("\"\(key)\" should be a list of numbers") }
    var numbers: [Double] = []
    for element in elements {
      guard let number = element.double else { throw error("\"\(key)\" should be a list of numbers") }
      numbers.append(number)
    }
    return numbers
  }

  /// The object under `key`, to be read the same way.
  func section(_ key: String) -> ConfigurationReader? {
    guard let value = json[key], case .object = value else { return nil }
    return ConfigurationReader(json: value, path: "\(path), \"\(key)\"")
  }
}
