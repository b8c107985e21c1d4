import Diagnostics
import Yams

/// A value as a recipe spells it. Scalars stay text until the key determines their type: `eval_strategy: no` is not a
/// Boolean, and `learning_rate: 2e-4`, a string in YAML 1.1, is a number.
indirect enum RecipeValue: Sendable {
  /// A word, number or text. Quoted text is never null.
  case scalar(String, isQuoted: Bool)
  case list([RecipeValue])
  /// Keys in file order.
  case mapping([(key: String, value: RecipeValue)])

  /// Whether this is YAML's null or Python's `None`.
  var isNull: Bool {
    guard case .scalar(let text, isQuoted: false) = self else { return false }
    return ["", "~", "null", "Null", "NULL", "None"].contains(text)
  }

  /// The value in error messages, shortened.
  var quoted: String {
    switch self {
    case _ where isNull: return "nothing"
    case .scalar(let text, _):
      let shown = text.count > 60 ? text.prefix(57) + "..." : text[...]
      return "\"\(shown)\""
    case .list(let elements): return "a list of \(elements.count) elements"
    case .mapping: return "a mapping"
    }
  }
}

extension RecipeValue {
  /// One level of a YAML file: key, line and value in file order.
  typealias Entries = [(key: String, line: Int, value: RecipeValue)]

  /// A limit on nodes, because nested aliases can expand to more than fits in memory.
  private static let mostNodes = 100_000

  /// Reads a YAML mapping.
  static func entries(ofYAML text: String, file: String) throws(SwiftletError) -> Entries {
    let node: Node?
    do {
      node = try Yams.compose(yaml: text)
    } catch {
      throw SwiftletError.recipe(.file(file, line: error.line), "this is not valid YAML: \(error.problem)")
    }
    guard let node else { return [] }
    if let scalar = node.scalar, scalar.string.isEmpty { return [] }
    guard let mapping = node.mapping else {
      throw SwiftletError.recipe(
        .file(file, line: 0), "a recipe is a list of `key: value` lines, but this file has none")
    }
    var entries: Entries = []
    var budget = mostNodes
    for (key, value) in mapping {
      let line = key.mark?.line ?? 0
      guard let name = key.scalar?.string, let value = RecipeValue(value, budget: &budget) else {
        throw SwiftletError.recipe(
          .file(file, line: line), "a key must be a word, and its value must not be too large")
      }
      entries.append((name, line, value))
    }
    return entries
  }

  /// Reads a command-line value: `[a, b]` and `{a: 1}` are YAML, anything else is a scalar.
  init(argument: String) {
    self = .scalar(argument, isQuoted: false)
    guard argument.hasPrefix("[") || argument.hasPrefix("{"), let node = try? Yams.compose(yaml: argument) else {
      return
    }
    var budget = Self.mostNodes
    if let value = RecipeValue(node, budget: &budget) { self = value }
  }

  /// The mapping in quoted text, which is how transformers accepts dictionaries; else the value itself.
  var unwrapped: RecipeValue {
    if case .scalar(let text, isQuoted: true) = self, text.hasPrefix("{") { RecipeValue(argument: text) } else { self }
  }

  private init?(_ node: Node, budget: inout Int) {
    budget -= 1
    guard budget > 0 else { return nil }
    switch node {
    case .scalar(let scalar):
      self = .scalar(scalar.string, isQuoted: scalar.style != .plain && scalar.style != .any)
    case .sequence(let sequence):
      var elements: [RecipeValue] = []
      for element in sequence {
        guard let value = RecipeValue(element, budget: &budget) else { return nil }
        elements.append(value)
      }
      self = .list(elements)
    case .mapping(let mapping):
      var members: [(key: String, value: RecipeValue)] = []
      for (key, value) in mapping {
        guard let name = key.scalar?.string, let value = RecipeValue(value, budget: &budget) else { return nil }
        members.append((name, value))
      }
      self = .mapping(members)
    case .alias: return nil
    }
  }
}

extension Error {
  /// The line of a YAML error; 0 if it has none.
  fileprivate var line: Int {
    switch self as? YamlError {
    case .scanner(_, _, let mark, _), .parser(_, _, let mark, _), .composer(_, _, let mark, _): mark.line
    case .duplicatedKeysInMapping(_, let context): context.mark.line
    default: 0
    }
  }

  /// The problem of a YAML error, on one line.
  fileprivate var problem: String {
    switch self as? YamlError {
    case .scanner(_, let problem, _, _), .parser(_, let problem, _, _), .composer(_, let problem, _, _): problem
    case .reader(let problem, _, _, _): problem
    case .duplicatedKeysInMapping(let keys, _): "\(keys.sorted().joined(separator: ", ")) appears twice"
    default: "it cannot be read"
    }
  }
}
