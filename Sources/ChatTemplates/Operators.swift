import Diagnostics
import Essentials

/// Arithmetic on numbers, strings and lists.
extension Interpreter {
  private enum Number {
    case integer(Int)
    case number(Double)
    var double: Double {
      switch self {
      case .integer(let value): Double(value)
      case .number(let value): value
      }
    }
  }

  private func number(_ value: Value) throws(SwiftletError) -> Number? {
    switch value {
    case .number(let number): return .number(number)
    case .largeInteger: throw error("arithmetic with integers beyond 64 bits is not supported")
    default: return value.index.map { .integer($0) }
    }
  }

  func negate(_ value: Value) throws(SwiftletError) -> Value {
    if case .undefined(let undefined) = value { throw error(undefined.message) }
    switch try number(value) {
    case .integer(let number): return .integer(try checked(0.subtractingReportingOverflow(number)))
    case .number(let number): return .number(-number)
    case nil: throw error("bad operand type for unary -: '\(value.typeName)'")
    }
  }

  func unaryPlus(_ value: Value) throws(SwiftletError) -> Value {
    if case .undefined(let undefined) = value { throw error(undefined.message) }
    switch try number(value) {
    case .integer(let number): return .integer(number)
    case .number(let number): return .number(number)
    case nil: throw error("bad operand type for unary +: '\(value.typeName)'")
    }
  }

  private func checked(_ result: (partialValue: Int, overflow: Bool)) throws(SwiftletError) -> Int {
    if result.overflow { throw error("the result is an integer beyond 64 bits, which is not supported") }
    return result.partialValue
  }

  func calculate(_ operation: Expression.Arithmetic, _ a: Value, _ b: Value) throws(SwiftletError) -> Value {
    if operation == .modulo, let format = a.text { return try percentFormat(format, b, isMarkup: isMarkup(a)) }
    if case .undefined(let undefined) = a { throw error(undefined.message) }
    if case .undefined(let undefined) = b { throw error(undefined.message) }
    if let x = try number(a), let y = try number(b) { return try calculate(operation, x, y) }
    switch operation {
    case .add:
      if let sum = try join(a, b) { return sum }
    case .multiply:
      if let count = b.index, let product = try repeated(a, count) { return product }
      if let count = a.index, let product = try repeated(b, count) { return product }
      if a.text != nil || isSequence(a) { throw error("can't multiply sequence by non-int of type '\(b.typeName)'") }
    default: break
    }
    if operation == .add, a.text != nil {
      throw error("can only concatenate str (not \"\(b.typeName)\") to str")
    }
    let symbol = operation == .power ? "** or pow()" : operation.rawValue
    throw error("unsupported operand type(s) for \(symbol): '\(a.typeName)' and '\(b.typeName)'")
  }

  private func calculate(_ operation: Expression.Arithmetic, _ a: Number, _ b: Number) throws(SwiftletError) -> Value {
    if case .integer(let x) = a, case .integer(let y) = b { return try calculate(operation, x, y) }
    let (x, y) = (a.double, b.double)
    switch operation {
    case .add: return .number(x + y)
    case .subtract: return .number(x - y)
    case .multiply: return .number(x * y)
    case .power:
      if x == 0, y < 0 { throw error("0.0 cannot be raised to a negative power") }
      return .number(pow(x, y))
    case .divide, .floorDivide, .modulo:
      if y == 0 { throw error(operation == .divide ? "float division by zero" : "float floor division by zero") }
      if operation == .divide { return .number(x / y) }
      var remainder = fmod(x, y)
      if remainder != 0, (remainder < 0) != (y < 0) { remainder += y }
      if operation == .modulo { return .number(remainder) }
      return .number(((x - remainder) / y).rounded())
    }
  }

  private func calculate(_ operation: Expression.Arithmetic, _ x: Int, _ y: Int) throws(SwiftletError) -> Value {
    switch operation {
    case .add: return .integer(try checked(x.addingReportingOverflow(y)))
    case .subtract: return .integer(try checked(x.subtractingReportingOverflow(y)))
    case .multiply: return .integer(try checked(x.multipliedReportingOverflow(by: y)))
    case .divide:
      if y == 0 { throw error("division by zero") }
      return .number(Double(x) / Double(y))
    case .floorDivide, .modulo:
      if y == 0 { throw error("integer division or modulo by zero") }
      let quotient = try checked(x.dividedReportingOverflow(by: y))
      let remainder = x - quotient * y
      let isOff = remainder != 0 && (remainder < 0) != (y < 0)
      if operation == .modulo { return .integer(isOff ? remainder + y : remainder) }
      return .integer(isOff ? quotient - 1 : quotient)
    case .power:
      if y < 0 {
        if x == 0 { throw error("0.0 cannot be raised to a negative power") }
        return .number(pow(Double(x), Double(y)))
      }
      if x == 0 || x == 1 { return .integer(y == 0 ? 1 : x) }
      if x == -1 { return .integer(y % 2 == 0 ? 1 : -1) }
      var result = 1
      for _ in 0..<min(y, 64) { result = try checked(result.multipliedReportingOverflow(by: x)) }
      return .integer(result)
    }
  }

  func isMarkup(_ value: Value) -> Bool { if case .markup = value { true } else { false } }

  private func isSequence(_ value: Value) -> Bool {
    switch value {
    case .list, .tuple, .group: true
    default: false
    }
  }

  /// The concatenation of two strings, lists or tuples; `nil` for other values.
  private func join(_ a: Value, _ b: Value) throws(SwiftletError) -> Value? {
    if let x = a.text, let y = b.text {
      try spendText(x.utf8.count + y.utf8.count)
      switch (isMarkup(a), isMarkup(b)) {
      case (false, false): return .string(x + y)
      case (true, true): return .markup(x + y)
      case (true, false): return .markup(x + HTMLText.escaped(y))
      case (false, true): return .markup(HTMLText.escaped(x) + y)
      }
    }
    switch (a, b) {
    case (.list(let x), .list(let y)): return try list(x.items + y.items)
    case (.tuple(let x), .tuple(let y)), (.group(let x), .tuple(let y)), (.tuple(let x), .group(let y)),
      (.group(let x), .group(let y)):
      return try tuple(x.items + y.items)
    case (.list, _): throw error("can only concatenate list (not \"\(b.typeName)\") to list")
    case (.tuple, _): throw error("can only concatenate tuple (not \"\(b.typeName)\") to tuple")
    default: return nil
    }
  }

  private func repeated(_ value: Value, _ count: Int) throws(SwiftletError) -> Value? {
    let count = max(count, 0)
    if let text = value.text {
      let (bytes, overflow) = text.utf8.count.multipliedReportingOverflow(by: count)
      try spendText(overflow ? .max : bytes)
      let product = bytes == 0 ? "" : String(repeating: text, count: count)
      return isMarkup(value) ? .markup(product) : .string(product)
    }
    switch value {
    case .list(let elements), .tuple(let elements), .group(let elements):
      let (total, overflow) = elements.items.count.multipliedReportingOverflow(by: count)
      try spend(overflow ? limits.work + 1 : total)
      try spendMemory(elements: total)
      let items = total == 0 ? [] : Array(repeatElement(elements.items, count: count).joined())
      if case .list = value { return .list(Elements(items)) }
      return .tuple(Elements(items))
    default: return nil
    }
  }
}
