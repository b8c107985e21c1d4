import Diagnostics

/// A recursive-descent parser of templates. Statements are in `StatementParser.swift`, expressions in
/// `ExpressionParser.swift`.
struct Parser {
  private let tokens: [Token]
  private var position = 0
  /// The numbers assigned to names.
  var numbers: [String: Int] = [:]
  private(set) var names: [String] = []
  private var scopeCount = 0
  private var functionCount = 1
  var marksGeneration = false
  var blockNames: Set<String> = []
  /// The nesting depth at the current token.
  var level = 0
  /// The number of enclosing loops in the current function; `break` and `continue` need one.
  var loops = 0
  /// The enclosing tags, for error messages.
  var openTags: [String] = []

  static func syntax(of template: String) throws(SwiftletError) -> Syntax {
    var parser = Parser(tokens: try Lexer.tokens(of: template))
    let scope = parser.newScope()
    let statements = try parser.statements(until: [])
    return Syntax(
      body: Statement.Body(scope: scope, statements: statements), names: parser.names, scopeCount: parser.scopeCount,
      functionCount: parser.functionCount, marksGeneration: parser.marksGeneration,
      hasBlocks: !parser.blockNames.isEmpty)
  }

  private init(tokens: [Token]) { self.tokens = tokens }

  // MARK: Tokens

  var current: Token { tokens[position] }
  var next: Token { tokens[min(position + 1, tokens.count - 1)] }

  mutating func advance() {
    if position < tokens.count - 1 { position += 1 }
  }

  func error(_ reason: String, line: Int? = nil) -> SwiftletError {
    SwiftletError.template(line: line ?? current.line, reason: reason)
  }

  mutating func skip(symbol: String) -> Bool {
    guard current.isSymbol(symbol) else { return false }
    advance()
    return true
  }

  mutating func skip(name: String) -> Bool {
    guard current.isName(name) else { return false }
    advance()
    return true
  }

  mutating func expect(symbol: String) throws(SwiftletError) {
    if !skip(symbol: symbol) { throw error("expected token '\(symbol)', got '\(current.label)'") }
  }

  mutating func expect(name: String) throws(SwiftletError) {
    if !skip(name: name) { throw error("expected token '\(name)', got '\(current.label)'") }
  }

  mutating func expect(_ kind: Token.Kind) throws(SwiftletError) {
    if current.kind != kind {
      let wanted = Token(kind: kind, text: "", line: 0).label
      throw error("expected token '\(wanted)', got '\(current.label)'")
    }
    advance()
  }

  mutating func expectName() throws(SwiftletError) -> String {
    guard current.kind == .name else { throw error("expected token 'name', got '\(current.label)'") }
    defer { advance() }
    return current.text
  }

  mutating func number(of name: String) -> Int {
    if let number = numbers[name] { return number }
    numbers[name] = names.count
    names.append(name)
    return names.count - 1
  }

  mutating func newScope() -> Int {
    scopeCount += 1
    return scopeCount - 1
  }

  mutating func newFunction() -> Int {
    functionCount += 1
    return functionCount - 1
  }

  /// Enters nested syntax. Callers decrement `level` at its end.
  mutating func descend() throws(SwiftletError) {
    level += 1
    if level > Limits.syntaxDepth { throw error("nested deeper than \(Limits.syntaxDepth) levels") }
  }
}
