/// One piece of a template's source.
struct Token: Sendable {
  enum Kind: Sendable {
    /// Text outside of tags, as it goes to the output.
    case data
    case variableBegin, variableEnd, blockBegin, blockEnd
    case name, string, integer, number, symbol
    case end
  }

  let kind: Kind
  /// The text: of a string its content with escapes resolved.
  let text: String
  let line: Int

  func isSymbol(_ symbol: String) -> Bool { kind == .symbol && text == symbol }
  func isName(_ name: String) -> Bool { kind == .name && text == name }

  /// What to call the token in a message.
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
