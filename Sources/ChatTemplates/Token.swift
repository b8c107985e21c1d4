/// A token of a template.
struct Token: Sendable {
  enum Kind: Sendable {
    /// Text between tags.
    case data
    case variableBegin, variableEnd, blockBegin, blockEnd
    case name, string, integer, number, symbol
    case end
  }

  let kind: Kind
  /// The text of the token. For strings, the content with escapes resolved.
  let text: String
  let line: Int

  func isSymbol(_ symbol: String) -> Bool { kind == .symbol && text == symbol }
  func isName(_ name: String) -> Bool { kind == .name && text == name }

  /// The name of the token in error messages.
  var label: String {
    switch kind {
    case .data: "template data / text"
    case .variableBegin: "begin of print statement"
    case .variableEnd: "end of print statement"
    case .blockBegin: "begin of statement block"
    case .blockEnd: "end of statement block"
    case .end: "end of template"
    case .string: "string"
    case .integer, .number: "number"
    case .name, .symbol: text
    }
  }
}
