import Diagnostics
import Essentials
import OrderedJSON
import Tokenizers

extension LoRAConfiguration {
  /// How a field of PEFT's `LoraConfig` is treated when an `adapter_config.json` is read.
  package enum Field: Sendable, Equatable {
    /// Its value is used.
    case supported
    /// Its value never changes what the adapter computes.
    case irrelevant
    /// Any value other than null, false or empty is an error that names the field.
    case refused
  }

  /// The fields of PEFT 0.21.2's `LoraConfig`.
  package static let fields: [String: Field] = [
    "peft_type": .supported, "r": .supported, "lora_alpha": .supported, "lora_dropout": .supported,
    "target_modules": .supported,
    "exclude_modules": .supported, "use_rslora": .supported, "rank_pattern": .supported, "alpha_pattern": .supported,
    "layers_to_transform": .supported, "layers_pattern": .supported, "modules_to_save": .supported,
    "init_lora_weights": .supported, "bias": .supported, "base_model_name_or_path": .supported,
    // Bookkeeping, and settings of initializations: the saved matrices already contain their effect.
    "task_type": .supported, "auto_mapping": .irrelevant, "peft_version": .irrelevant, "revision": .irrelevant,
    "inference_mode": .irrelevant, "megatron_core": .irrelevant, "runtime_config": .irrelevant,
    "qalora_group_size": .irrelevant, "loftq_config": .irrelevant, "eva_config": .irrelevant,
    "corda_config": .irrelevant, "lora_ga_config": .irrelevant, "ensure_weight_tying": .irrelevant,
    "fan_in_fan_out": .refused, "megatron_config": .refused, "trainable_token_indices": .supported,
    "use_dora": .supported, "velora_config": .refused, "alora_invocation_tokens": .refused, "use_qalora": .refused,
    "monteclora_config": .refused, "layer_replication": .refused, "lora_bias": .supported,
    "target_parameters": .supported, "use_bdlora": .refused, "arrow_config": .refused, "kasa_config": .refused,
  ]

  /// Reads an `adapter_config.json`; `path` is named in errors.
  /// - Throws: `SwiftletError` for a mistyped field, or one whose value is not supported.
  public init(json: JSONValue, path: String) throws(SwiftletError) {
    let config = ConfigurationReader(json: json, path: path)
    let type = try config.string("peft_type")
    guard type == "LORA" else {
      throw config.error("peft_type \(type.quotedExcerpt) is not supported; use LORA")
    }
    try Self.checkFields(config)
    self.init()
    rank = try config.optionalSize("r") ?? 8
    alpha = try config.optionalNumber("lora_alpha") ?? 8
    dropout = try config.optionalNumber("lora_dropout") ?? 0
    usesRSLoRA = try config.optionalBool("use_rslora") ?? false
    usesDoRA = try config.optionalBool("use_dora") ?? false
    hasBias = try config.optionalBool("lora_bias") ?? false
    initialization = try Self.initialization(config)
    // What else the base model predicts with does not change its layers.
    task = config.json["task_type"]?.string.flatMap(Task.init(rawValue:)) ?? .languageModel
    targetModules = try Self.modules(config, "target_modules")
    excludeModules = try Self.modules(config, "exclude_modules")
    if let parameters = config.json["target_parameters"], !Self.isUnset(parameters) {
      guard let names = parameters.array?.map(\.string), !names.contains(nil) else {
        throw config.error("\"target_parameters\" must be a list of names")
      }
      targetParameters = names.compactMap(\.self)
    }
    for (key, value) in config.json["rank_pattern"]?.object?.members ?? [] {
      guard let rank = value.integer, rank > 0 else { throw config.error("rank_pattern must have positive integers") }
      rankPattern.append(ModulePattern(key, rank))
    }
    for (key, value) in config.json["alpha_pattern"]?.object?.members ?? [] {
      guard let alpha = value.double else { throw config.error("alpha_pattern must have numbers") }
      alphaPattern.append(ModulePattern(key, alpha))
    }
    try readLayers(config)
    modulesToSave = config.json["modules_to_save"]?.array?.compactMap(\.string) ?? []
    trainableTokens = try Self.tokens(config)
    if let contradiction { throw config.error(contradiction) }
    try checkPatterns(config)
  }

  /// Refuses fields that change the result and are not supported, known to PEFT 0.21.2 or not.
  private static func checkFields(_ config: ConfigurationReader) throws(SwiftletError) {
    for (key, value) in config.json.object?.members ?? [] where !isUnset(value) {
      switch fields[key] {
      case .supported, .irrelevant: continue
      case .refused: throw config.error("\"\(key)\" is not supported; merge the adapter with PEFT and open the result")
      case nil:
        throw config.error("the field \(key.quotedExcerpt) is unknown; merge the adapter with PEFT and open the result")
      }
    }
    if let bias = config.json["bias"]?.string, bias != "none" {
      throw config.error("bias \(bias.quotedExcerpt) is not supported; use none")
    }
  }

  /// Whether a field has no effect: null, false, or empty.
  private static func isUnset(_ value: JSONValue) -> Bool {
    value.isNull || value.bool == false || value.array?.isEmpty == true || value.object?.members.isEmpty == true
  }

  /// PiSSA, OLoRA, CorDA, LoftQ and LoRA-GA change the base model's weights as well, so their adapters don't fit the
  /// original ones.
  private static func initialization(_ config: ConfigurationReader) throws(SwiftletError) -> Initialization {
    guard let name = config.json["init_lora_weights"]?.string?.lowercased() else { return .kaiming }
    switch name {
    case "gaussian": return .gaussian
    case "orthogonal": return .orthogonal
    case "eva", "true", "false": return .kaiming
    default:
      throw config.error(
        "init_lora_weights \(name.quotedExcerpt) is not supported: it changes the base model's weights; convert the "
          + "adapter with PEFT's path_initial_model_for_weight_conversion, or merge it with PEFT")
    }
  }

  private static func tokens(_ config: ConfigurationReader) throws(SwiftletError) -> TokenIndices? {
    guard let json = config.json["trainable_token_indices"], !isUnset(json) else { return nil }
    func indices(_ value: JSONValue) -> [Int]? {
      let found = value.array?.map(\.integer) ?? [nil]
      return found.contains(nil) ? nil : found.compactMap(\.self)
    }
    if let found = indices(json) { return .embedding(found) }
    guard let members = json.object?.members else {
      throw config.error("\"trainable_token_indices\" must be a list of token ids, or such a list for each module")
    }
    var modules: [ModulePattern<[Int]>] = []
    for (name, value) in members {
      guard let found = indices(value) else {
        throw config.error("\"trainable_token_indices\": \(name.quotedExcerpt) must have a list of token ids")
      }
      modules.append(ModulePattern(name, found))
    }
    return .modules(modules)
  }

  private mutating func readLayers(_ config: ConfigurationReader) throws(SwiftletError) {
    let layers = config.json["layers_to_transform"]
    if let layers, !Self.isUnset(layers) {
      let indices = (layers.array ?? [layers]).map(\.integer)
      guard !indices.contains(nil) else {
        throw config.error("layers_to_transform must be an integer or a list of them")
      }
      if case .names? = targetModules {
      } else {
        throw config.error("layers_to_transform needs a list of target_modules")
      }
      layersToTransform = indices.compactMap { $0 }
    }
    if let pattern = config.json["layers_pattern"] {
      layersPattern = pattern.string.map { [$0] } ?? pattern.array?.compactMap(\.string) ?? []
    }
  }

  private func checkPatterns(_ config: ConfigurationReader) throws(SwiftletError) {
    var patterns = rankPattern.map(\.pattern) + alphaPattern.map(\.pattern) + layersPattern
    for case .pattern(let pattern)? in [targetModules, excludeModules] { patterns.append(pattern) }
    for pattern in patterns where (try? RegularExpression(pattern)) == nil {
      throw config.error("\(pattern.quotedExcerpt) is not a valid regular expression")
    }
  }

  private static func modules(_ config: ConfigurationReader, _ key: String) throws(SwiftletError) -> TargetModules? {
    switch config.json[key] {
    case nil, .null: return nil
    case .string(let text): return text == "all-linear" ? .allLinear : .pattern(text)
    case .array(let elements): return .names(elements.compactMap(\.string).sorted())
    default: throw config.error("\"\(key)\" must be a list of names or a pattern")
    }
  }

  /// The settings as PEFT writes them to `adapter_config.json`.
  ///
  /// - Parameters:
  ///   - base: the name or path of the base model.
  ///   - names: the names of the layers that have an update, which PEFT writes in place of "all-linear", or their paths. They
  ///     also take the place of a regular expression, because mlx-swift-lm reads lists only.
  public func json(base: String, names: [String]) -> JSONValue {
    func list(_ names: [String]) -> JSONValue { .array(names.sorted().map { .string($0) }) }
    func modules(_ chosen: TargetModules, keepsPattern: Bool) -> JSONValue {
      switch chosen {
      case .names(let names): list(names)
      case .pattern(let pattern) where keepsPattern: .string(pattern)
      case .pattern, .allLinear: list(names)
      }
    }
    func patterns<Value>(_ patterns: [ModulePattern<Value>], _ json: (Value) -> JSONValue) -> JSONValue {
      .object(JSONObject(patterns.map { ($0.pattern, json($0.value)) }))
    }
    func tokens(_ chosen: TokenIndices) -> JSONValue {
      func list(_ indices: [Int]) -> JSONValue { .array(indices.map { .integer($0) }) }
      switch chosen {
      case .embedding(let indices): return list(indices)
      case .modules(let modules): return patterns(modules, list)
      }
    }
    var config = JSONObject([
      ("alpha_pattern", patterns(alphaPattern) { .number($0) }), ("base_model_name_or_path", .string(base)),
      ("bias", "none"), ("exclude_modules", excludeModules.map { modules($0, keepsPattern: true) } ?? .null),
      ("fan_in_fan_out", false),
      ("inference_mode", true),
      ("init_lora_weights", initialization == .kaiming ? true : .string(initialization.name)),
    ])
    if let layersToTransform {
      config["layers_pattern"] = .array(layersPattern.map { .string($0) })
      config["layers_to_transform"] = .array(layersToTransform.map { .integer($0) })
    }
    let remaining: [(String, JSONValue)] = [
      ("lora_alpha", Int(exactly: alpha).map { .integer($0) } ?? .number(alpha)), ("lora_bias", .bool(hasBias)),
      ("lora_dropout", .number(dropout)),
      ("modules_to_save", modulesToSave.isEmpty ? .null : .array(modulesToSave.map { .string($0) })),
      ("peft_type", "LORA"), ("r", .integer(rank)), ("rank_pattern", patterns(rankPattern) { .integer($0) }),
      ("target_modules", modules(targetModules ?? .allLinear, keepsPattern: names.isEmpty && targetParameters.isEmpty)),
      ("target_parameters", targetParameters.isEmpty ? .null : list(targetParameters)),
      ("task_type", .string(task.rawValue)),
      ("trainable_token_indices", trainableTokens.map(tokens) ?? .null), ("use_dora", .bool(usesDoRA)),
      ("use_rslora", .bool(usesRSLoRA)),
    ]
    for (key, value) in remaining { config[key] = value }
    return .object(config)
  }
}
