import Models
import OrderedJSON

/// The adapters to train: low-rank updates beside frozen weights (LoRA, arXiv:2106.09685).
public struct LoRAArguments: Sendable, Hashable {
  /// The rank r.
  public var rank = 16
  /// The numerator of the scale alpha/r.
  public var alpha = 32.0
  /// The share of A's input dropped in training.
  public var dropout = 0.05
  /// The modules that get an adapter; `nil` for those PEFT picks for the architecture.
  public var targetModules: TargetModules?
  /// Modules that get none, though `targetModules` names them.
  public var excludeModules: TargetModules?
  /// Modules trained whole and saved beside the adapter.
  public var modulesToSave: [String] = []
  /// Whether the scale is alpha/sqrt(r) (rank-stabilized LoRA, arXiv:2312.03732).
  public var usesRSLoRA = false
  /// Whether direction and magnitude are trained apart (DoRA, arXiv:2402.09353).
  public var usesDoRA = false
  /// Ranks of modules whose name matches a pattern, in the order of the recipe.
  public var rankPattern: [ModulePattern<Int>] = []
  /// Alphas of modules whose name matches a pattern, in the order of the recipe.
  public var alphaPattern: [ModulePattern<Double>] = []
  /// How A and B start.
  public var initialization = Initialization.kaiming

  /// TRL's defaults.
  public init() {}

  /// Which modules get an adapter.
  public enum TargetModules: Sendable, Hashable {
    /// Every linear layer but the output head.
    case allLinear
    /// Modules whose path is one of these names or ends in `.` and one of them.
    case names([String])
    /// Modules whose whole path matches this regular expression.
    case pattern(String)
  }

  /// A value for the modules whose path ends in a match of a regular expression.
  public struct ModulePattern<Value: Sendable & Hashable>: Sendable, Hashable {
    /// The regular expression, as PEFT's `rank_pattern` has it.
    public var pattern: String
    /// The value there.
    public var value: Value

    /// A value for a pattern.
    public init(_ pattern: String, _ value: Value) {
      self.pattern = pattern
      self.value = value
    }
  }

  /// How the adapter's matrices start.
  public typealias Initialization = LoRAConfiguration.Initialization
}

extension LoRAArguments.TargetModules: RecipeConvertible {
  static var expectation: String { "a list of module names, all-linear, or a regular expression" }

  init(_ value: RecipeValue) throws(RecipeValueError) {
    let words = try [String](value)
    guard let first = words.first else { throw .mismatch(value, expected: Self.expectation) }
    // PEFT reads a lone string as an expression, which a plain name would hardly ever match in full.
    let isPlain = !first.contains { "*+?[](){}|^$\\".contains($0) }
    self =
      words.count > 1 || (isPlain && first.lowercased() != "all-linear")
      ? .names(words) : isPlain ? .allLinear : .pattern(first)
  }

  var json: JSONValue {
    switch self {
    case .allLinear: "all-linear"
    case .names(let names): names.json
    case .pattern(let pattern): .string(pattern)
    }
  }
}

extension LoRAConfiguration.Initialization: RecipeConvertible {
  static var expectation: String { "true or gaussian" }

  init(_ value: RecipeValue) throws(RecipeValueError) {
    guard case .scalar(let text, _) = value else { throw .mismatch(value, expected: Self.expectation) }
    switch text.lowercased() {
    case "true", "kaiming": self = .kaiming
    case "gaussian": self = .gaussian
    default: throw .mismatch(value, expected: Self.expectation)
    }
  }

  var json: JSONValue { self == .kaiming ? true : "gaussian" }
}

/// A list of patterns, written as a mapping.
struct RecipePatterns<Value: RecipeConvertible & Hashable>: RecipeConvertible {
  static var expectation: String { "a mapping from module pattern to \(Value.expectation)" }
  var patterns: [LoRAArguments.ModulePattern<Value>] = []

  init(_ value: RecipeValue) throws(RecipeValueError) {
    if value.isNull { return }
    guard case .mapping(let members) = value else { throw .mismatch(value, expected: Self.expectation) }
    for member in members {
      do { patterns.append(.init(member.key, try Value(member.value))) } catch { throw error.inside(".\(member.key)") }
    }
  }

  init(_ patterns: [LoRAArguments.ModulePattern<Value>]) { self.patterns = patterns }

  var json: JSONValue { .object(JSONObject(patterns.map { ($0.pattern, $0.value.json) })) }
}

extension LoRAArguments {
  var rankPatterns: RecipePatterns<Int> {
    get { RecipePatterns(rankPattern) }
    set { rankPattern = newValue.patterns }
  }
  var alphaPatterns: RecipePatterns<Double> {
    get { RecipePatterns(alphaPattern) }
    set { alphaPattern = newValue.patterns }
  }
}
