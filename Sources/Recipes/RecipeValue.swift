import Diagnostics

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
    let node: YAMLNode?
    do throws(YAMLNode.Failure) {
      node = try YAMLNode.read(text)
    } catch {
      throw SwiftletError.recipe(.file(file, line: error.line), "this is not valid YAML: \(error.problem)")
    }
    guard let node else { return [] }
    if case .scalar("", _) = node { return [] }
    guard case .mapping(let members) = node else {
      throw SwiftletError.recipe(
        .file(file, line: 0), "a recipe is a list of `key: value` lines, but this file has none")
    }
    var entries: Entries = []
    var budget = mostNodes
    for (key, line, value) in members {
      guard case .scalar(let name, _) = key, let value = RecipeValue(value, budget: &budget) else {
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
    guard argument.hasPrefix("[") || argument.hasPrefix("{"), let node = try? YAMLNode.read(argument) else {
      return
    }
    var budget = Self.mostNodes
    if let value = RecipeValue(node, budget: &budget) { self = value }
  }

  /// The mapping in quoted text, which is how transformers accepts dictionaries; else the value itself.
  var unwrapped: RecipeValue {
    if case .scalar(let text, isQuoted: true) = self, text.hasPrefix("{") { RecipeValue(argument: text) } else { self }
  }

  private init?(_ node: YAMLNode, budget: inout Int) {
    budget -= 1
    guard budget > 0 else { return nil }
    switch node {
    case .scalar(let text, let isQuoted): self = .scalar(text, isQuoted: isQuoted)
    case .sequence(let nodes):
      var elements: [RecipeValue] = []
      for element in nodes {
        guard let value = RecipeValue(element, budget: &budget) else { return nil }
        elements.append(value)
      }
      self = .list(elements)
    case .mapping(let nodes):
      var members: [(key: String, value: RecipeValue)] = []
      for (key, _, value) in nodes {
        guard case .scalar(let name, _) = key, let value = RecipeValue(value, budget: &budget) else { return nil }
        members.append((name, value))
      }
      self = .mapping(members)
    }
  }
}
