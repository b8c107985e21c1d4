import Diagnostics

/// Parses what follows an operand: subscripts, calls, filters and tests.
extension Parser {
  mutating func postfixes(on operand: Expression) throws(SwiftletError) -> Expression {
    var result = operand
    while true {
      if current.isSymbol(".") {
        advance()
        let token = current
        advance()
        switch token.kind {
        case .name: result = try make(.attribute(result, token.text), over: [result])
        case .integer: result = try make(.item(result, constant(.integer(try integer(token)))), over: [result])
        default: throw error("expected name or number", line: token.line)
        }
      } else if current.isSymbol("[") {
        result = try subscripted(result)
      } else if current.isSymbol("(") {
        result = try call(result)
      } else {
        return result
      }
    }
  }

  private mutating func subscripted(_ operand: Expression) throws(SwiftletError) -> Expression {
    try expect(symbol: "[")
    let start = current.isSymbol(":") ? nil : try expression()
    if let start, !current.isSymbol(":") {
      var parts = [start]
      var isTuple = false
      while skip(symbol: ",") {
        isTuple = true
        if current.isSymbol("]") { break }
        parts.append(try expression())
      }
      try expect(symbol: "]")
      let index = isTuple ? try make(.tuple(parts), over: parts) : start
      return try make(.item(operand, index), over: [operand, index])
    }
    try expect(symbol: ":")
    let stop = current.isSymbol(":") || current.isSymbol("]") ? nil : try expression()
    let step = skip(symbol: ":") && !current.isSymbol("]") ? try expression() : nil
    try expect(symbol: "]")
    let parts = [operand] + [start, stop, step].compactMap { $0 }
    return try make(.slice(operand, start: start, stop: stop, step: step), over: parts)
  }

  mutating func call(_ function: Expression) throws(SwiftletError) -> Expression {
    let arguments = try self.arguments()
    return try make(.call(function, arguments), over: [function] + arguments.all)
  }

  private mutating func arguments() throws(SwiftletError) -> Expression.Arguments {
    let line = current.line
    var result = Expression.Arguments()
    try expect(symbol: "(")
    var isFirst = true
    while !current.isSymbol(")") {
      if !isFirst {
        try expect(symbol: ",")
        if current.isSymbol(")") { break }
      }
      isFirst = false
      let isOrdered: Bool
      if skip(symbol: "*") {
        isOrdered = result.spread == nil && result.spreadNamed == nil
        result.spread = try expression()
      } else if skip(symbol: "**") {
        isOrdered = result.spreadNamed == nil
        result.spreadNamed = try expression()
      } else if current.kind == .name, next.isSymbol("=") {
        isOrdered = result.spreadNamed == nil
        let name = try expectName()
        advance()
        result.named.append((name, try expression()))
      } else {
        isOrdered = result.spread == nil && result.spreadNamed == nil && result.named.isEmpty
        result.positional.append(try expression())
      }
      if !isOrdered { throw error("invalid syntax for function call expression", line: line) }
    }
    try expect(symbol: ")")
    return result
  }

  private mutating func dottedName() throws(SwiftletError) -> String {
    var name = try expectName()
    while skip(symbol: ".") { name += "." + (try expectName()) }
    return name
  }

  /// One or more filters. With `inline`, there is no bar before the first one.
  mutating func filters(on operand: Expression?, inline: Bool) throws(SwiftletError) -> Expression {
    var result = operand
    var isFirst = inline
    repeat {
      if !isFirst { try expect(symbol: "|") }
      isFirst = false
      let name = try dottedName()
      let arguments = current.isSymbol("(") ? try self.arguments() : Expression.Arguments()
      result = try make(.filter(result, name, arguments), over: (result.map { [$0] } ?? []) + arguments.all)
    } while current.isSymbol("|")
    guard let result else { throw error("expected a filter") }
    return result
  }

  mutating func test(on operand: Expression) throws(SwiftletError) -> Expression {
    advance()
    let isNegated = skip(name: "not")
    let name = try dottedName()
    var arguments = Expression.Arguments()
    if current.isSymbol("(") {
      arguments = try self.arguments()
    } else if startsTestArgument {
      if current.isName("is") { throw error("You cannot chain multiple tests with is") }
      arguments.positional = [try postfixes(on: try primary())]
    }
    let result = try make(.test(operand, name, arguments), over: [operand] + arguments.all)
    return isNegated ? try make(.not(result), over: [result]) : result
  }

  private var startsTestArgument: Bool {
    switch current.kind {
    case .name: !["else", "or", "and"].contains(current.text)
    case .string, .integer, .number: true
    case .symbol: current.text == "[" || current.text == "{"
    default: false
    }
  }
}
