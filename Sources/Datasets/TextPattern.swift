import Diagnostics
import OrderedJSON

/// A text with columns in braces: `{zh}`, with dots for nested columns as in `{translation.zh}`, and `{{` or `}}` for a
/// brace, as in Python's `format`.
public struct TextPattern: Sendable, Hashable {
  private enum Part: Sendable, Hashable {
    case text(String)
    case column([String])
  }
  private var parts: [Part] = []
  /// The pattern as it was written, with its braces.
  public let source: String

  /// Parses a pattern.
  /// - Throws: `SwiftletError` if braces do not match.
  public init(_ pattern: String) throws(SwiftletError) {
    source = pattern
    var text = ""
    var rest = pattern.unicodeScalars[...]
    while let scalar = rest.popFirst() {
      switch scalar {
      case "{" where rest.first == "{", "}" where rest.first == "}":
        rest.removeFirst()
        text.unicodeScalars.append(scalar)
      case "{":
        guard let end = rest.firstIndex(of: "}") else {
          throw SwiftletError.data(
            "the template has an opening brace without a closing one; use {{ for a brace in the text")
        }
        parts.append(.text(text))
        text = ""
        parts.append(.column(columnPath(String(rest[..<end]))))
        rest = rest[rest.index(after: end)...]
      case "}":
        throw SwiftletError.data(
          "the template has a closing brace without an opening one; use }} for a brace in the text")
      default: text.unicodeScalars.append(scalar)
      }
    }
    if !text.isEmpty { parts.append(.text(text)) }
  }

  /// Fills in the columns of a row. Null becomes empty text; numbers and lists are formatted as in JSON, booleans as in
  /// Python.
  /// - Throws: `SwiftletError` naming a column that the row does not have.
  public func text(_ row: Row) throws(SwiftletError) -> String {
    var result = ""
    for part in parts {
      switch part {
      case .text(let text): result += text
      case .column(let path):
        guard let value = row.value(at: path) else {
          throw SwiftletError.data(
            "the template uses this column, but the row has \(row.columnList)",
            column: path.joined(separator: "."))
        }
        result += Self.text(value)
      }
    }
    return result
  }

  private static func text(_ value: JSONValue) -> String {
    switch value {
    case .null: ""
    case .string(let text): text
    case .bool(let truth): truth ? "True" : "False"
    default: value.text()
    }
  }
}

/// The parts of a column name that dots separate.
func columnPath(_ name: String) -> [String] {
  name.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
}

extension JSONObject {
  /// The value at a path of keys. A key that contains the dots takes precedence.
  func value(at path: [String]) -> JSONValue? {
    if let value = self[path.joined(separator: ".")] { return value }
    var value: JSONValue? = .object(self)
    for key in path { value = value?[key] }
    return value
  }
}
