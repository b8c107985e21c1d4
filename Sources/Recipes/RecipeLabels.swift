import OrderedJSON

/// `id2label` as recipes spell it: a list of names, or a mapping from numbers to names.
struct RecipeLabels: RecipeConvertible {
  static var expectation: String { "a list of names, or a mapping from the numbers 0, 1, ... to names" }
  var names: [String]

  init(names: [String]) { self.names = names }

  init(_ value: RecipeValue) throws(RecipeValueError) {
    guard case .mapping(let members) = value else {
      names = value.isNull ? [] : try [String](value)
      return
    }
    var found = [String?](repeating: nil, count: members.count)
    for member in members {
      guard let number = Int(member.key), found.indices.contains(number) else {
        throw .mismatch(value, expected: Self.expectation)
      }
      found[number] = try String(member.value)
    }
    names = found.compactMap(\.self)
  }

  var json: JSONValue { names.isEmpty ? .null : .array(names.map { .string($0) }) }
}
