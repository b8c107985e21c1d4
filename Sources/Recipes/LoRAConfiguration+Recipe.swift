import Models
import OrderedJSON

// How a recipe spells the settings of an adapter.

extension LoRAConfiguration.TargetModules: RecipeConvertible {
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
  static var expectation: String { "true, gaussian or orthogonal" }

  init(_ value: RecipeValue) throws(RecipeValueError) {
    guard case .scalar(let text, _) = value else { throw .mismatch(value, expected: Self.expectation) }
    switch text.lowercased() {
    case "true", "kaiming": self = .kaiming
    case "gaussian": self = .gaussian
    case "orthogonal": self = .orthogonal
    default: throw .mismatch(value, expected: Self.expectation)
    }
  }

  var json: JSONValue { self == .kaiming ? true : .string(rawValue) }
}

/// Values for the modules whose path ends in a match of a regular expression, written as a mapping.
struct RecipePatterns<Value: RecipeConvertible & Hashable & Codable>: RecipeConvertible {
  static var expectation: String { "a mapping from module pattern to \(Value.expectation)" }
  var patterns: [LoRAConfiguration.ModulePattern<Value>] = []

  init() {}

  init(_ value: RecipeValue) throws(RecipeValueError) {
    if value.isNull { return }
    guard case .mapping(let members) = value else { throw .mismatch(value, expected: Self.expectation) }
    for member in members {
      do { patterns.append(.init(member.key, try Value(member.value))) } catch { throw error.inside(".\(member.key)") }
    }
  }

  var json: JSONValue { .object(JSONObject(patterns.map { ($0.pattern, $0.value.json) })) }
}
