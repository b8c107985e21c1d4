import Models
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
    var given: [(String, String?)] = []
    for member in members { given.append((member.key, try String(member.value))) }
    guard let found = SequenceHead.inOrder(given) else { throw .mismatch(value, expected: Self.expectation) }
    names = found
  }

  var json: JSONValue { names.isEmpty ? .null : .array(names.map { .string($0) }) }
}
