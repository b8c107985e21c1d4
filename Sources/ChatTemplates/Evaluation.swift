import Diagnostics

/// The evaluated arguments of a call.
struct CallArguments {
  var positional: [Value] = []
  var named: [(name: String, value: Value)] = []
}

/// Evaluation of expressions.
extension Interpreter {
  /// Evaluates an expression. A filter without an operand applies to `blockText`.
  func evaluate(_ expression: Expression, blockText: String? = nil) throws(SwiftletError) -> Value {
    try spend(1)
    try enter()
    defer { leave() }
    switch expression.node {
    case .constant(let constant): return value(of: constant)
    case .name(let name): return read(name)
    case .attribute(let operand, let name): return try attribute(name, of: try evaluate(operand))
    case .item(let operand, let index): return try item(try evaluate(operand), at: try evaluate(index))
    case .filter(let operand, let name, let arguments):
      let value = try operand.map { (operand) throws(SwiftletError) in try evaluate(operand, blockText: blockText) }
      guard let filter = Filter(rawValue: name) else { throw error("No filter named '\(name)' found.") }
      return try apply(filter, to: value ?? .string(blockText ?? ""), try evaluate(arguments))
    case .test(let operand, let name, let arguments):
      let value = try evaluate(operand)
      guard let test = Test(rawValue: name) else { throw error("No test named '\(name)' found.") }
      return .bool(try check(test, value, try evaluate(arguments)))
    case .call(let function, let arguments):
      let callee = try evaluate(function)
      return try call(callee, try evaluate(arguments))
    case .and(let left, let right):
      let value = try evaluate(left)
      return isTrue(value) ? try evaluate(right) : value
    case .or(let left, let right):
      let value = try evaluate(left)
      return isTrue(value) ? value : try evaluate(right)
    case .not(let operand): return .bool(!isTrue(try evaluate(operand)))
    case .comparison(let first, let links): return .bool(try compare(first, links))
    case .arithmetic(let operation, let left, let right):
      let value = try evaluate(left)
      return try calculate(operation, value, try evaluate(right))
    case .concatenation(let parts): return try concatenate(parts)
    case .conditional(let test, let then, let otherwise, let line):
      if isTrue(try evaluate(test)) { return try evaluate(then) }
      if let otherwise { return try evaluate(otherwise) }
      return .undefined(
        .because(
          "the inline if-expression on line \(line) evaluated to false and no else section was defined."))
    default: return try evaluateRare(expression)
    }
  }

  /// The less common expressions, in a function of their own so that the stack frame of `evaluate` stays small.
  private func evaluateRare(_ expression: Expression) throws(SwiftletError) -> Value {
    switch expression.node {
    case .list(let parts): return try list(try evaluate(parts))
    case .tuple(let parts): return try tuple(try evaluate(parts))
    case .dictionary(let pairs):
      var members: [Mapping.Member] = []
      for pair in pairs {
        let key = try evaluate(pair.key)
        members.append(Mapping.Member(key, try evaluate(pair.value)))
      }
      return try dictionary(members)
    case .negative(let operand): return try negate(try evaluate(operand))
    case .positive(let operand): return try unaryPlus(try evaluate(operand))
    case .slice(let operand, let start, let stop, let step):
      let value = try evaluate(operand)
      return try slice(value, try bound(start), try bound(stop), try bound(step))
    default: return .none
    }
  }

  /// Evaluates the call of a call block, with the block's body as the macro `caller`.
  func evaluate(_ call: Expression, caller: Value) throws(SwiftletError) -> Value {
    guard case .call(let function, let arguments) = call.node else { throw error("expected call") }
    let callee = try evaluate(function)
    var values = try evaluate(arguments)
    values.named.append(("caller", caller))
    return try self.call(callee, values)
  }

  private func value(of constant: Expression.Constant) -> Value {
    switch constant {
    case .none: .none
    case .bool(let truth): .bool(truth)
    case .integer(let number): .integer(number)
    case .number(let number): .number(number)
    case .string(let text): .string(text)
    }
  }

  private func evaluate(_ expressions: [Expression]) throws(SwiftletError) -> [Value] {
    var values: [Value] = []
    values.reserveCapacity(expressions.count)
    for expression in expressions { values.append(try evaluate(expression)) }
    return values
  }

  private func evaluate(_ arguments: Expression.Arguments) throws(SwiftletError) -> CallArguments {
    var result = CallArguments(positional: try evaluate(arguments.positional))
    for argument in arguments.named { result.named.append((argument.name, try evaluate(argument.value))) }
    if let spread = arguments.spread {
      result.positional.append(contentsOf: try elements(of: try evaluate(spread)))
    }
    if let spread = arguments.spreadNamed {
      guard case .dictionary(let mapping) = try evaluate(spread) else {
        throw error("argument after ** must be a mapping")
      }
      for member in mapping.members {
        guard let name = member.key.text else { throw error("keywords must be strings") }
        if result.named.contains(where: { PythonText.same($0.name, name) }) {
          throw error("got multiple values for keyword argument '\(name)'")
        }
        result.named.append((name, member.value))
      }
    }
    return result
  }

  private func compare(
    _ first: Expression, _ links: [Expression.Comparison]
  ) throws(SwiftletError) -> Bool {
    var left = try evaluate(first)
    for link in links {
      let right = try evaluate(link.operand)
      guard try compare(link.relation, left, right) else { return false }
      left = right
    }
    return true
  }

  private func concatenate(_ parts: [Expression]) throws(SwiftletError) -> Value {
    var values: [Value] = []
    for part in parts { values.append(try evaluate(part)) }
    var text = ""
    for value in values { text += try string(value) }
    try spendText(text.utf8.count)
    return .string(text)
  }

  private func bound(_ expression: Expression?) throws(SwiftletError) -> Int? {
    guard let expression else { return nil }
    let value = try evaluate(expression)
    if value.isNone { return nil }
    if case .undefined(let undefined) = value { throw error(undefined.message) }
    guard let index = value.index else {
      throw error("slice indices must be integers or None or have an __index__ method")
    }
    return index
  }

  /// The elements that a `for` loop iterates over.
  /// - Throws: for values that are not iterable in Python.
  func elements(of value: Value) throws(SwiftletError) -> [Value] {
    switch value {
    case .undefined: return []
    case .list(let elements), .tuple(let elements), .group(let elements): return elements.items
    case .dictionary(let mapping):
      try spendMemory(elements: mapping.members.count)
      return mapping.members.map(\.key)
    case .view(let view): return view.elements.items
    case .string(let text):
      try spend(text.utf8.count)
      try spendMemory(elements: PythonText.length(text))
      return text.unicodeScalars.map { .string(String($0)) }
    case .markup(let text):
      try spend(text.utf8.count)
      try spendMemory(elements: PythonText.length(text))
      return text.unicodeScalars.map { .markup(String($0)) }
    case .range(let range):
      try spend(range.count)
      try spendMemory(elements: range.count)
      return range.values
    case .generator(let generator): return try drain(generator)
    case .loop(let loop):
      // In Jinja2, iterating `loop` consumes the remaining iterations. No template does it.
      return loop.items
    default: throw error("'\(value.typeName)' object is not iterable")
    }
  }

  func drain(_ generator: Generator) throws(SwiftletError) -> [Value] {
    try enter()
    defer { leave() }
    let items = try generator.drain()
    try spend(items.count)
    try spendMemory(elements: items.count)
    return items
  }
}
