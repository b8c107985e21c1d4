import Diagnostics
import Essentials
import OrderedJSON
import Tensors
import Tokenizers

/// The settings of a LoRA adapter: PEFT's `LoraConfig`, with its defaults.
public struct LoRAConfiguration: Sendable, Hashable, Codable {
  /// The rank of the updates.
  public var rank = 8
  /// The numerator of the scale alpha / rank.
  public var alpha = 8.0
  /// The probability of dropping an element of an update's input during training.
  public var dropout = 0.0
  /// The layers that get an update; `nil` for those PEFT chooses for the model's architecture.
  public var targetModules: TargetModules?
  /// Parameters of experts that get an update, by their paths or the ends of these, such as `mlp.experts.gate_up_proj`
  /// (`target_parameters`). With some, and without `targetModules`, no layers get one.
  public var targetParameters: [String] = []
  /// Layers that get none even if `targetModules` selects them.
  public var excludeModules: TargetModules?
  /// Whether the scale is alpha / √rank (rsLoRA, Kalajdzievski 2023, arXiv:2312.03732).
  public var usesRSLoRA = false
  /// Whether the magnitudes of weight rows are trained apart from their directions (DoRA, arXiv:2402.09353).
  public var usesDoRA = false
  /// Ranks of the layers whose path matches a pattern. The first match counts.
  public var rankPattern: [ModulePattern<Int>] = []
  /// Alphas of the layers whose path matches a pattern. The first match counts.
  public var alphaPattern: [ModulePattern<Double>] = []
  /// Indices of the transformer layers that get updates (`layers_to_transform`); `nil` for all.
  public var layersToTransform: [Int]?
  /// Names of the module lists that `layersToTransform` counts in; empty for any.
  public var layersPattern: [String] = []
  /// Modules that are trained whole, in float32, and saved with the adapter. They get no updates, whatever
  /// `targetModules` selects.
  public var modulesToSave: [String] = []
  /// Whether B has a bias, which is trained too (`lora_bias`).
  public var hasBias = false
  /// Tokens whose rows of the embedding or head are trained (`trainable_token_indices`); `nil` for none.
  public var trainableTokens: TokenIndices?
  /// What the model with the adapter does. The method of training sets it.
  public var task = Task.languageModel
  /// How new matrices are initialized.
  public var initialization = Initialization.kaiming

  /// Creates settings with PEFT's defaults; see also `lora(rank:alpha:dropout:targetModules:)`.
  public init() {}

  /// PEFT's `task_type`.
  public enum Task: String, Sendable, Hashable, Codable {
    /// Predict text.
    case languageModel = "CAUSAL_LM"
    /// Score whole sequences with a head that is trained and saved with the adapter.
    case sequenceClassification = "SEQ_CLS"
  }

  /// The names that PEFT adds to `modules_to_save` for sequence classification; a model has one of them.
  static let headNames = ["classifier", "score"]

  /// A selection of layers by their paths, such as `model.layers.0.self_attn.q_proj`.
  public enum TargetModules: Sendable, Hashable {
    /// Layers whose path is one of these, or ends with a dot and one of these.
    case names([String])
    /// Layers whose entire path matches a regular expression.
    case pattern(String)
    /// All linear layers except the head.
    case allLinear
  }

  /// A value for the modules that a pattern matches.
  public struct ModulePattern<Value: Sendable & Hashable & Codable>: Sendable, Hashable, Codable {
    /// A regular expression for the end of a path, starting at a component.
    public var pattern: String
    /// The value for modules that match.
    public var value: Value

    /// Creates a pattern; it is checked when an adapter is created.
    public init(_ pattern: String, _ value: Value) {
      self.pattern = pattern
      self.value = value
    }
  }

  /// Tokens of an embedding or head, by their ids.
  public enum TokenIndices: Sendable, Hashable, Codable {
    /// Of the embedding; and of the head, if that is tied to it.
    case embedding([Int])
    /// Of the modules whose path ends with a name: `embed_tokens` or `lm_head`.
    case modules([ModulePattern<[Int]>])
  }

  /// How A and B are initialized. A new adapter doesn't change the model.
  public enum Initialization: Sendable, Hashable {
    /// Uniform in ±1/√in (Kaiming with a = √5), PEFT's `init_lora_weights=True`.
    case kaiming
    /// Normal with standard deviation 1 / rank.
    case gaussian
    /// Both random, in orthogonal subspaces: PEFT's `init_lora_weights="orthogonal"`. The rank must be even.
    case orthogonal
    /// The principal singular vectors of the weight (PiSSA, arXiv:2404.02948): PEFT's `pissa`, or with a number of
    /// iterations its faster `pissa_niter_N`. What the product is initially is subtracted from the update, so that the
    /// weight stays as it is.
    case pissa(iterations: Int?)
  }

  /// Settings for a new adapter, with the choices of the QLoRA paper (arXiv:2305.14314). Everything else keeps PEFT's
  /// defaults.
  /// - Parameters:
  ///   - rank: the rank of the updates.
  ///   - alpha: the numerator of the scale alpha / rank; by default twice the rank.
  ///   - dropout: the probability of dropping an element of an update's input during training.
  ///   - targetModules: the layers that get an update; `nil` for those PEFT chooses for the model's architecture.
  public static func lora(
    rank: Int = 16, alpha: Double? = nil, dropout: Double = 0, targetModules: TargetModules? = .allLinear
  ) -> LoRAConfiguration {
    var configuration = LoRAConfiguration()
    configuration.rank = rank
    configuration.alpha = alpha ?? Double(2 * rank)
    configuration.dropout = dropout
    configuration.targetModules = targetModules
    return configuration
  }

  /// The settings of the adapter as it is saved. One of the initialization `pissa` is saved as a plain adapter of twice the
  /// rank with the same scale, as PEFT converts it.
  var asSaved: LoRAConfiguration {
    guard case .pissa = initialization else { return self }
    var saved = self
    saved.initialization = .kaiming
    saved.rank *= 2
    saved.alpha *= usesRSLoRA ? 2.0.squareRoot() : 2
    saved.rankPattern = rankPattern.map { ModulePattern($0.pattern, 2 * $0.value) }
    saved.alphaPattern = alphaPattern.map { ModulePattern($0.pattern, 2 * $0.value) }
    return saved
  }

  /// Why these settings can't be combined; `nil` if they can.
  var contradiction: String? {
    if !targetParameters.isEmpty {
      if dropout > 0 { return "target_parameters has no dropout; set lora_dropout to 0" }
      if usesDoRA { return "target_parameters can't be combined with use_dora; leave out one of them" }
      if hasBias { return "target_parameters can't be combined with lora_bias; leave out one of them" }
      guard [.kaiming, .gaussian].contains(initialization) else {
        return "target_parameters needs init_lora_weights true or gaussian (got \(initialization.name)); change it"
      }
    }
    if hasBias {
      if usesDoRA { return "lora_bias can't be combined with use_dora; leave out one of them" }
      guard initialization == .kaiming else {
        return "lora_bias needs the default init_lora_weights; leave out one of them"
      }
    }
    if case .pissa = initialization {
      if usesDoRA { return "init_lora_weights pissa can't be combined with use_dora; leave out one of them" }
      if usesRSLoRA, !rankPattern.isEmpty || !alphaPattern.isEmpty {
        return "init_lora_weights pissa can't be combined with both use_rslora and patterns; leave out one of them"
      }
    }
    return nil
  }

  /// Checks that new updates of these layers can be trained.
  func check(_ layers: [Linear]) throws(SwiftletError) {
    if let contradiction { throw SwiftletError.model(contradiction) }
    if usesDoRA, dropout > 0 {
      throw SwiftletError.model("DoRA (use_dora) is trained without dropout only; set lora_dropout to 0")
    }
    for layer in layers {
      let rank = rank(of: layer.path)
      switch initialization {
      case .orthogonal where rank % 2 != 0:
        throw SwiftletError.model(
          "init_lora_weights orthogonal needs an even rank, but one is \(rank); choose an even lora_r")
      case .pissa:
        guard layer.weight.value.type.isFloat else {
          throw SwiftletError.model(
            "init_lora_weights pissa needs weights that are stored as floats, but \(layer.path) is "
              + "\(layer.weight.value.type); use another initialization")
        }
        guard rank <= min(layer.inputSize, layer.outputSize) else {
          throw SwiftletError.model(
            "init_lora_weights pissa needs a rank of at most \(min(layer.inputSize, layer.outputSize)) for "
              + "\(layer.path); lower lora_r")
        }
      default: break
      }
    }
  }

  // MARK: Layers

  /// The rank of the update of the layer at `path`.
  public func rank(of path: String) -> Int { Self.value(for: path, in: rankPattern) ?? rank }

  /// The scale of the update of the layer at `path`.
  public func scale(of path: String) -> Float {
    let alpha = Self.value(for: path, in: alphaPattern) ?? alpha
    let rank = Double(rank(of: path))
    return Float(usesRSLoRA ? alpha / rank.squareRoot() : alpha / rank)
  }

  /// The first match, as in PEFT's `get_pattern_key`.
  private static func value<Value>(for path: String, in patterns: [ModulePattern<Value>]) -> Value? {
    patterns.first { isMatch("(.*\\.)?(\($0.pattern))", path) }?.value
  }

  /// Whether a regular expression matches all of `path`.
  static func isMatch(_ pattern: String, _ path: String) -> Bool {
    (try? RegularExpression("^(?:\(pattern))$"))?.matches(path) ?? false
  }

  /// Whether the layer at `path` gets an update. `targetModules` must not be `nil`.
  public func targets(_ path: String) -> Bool {
    guard let targetModules, !isInSavedModule(path), Self.isSelected(path, by: targetModules) else { return false }
    return isTransformed(path) && !(excludeModules.map { Self.isSelected(path, by: $0) } ?? false)
  }

  /// Whether `modulesToSave` names the module at `path` or one around it. It is trained whole and gets no update.
  private func isInSavedModule(_ path: String) -> Bool { modulesToSave.contains { ".\(path).".contains(".\($0).") } }

  /// Whether one of `modulesToSave` selects the module at `path` or one around it. As in PEFT, it does if it is the end
  /// of the path, even of a component: `norm` selects `input_layernorm` too.
  func savesModule(_ name: String, at path: String) -> Bool {
    var module = path[...]
    while true {
      if module.hasSuffix(name) { return true }
      guard let dot = module.lastIndex(of: ".") else { return false }
      module = module[..<dot]
    }
  }

  /// Whether the index in `path` is one of `layersToTransform`.
  private func isTransformed(_ path: String) -> Bool {
    guard let layersToTransform else { return true }
    let patterns =
      layersPattern.isEmpty
      ? [#".*?\.[^.]*"#] : layersPattern.map { #"(?:.*?\.)?(?:\#($0))"# }
    for pattern in patterns {
      // With (?n), only the named group captures.
      guard let index = (try? RegularExpression(#"(?n)^\#(pattern)\.(?<index>\d+)\."#))?.firstGroup(in: path) else {
        continue
      }
      return Int(index).map(layersToTransform.contains) ?? false
    }
    return false
  }

  /// The names in `targetModules` that match none of these layers.
  public func unmatchedTargets(among paths: [String]) -> [String] {
    guard case .names(let names)? = targetModules else { return [] }
    return names.filter { name in !paths.contains { Self.isNamed(name, $0) } }
  }

  static func isNamed(_ name: String, _ path: String) -> Bool { path == name || path.hasSuffix("." + name) }

  private static func isSelected(_ path: String, by modules: TargetModules) -> Bool {
    switch modules {
    case .names(let names): names.contains { isNamed($0, path) }
    case .pattern(let pattern): isMatch(pattern, path)
    case .allLinear: true
    }
  }

  /// These settings with target modules: unless they are set, the defaults for the family that the model has.
  func resolved(for transformer: Transformer) -> LoRAConfiguration {
    var resolved = self
    if task == .sequenceClassification {
      resolved.modulesToSave += Self.headNames.filter { !modulesToSave.contains($0) }
    }
    guard targetModules == nil else { return resolved }
    guard targetParameters.isEmpty else {
      resolved.targetModules = .names([])
      return resolved
    }
    let names = Set(transformer.linearLayers.map(\.name))
    resolved.targetModules = .names(transformer.configuration.family.defaultLoRATargets.filter(names.contains))
    return resolved
  }
}

extension LoRAConfiguration.Initialization: Codable {
  /// PEFT's name; `kaiming` for its default.
  public var name: String {
    switch self {
    case .kaiming: "kaiming"
    case .gaussian: "gaussian"
    case .orthogonal: "orthogonal"
    case .pissa(let iterations): iterations.map { "pissa_niter_\($0)" } ?? "pissa"
    }
  }

  /// The initialization of this name, in lowercase; `nil` if it isn't supported.
  public init?(name: String) {
    let prefix = "pissa_niter_"
    switch name {
    case "kaiming": self = .kaiming
    case "gaussian": self = .gaussian
    case "orthogonal": self = .orthogonal
    case "pissa": self = .pissa(iterations: nil)
    case _ where name.hasPrefix(prefix):
      guard let count = Int(name.dropFirst(prefix.count)), (0...1000).contains(count) else { return nil }
      self = .pissa(iterations: count)
    default: return nil
    }
  }

  /// Reads the name.
  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    let name = try container.decode(String.self)
    guard let value = Self(name: name) else {
      throw DecodingError.dataCorruptedError(in: container, debugDescription: "\(name) is not an initialization")
    }
    self = value
  }

  /// Writes the name.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(name)
  }
}

extension LoRAConfiguration.TargetModules: Codable {
  /// Reads PEFT's form: a list of names, a regular expression, or "all-linear".
  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if let names = try? container.decode([String].self) {
      self = .names(names)
    } else {
      let text = try container.decode(String.self)
      self = text == "all-linear" ? .allLinear : .pattern(text)
    }
  }

  /// Writes PEFT's form: a list of names, a regular expression, or "all-linear".
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    switch self {
    case .names(let names): try container.encode(names)
    case .pattern(let pattern): try container.encode(pattern)
    case .allLinear: try container.encode("all-linear")
    }
  }
}
