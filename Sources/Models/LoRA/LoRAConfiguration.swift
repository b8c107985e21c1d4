import Diagnostics
import Foundation
import OrderedJSON

/// What an adapter looks like, in PEFT's words (`LoraConfig`, `adapter_config.json`).
public struct LoRAConfiguration: Sendable, Hashable {
  /// Rank of the update.
  public var rank = 8
  /// The update is scaled by `alpha / rank`.
  public var alpha = 8.0
  /// Share of the update's input that is dropped in training.
  public var dropout = 0.0
  /// Which layers get one.
  public var targetModules = TargetModules.names(["q_proj", "v_proj"])
  /// Layers that do not, though `targetModules` names them.
  public var excludeModules: TargetModules?
  /// Scale by `alpha / √r` (Kalajdzievski 2023).
  public var usesRSLoRA = false
  /// Ranks of layers whose path a pattern matches.
  public var rankPattern: [String: Int] = [:]
  /// Alphas of layers whose path a pattern matches.
  public var alphaPattern: [String: Double] = [:]
  /// Modules that are trained whole and saved with the adapter.
  public var modulesToSave: [String] = []
  /// How fresh matrices start.
  public var initialization = Initialization.kaiming

  /// PEFT's defaults.
  public init() {}

  /// How layers are chosen.
  public enum TargetModules: Sendable, Hashable {
    /// Layers whose path is one of these or ends in a dot and one of these.
    case names([String])
    /// Layers whose whole path a regular expression matches.
    case pattern(String)
    /// Every linear layer but the head.
    case allLinear
  }

  /// How A starts; B is zero, so that nothing changes yet.
  public enum Initialization: Sendable, Hashable {
    /// Uniform within ±1/√in (Kaiming with a = √5), PEFT's `init_lora_weights=True`.
    case kaiming
    /// Normal with standard deviation 1/r.
    case gaussian
  }

  /// The rank of the layer at `path`.
  public func rank(of path: String) -> Int { Self.lookUp(rankPattern, path) ?? rank }

  /// What the update of the layer at `path` is multiplied by.
  public func scale(of path: String) -> Float {
    let alpha = Self.lookUp(alphaPattern, path) ?? alpha
    let rank = Double(rank(of: path))
    return Float(usesRSLoRA ? alpha / rank.squareRoot() : alpha / rank)
  }

  /// PEFT matches a pattern's key against the end of a path, from a dot or its start on.
  private static func lookUp<Value>(_ patterns: [String: Value], _ path: String) -> Value? {
    patterns.sorted { $0.key < $1.key }.first { Self.matches("(.*\\.)?(\($0.key))", path) }?.value
  }

  /// Whether a regular expression matches the whole of `path`.
  static func matches(_ pattern: String, _ path: String) -> Bool {
    guard let expression = try? NSRegularExpression(pattern: "^(?:\(pattern))$") else { return false }
    return expression.firstMatch(in: path, range: NSRange(location: 0, length: path.utf16.count)) != nil
  }

  /// Whether the layer at `path` gets an update.
  public func targets(_ path: String) -> Bool {
    Self.matches(targetModules, path) && !(excludeModules.map { Self.matches($0, path) } ?? false)
  }

  /// Names among the targets that fit none of these layers.
  public func unmatchedTargets(among paths: [String]) -> [String] {
    guard case .names(let names) = targetModules else { return [] }
    return names.filter { name in !paths.contains { Self.isNamed(name, $0) } }
  }

  private static func isNamed(_ name: String, _ path: String) -> Bool { path == name || path.hasSuffix("." + name) }

  private static func matches(_ modules: TargetModules, _ path: String) -> Bool {
    switch modules {
    case .names(let names): names.contains { isNamed($0, path) }
    case .pattern(let pattern): matches(pattern, path)
    case .allLinear: true
    }
  }
}

extension LoRAConfiguration {
  /// Reads an `adapter_config.json`; `path` is named in messages.
  /// - Throws: `SwiftletError` for a missing key, or a feature that is not supported.
  public init(json: JSONValue, path: String) throws(SwiftletError) {
    let config = ConfigurationReader(json: json, path: path)
    let type = try config.string("peft_type")
    guard type == "LORA" else { throw config.error("peft_type \"\(type)\" is not supported; only LORA is") }
    for key in ["use_dora", "fan_in_fan_out", "lora_bias"] where config.json[key]?.bool == true {
      throw config.error("\"\(key)\" is not supported")
    }
    if let bias = config.json["bias"]?.string, bias != "none" {
      throw config.error("bias \"\(bias)\" is not supported")
    }
    self.init()
    rank = try config.optionalSize("r") ?? 8
    alpha = try config.optionalNumber("lora_alpha") ?? 8
    dropout = try config.optionalNumber("lora_dropout") ?? 0
    usesRSLoRA = try config.optionalBool("use_rslora") ?? false
    if config.json["init_lora_weights"]?.string == "gaussian" { initialization = .gaussian }
    targetModules = try Self.modules(config, "target_modules") ?? targetModules
    excludeModules = try Self.modules(config, "exclude_modules")
    for (key, value) in config.json["rank_pattern"]?.object?.members ?? [] {
      guard let rank = value.integer, rank > 0 else { throw config.error("rank_pattern needs positive integers") }
      rankPattern[key] = rank
    }
    for (key, value) in config.json["alpha_pattern"]?.object?.members ?? [] {
      guard let alpha = value.double else { throw config.error("alpha_pattern needs numbers") }
      alphaPattern[key] = alpha
    }
    modulesToSave = config.json["modules_to_save"]?.array?.compactMap(\.string) ?? []
    var patterns = Array(rankPattern.keys) + Array(alphaPattern.keys)
    for case .pattern(let pattern)? in [targetModules, excludeModules] { patterns.append(pattern) }
    for pattern in patterns where (try? NSRegularExpression(pattern: pattern)) == nil {
      throw config.error("\"\(pattern)\" is not a regular expression")
    }
  }

  private static func modules(_ config: ConfigurationReader, _ key: String) throws(SwiftletError) -> TargetModules? {
    switch config.json[key] {
    case nil, .null: return nil
    case .string(let text): return text == "all-linear" ? .allLinear : .pattern(text)
    case .array(let elements): return .names(elements.compactMap(\.string).sorted())
    default: throw config.error("\"\(key)\" should be a list of names or a pattern")
    }
  }

  /// As PEFT writes it.
  ///
  /// - Parameters:
  ///   - base: where the base model is.
  ///   - names: the last parts of the paths that have an update; PEFT resolves "all-linear" to them.
  public func json(base: String, names: [String]) -> JSONValue {
    func modules(_ chosen: TargetModules) -> JSONValue {
      switch chosen {
      case .names(let names): .array(names.sorted().map { .string($0) })
      case .pattern(let pattern): .string(pattern)
      case .allLinear: .array(names.map { .string($0) })
      }
    }
    func patterns<Value>(_ values: [String: Value], _ json: (Value) -> JSONValue) -> JSONValue {
      .object(JSONObject(values.sorted { $0.key < $1.key }.map { ($0.key, json($0.value)) }))
    }
    let alpha: JSONValue = Int(exactly: alpha).map { .integer($0) } ?? .number(alpha)
    return [
      "alpha_pattern": patterns(alphaPattern) { .number($0) }, "base_model_name_or_path": .string(base),
      "bias": "none", "exclude_modules": excludeModules.map(modules) ?? .null, "fan_in_fan_out": false,
      "inference_mode": true,
      "init_lora_weights": initialization == .gaussian ? "gaussian" : true,
      "lora_alpha": alpha, "lora_bias": false, "lora_dropout": .number(dropout),
      "modules_to_save": modulesToSave.isEmpty ? nil : .array(modulesToSave.map { .string($0) }),
      "peft_type": "LORA", "r": .integer(rank), "rank_pattern": patterns(rankPattern) { .integer($0) },
      "target_modules": modules(targetModules), "task_type": "CAUSAL_LM", "use_dora": false,
      "use_rslora": .bool(usesRSLoRA),
    ]
  }
}
