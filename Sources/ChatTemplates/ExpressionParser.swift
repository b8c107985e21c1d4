import Diagnostics

/// Parses expressions by precedence climbing: `or`, `and`, `not`, comparisons, `+ -`, `~`, `* / // %`, `**`, unary
/// signs, then subscripts, calls, filters and tests. In Jinja2, `~` binds tighter than `+`, and `**` is
/// left-associative.
extension Parser {
  private enum Precedence: Int, Comparable {
    case or, and, not, comparison, sum, concatenation, product, power
    static func < (a: Precedence, b: Precedence) -> Bool { a.rawValue < b.rawValue }
  }

  func make(_ node: Expression.Node, over parts: [Expression]) throws(SwiftletError) -> Expression {
    let depth = 1 + (parts.lazy.map(\.depth).max() ?? 0)
    if depth > 2 * Limits.syntaxDepth { throw error("an expression deeper than \(2 * Limits.syntaxDepth) levels") }
    return Expression(node: node, depth: depth)
  }

  func constant(_ value: Expression.Constant) -> Expression { Expression(node: .constant(value), depth: 1) }

  /// One expression, or a tuple of expressions separated by commas.
  mutating func tuple(
    withConditional: Bool = true, endingAt end: String? = nil, inParentheses: Bool = false
  ) throws(SwiftletError) -> Expression {
    var parts: [Expression] = []
    var isTuple = false
    while true {
      if current.kind == .variableEnd || current.kind == .blockEnd || current.isSymbol(")") { break }
      if let end, current.isName(end) { break }
      parts.append(try expression(withConditional: withConditional))
      guard skip(symbol: ",") else { break }
      isTuple = true
    }
    if !isTuple, let only = parts.first { return only }
    if !isTuple, !inParentheses { throw error("Expected an expression, got '\(current.label)'") }
    return try make(.tuple(parts), over: parts)
  }

  mutating func expression(withConditional: Bool = true) throws(SwiftletError) -> Expression {
    try descend()
    defer { level -= 1 }
    var line = current.line
    var result = try operation(.or)
    while withConditional, skip(name: "if") {
      let test = try operation(.or)
      let otherwise = skip(name: "else") ? try expression() : nil
      result = try make(
        .conditional(test: test, then: result, else: otherwise, line: line), over: [test, result, otherwise ?? test])
      line = current.line
    }
    return result
  }

  private var operatorPrecedence: Precedence? {
    let token = current
    if token.kind == .name {
      switch token.text {
      case "or": return .or
      case "and": return .and
      case "in": return .comparison
      case "not": return next.isName("in") ? .comparison : nil
      default: return nil
      }
    }
    guard token.kind == .symbol else { return nil }
    switch token.text {
    case "==", "!=", "<", "<=", ">", ">=": return .comparison
    case "+", "-": return .sum
    case "~": return .concatenation
    case "*", "/", "//", "%": return .product
    case "**": return .power
    default: return nil
    }
  }

  private mutating func operation(_ minimum: Precedence) throws(SwiftletError) -> Expression {
    var left: Expression
    if minimum <= .not, skip(name: "not") {
      try descend()
      let operand = try operation(.not)
      level -= 1
      left = try make(.not(operand), over: [operand])
    } else {
      left = try unary()
    }
    while let precedence = operatorPrecedence, precedence >= minimum {
      let symbol = current.text
      switch precedence {
      case .comparison: left = try comparison(left)
      case .concatenation:
        var parts = [left]
        while skip(symbol: "~") { parts.append(try operation(.product)) }
        left = try make(.concatenation(parts), over: parts)
      case .or, .and:
        advance()
        let right = try operation(precedence == .or ? .and : .not)
        left = try make(precedence == .or ? .or(left, right) : .and(left, right), over: [left, right])
      default:
        advance()
        let right: Expression
        switch precedence {
        case .sum: right = try operation(.concatenation)
        case .product: right = try operation(.power)
        default: right = try unary()
        }
        guard let arithmetic = Expression.Arithmetic(rawValue: symbol) else { throw error("unexpected '\(symbol)'") }
        left = try make(.arithmetic(arithmetic, left, right), over: [left, right])
      }
    }
    return left
  }

  private mutating func comparison(_ left: Expression) throws(SwiftletError) -> Expression {
    var links: [Expression.Comparison] = []
    while operatorPrecedence == .comparison {
      var symbol = current.text
      advance()
      if symbol == "not" {
        advance()
        symbol = "not in"
      }
      guard let relation = Expression.Relation(rawValue: symbol) else { throw error("unexpected '\(symbol)'") }
      links.append(Expression.Comparison(relation: relation, operand: try operation(.sum)))
    }
    return try make(.comparison(left, links), over: [left] + links.map(\.operand))
  }

  private mutating func unary(withFilters: Bool = true) throws(SwiftletError) -> Expression {
    var result: Expression
    if current.isSymbol("-") || current.isSymbol("+") {
      let isNegative = current.text == "-"
      advance()
      try descend()
      let operand = try unary(withFilters: false)
      level -= 1
      result = try make(isNegative ? .negative(operand) : .positive(operand), over: [operand])
    } else {
      result = try primary()
    }
    result = try postfixes(on: result)
    while withFilters {
      if current.isSymbol("|") {
        result = try filters(on: result, inline: false)
      } else if current.isName("is") {
        result = try test(on: result)
      } else if current.isSymbol("(") {
        result = try call(result)
      } else {
        break
      }
    }
    return result
  }

  mutating func primary() throws(SwiftletError) -> Expression {
    let token = current
    switch token.kind {
    case .name:
      advance()
      switch token.text {
      case "true", "True": return constant(.bool(true))
      case "false", "False": return constant(.bool(false))
      case "none", "None": return constant(.none)
      default: return Expression(node: .name(number(of: token.text)), depth: 1)
      }
    case .string:
      var text = ""
      while current.kind == .string {
        text += current.text
        advance()
      }
      return constant(.string(text))
    case .integer:
      advance()
      return constant(.integer(try integer(token)))
    case .number:
      advance()
      guard let value = Double(token.text) else { throw error("not a number: \(token.text)", line: token.line) }
      return constant(.number(value))
    case .symbol:
      switch token.text {
      case "(":
        advance()
        let inner = try tuple(inParentheses: true)
        try expect(symbol: ")")
        return inner
      case "[": return try list()
      case "{": return try dictionary()
      default: break
      }
    default: break
    }
    throw error("unexpected '\(token.label)'")
  }

  func integer(_ token: Token) throws(SwiftletError) -> Int {
    let text = token.text.lowercased()
    let (digits, radix): (Substring, Int) =
      switch text.prefix(2) {
      case "0x": (text.dropFirst(2), 16)
      case "0o": (text.dropFirst(2), 8)
      case "0b": (text.dropFirst(2), 2)
      default: (text[...], 10)
      }
    guard let value = Int(digits, radix: radix) else {
      throw error("the number \(token.text) does not fit 64 bits", line: token.line)
    }
    return value
  }

  private mutating func list() throws(SwiftletError) -> Expression {
    try expect(symbol: "[")
    var parts: [Expression] = []
    while !current.isSymbol("]") {
      if !parts.isEmpty { try expect(symbol: ",") }
      if current.isSymbol("]") { break }
      parts.append(try expression())
    }
    try expect(symbol: "]")
    return try make(.list(parts), over: parts)
  }

  private mutating func dictionary() throws(SwiftletError) -> Expression {
    try expect(symbol: "{")
    var pairs: [Expression.Pair] = []
    while !current.isSymbol("}") {
      if !pairs.isEmpty { try expect(symbol: ",") }
      if current.isSymbol("}") { break }
      let key = try expression()
      try expect(symbol: ":")
      pairs.append(Expression.Pair(key: key, value: try expression()))
    }
    try expect(symbol: "}")
    return try make(.dictionary(pairs), over: pairs.flatMap { [$0.key, $0.value] })
  }
}
