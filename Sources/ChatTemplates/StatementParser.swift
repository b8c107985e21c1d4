import Diagnostics

/// Parses statements: tags, their bodies, and the text between them.
extension Parser {
  /// The statements up to one of the tags `ends`, which is not consumed. An empty list means the end of the template.
  mutating func statements(until ends: [String]) throws(SwiftletError) -> [Statement] {
    var result: [Statement] = []
    while true {
      let line = current.line
      switch current.kind {
      case .data:
        result.append(Statement(line: line, node: .text(current.text)))
        advance()
      case .variableBegin:
        advance()
        let value = try tuple()
        try expect(.variableEnd)
        result.append(Statement(line: line, node: .output(value)))
      case .blockBegin:
        advance()
        guard current.kind == .name else { throw error("tag name expected") }
        if ends.contains(current.text) { return result }
        try descend()
        result.append(contentsOf: try statement(ends: ends))
        level -= 1
        try expect(.blockEnd)
      default:
        if !ends.isEmpty { throw unfinished("Unexpected end of template.", ends) }
        return result
      }
    }
  }

  private func unfinished(_ what: String, _ ends: [String]) -> SwiftletError {
    var reason = what
    if !ends.isEmpty {
      let wanted = ends.map { "'\($0)'" }.joined(separator: " or ")
      reason += " Jinja was looking for the following tags: \(wanted)."
    }
    if let open = openTags.last { reason += " The innermost block that needs to be closed is '\(open)'." }
    return error(reason)
  }

  /// The statements of a tag's body. The name of the end tag is not consumed.
  mutating func body(until ends: String...) throws(SwiftletError) -> [Statement] {
    _ = skip(symbol: ":")
    try expect(.blockEnd)
    return try statements(until: ends)
  }

  private mutating func scopedBody(until end: String) throws(SwiftletError) -> Statement.Body {
    let scope = newScope()
    let content = try body(until: end)
    advance()
    return Statement.Body(scope: scope, statements: content)
  }

  private mutating func statement(ends: [String]) throws(SwiftletError) -> [Statement] {
    let line = current.line
    let tag = current.text
    openTags.append(tag)
    defer { openTags.removeLast() }
    advance()
    let node: Statement.Node
    switch tag {
    case "if": node = try branches(line)
    case "for": node = .loop(try loop())
    case "set": node = try assignment()
    case "macro": node = try macro()
    case "call": node = try callBlock()
    case "filter":
      let filter = try filters(on: nil, inline: true)
      node = .filterBlock(filter, body: try scopedBody(until: "endfilter"))
    case "with": node = try with()
    case "block": node = try block()
    case "print": return try printed()
    case "autoescape":
      guard case .constant(.bool(false)) = try expression().node else {
        throw error("autoescape can only be false here", line: line)
      }
      node = .with([], body: try scopedBody(until: "endautoescape"))
    case "generation":
      marksGeneration = true
      node = .generation(try function(name: nil, parameters: [], defaults: [], end: "endgeneration"))
    case "break", "continue":
      if loops == 0 { throw error("'\(tag)' outside loop", line: line) }
      node = tag == "break" ? .breakLoop : .continueLoop
    case "include", "import", "extends", "from":
      while current.kind != .blockEnd && current.kind != .end { advance() }
      node = .load
    default:
      openTags.removeLast()
      defer { openTags.append(tag) }
      throw SwiftletError.template(line: line, reason: unfinished("Encountered unknown tag '\(tag)'.", ends).reason)
    }
    return [Statement(line: line, node: node)]
  }

  private mutating func branches(_ line: Int) throws(SwiftletError) -> Statement.Node {
    var found: [Statement.Branch] = []
    var line = line
    while true {
      let test = try tuple(withConditional: false)
      let content = try body(until: "elif", "else", "endif")
      found.append(Statement.Branch(line: line, test: test, body: content))
      line = current.line
      let end = current.text
      advance()
      if end == "elif" { continue }
      var otherwise: [Statement] = []
      if end == "else" {
        otherwise = try body(until: "endif")
        advance()
      }
      return .branch(found, otherwise: otherwise)
    }
  }

  private mutating func loop() throws(SwiftletError) -> Statement.Loop {
    let line = current.line
    let target = try self.target(endingAt: "in")
    try expect(name: "in")
    let iterable = try tuple(withConditional: false, endingAt: "recursive")
    let test = skip(name: "if") ? try expression() : nil
    let isRecursive = skip(name: "recursive")
    let testScope = newScope()
    let scope = newScope()
    let function = isRecursive ? newFunction() : nil
    loops += 1
    let content = try body(until: "endfor", "else")
    loops -= 1
    var otherwise: Statement.Body?
    let end = current.text
    advance()
    if end == "else" { otherwise = try scopedBody(until: "endfor") }
    if let loopName = numbers["loop"], Self.binds(loopName, target) || Self.assigns(loopName, content) {
      throw error("Can't assign to special loop variable in for-loop target", line: line)
    }
    return Statement.Loop(
      target: target, iterable: iterable, test: test, testScope: testScope,
      body: Statement.Body(scope: scope, statements: content), otherwise: otherwise, recursiveFunction: function)
  }

  private static func binds(_ name: Int, _ target: Statement.Target) -> Bool {
    switch target {
    case .name(let number): number == name
    case .attribute: false
    case .tuple(let parts): parts.contains { binds(name, $0) }
    }
  }

  private static func assigns(_ name: Int, _ statements: [Statement]) -> Bool {
    statements.contains { statement in
      switch statement.node {
      case .assign(let target, _), .assignBlock(let target, _, _): binds(name, target)
      case .branch(let branches, let otherwise):
        branches.contains { assigns(name, $0.body) } || assigns(name, otherwise)
      case .filterBlock(_, let body), .with(_, let body): assigns(name, body.statements)
      default: false
      }
    }
  }

  private mutating func assignment() throws(SwiftletError) -> Statement.Node {
    let target = try self.target(withAttributes: true)
    if skip(symbol: "=") { return .assign(target, try tuple()) }
    let filter = current.isSymbol("|") ? try filters(on: nil, inline: false) : nil
    return .assignBlock(target, filter: filter, body: try scopedBody(until: "endset"))
  }

  private mutating func macro() throws(SwiftletError) -> Statement.Node {
    let name = try expectName()
    let (parameters, defaults) = try signature()
    let number = self.number(of: name)
    return .macro(number, try function(name: name, parameters: parameters, defaults: defaults, end: "endmacro"))
  }

  private mutating func callBlock() throws(SwiftletError) -> Statement.Node {
    let line = current.line
    var parameters: [Int] = []
    var defaults: [Expression] = []
    if current.isSymbol("(") { (parameters, defaults) = try signature() }
    let call = try expression()
    guard case .call = call.node else { throw error("expected call", line: line) }
    let caller = try function(name: nil, parameters: parameters, defaults: defaults, end: "endcall")
    return .callBlock(call, caller)
  }

  private mutating func signature() throws(SwiftletError) -> ([Int], [Expression]) {
    var parameters: [Int] = []
    var defaults: [Expression] = []
    try expect(symbol: "(")
    while !current.isSymbol(")") {
      if !parameters.isEmpty { try expect(symbol: ",") }
      let name = try expectName()
      parameters.append(number(of: name))
      if skip(symbol: "=") {
        defaults.append(try expression())
      } else if !defaults.isEmpty {
        throw error("non-default argument follows default argument")
      }
    }
    try expect(symbol: ")")
    return (parameters, defaults)
  }

  mutating func function(
    name: String?, parameters: [Int], defaults: [Expression], end: String
  ) throws(SwiftletError) -> Statement.Macro {
    let outerLoops = loops
    loops = 0
    let number = newFunction()
    let content = try scopedBody(until: end)
    loops = outerLoops
    return Statement.Macro(name: name, parameters: parameters, defaults: defaults, function: number, body: content)
  }

  private mutating func with() throws(SwiftletError) -> Statement.Node {
    var bindings: [(target: Statement.Target, value: Expression)] = []
    while current.kind != .blockEnd && current.kind != .end {
      if !bindings.isEmpty { try expect(symbol: ",") }
      let target = try self.target(endingAt: "=")
      try expect(symbol: "=")
      bindings.append((target, try expression()))
    }
    return .with(bindings, body: try scopedBody(until: "endwith"))
  }

  private mutating func block() throws(SwiftletError) -> Statement.Node {
    let name = try expectName()
    if !blockNames.insert(name).inserted { throw error("block '\(name)' defined twice") }
    _ = skip(name: "scoped")
    _ = skip(name: "required")
    let outerLoops = loops
    loops = 0
    let number = newFunction()
    let content = try scopedBody(until: "endblock")
    loops = outerLoops
    _ = skip(name: name)
    return .block(name, function: number, body: content)
  }

  private mutating func printed() throws(SwiftletError) -> [Statement] {
    var result: [Statement] = []
    while current.kind != .blockEnd && current.kind != .end {
      if !result.isEmpty { try expect(symbol: ",") }
      let line = current.line
      result.append(Statement(line: line, node: .output(try expression())))
    }
    return result
  }

  // MARK: Targets

  /// An assignment target of `set`, `for` or `with`: a name, an attribute of a namespace, or a tuple.
  private mutating func target(
    withAttributes: Bool = false, endingAt end: String = "="
  ) throws(SwiftletError) -> Statement.Target {
    var parts: [Statement.Target] = []
    var isTuple = false
    while true {
      if !parts.isEmpty, current.isSymbol(")") || current.kind == .blockEnd || current.text == end { break }
      parts.append(try simpleTarget(withAttributes: withAttributes))
      guard skip(symbol: ",") else { break }
      isTuple = true
    }
    return isTuple ? .tuple(parts) : parts[0]
  }

  private mutating func simpleTarget(withAttributes: Bool) throws(SwiftletError) -> Statement.Target {
    if skip(symbol: "(") {
      try descend()
      let inner = try target(withAttributes: withAttributes)
      level -= 1
      try expect(symbol: ")")
      return inner
    }
    let line = current.line
    let name = try expectName()
    if ["true", "false", "none", "True", "False", "None"].contains(name) {
      throw error("can't assign to 'const'", line: line)
    }
    let number = self.number(of: name)
    if withAttributes, skip(symbol: ".") { return .attribute(of: number, try expectName()) }
    return .name(number)
  }
}
