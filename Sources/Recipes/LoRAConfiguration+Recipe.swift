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
  static var expectation: String { "true, gaussian, orthogonal, pissa or pissa_niter_N" }

  init(_ value: RecipeValue) throws(RecipeValueError) {
    guard case .scalar(let text, _) = value,
      let known = Self(name: text.lowercased() == "true" ? "kaiming" : text.lowercased())
    else { throw .mismatch(value, expected: Self.expectation) }
    self = known
  }

  var json: JSONValue { self == .kaiming ? true : .string(name) }
}

extension LoRAConfiguration.TokenIndices: RecipeConvertible {
  static var expectation: String { "a list of token ids, or such a list for each module" }

  init(_ value: RecipeValue) throws(RecipeValueError) {
    guard case .mapping(let members) = value.unwrapped else {
      self = .embedding(try [Int](value))
      return
    }
    var modules: [LoRAConfiguration.ModulePattern<[Int]>] = []
    for member in members {
      do { modules.append(.init(member.key, try [Int](member.value))) } catch { throw error.inside(".\(member.key)") }
    }
    self = .modules(modules)
  }

  var json: JSONValue {
    switch self {
    case .embedding(let indices): indices.json
    case .modules(let modules): .object(JSONObject(modules.map { ($0.pattern, $0.value.json) }))
    }
  }
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
