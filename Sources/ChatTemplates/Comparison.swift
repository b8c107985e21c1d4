import Diagnostics

/// Truth, equality and order with Python's rules.
extension Interpreter {
  /// `bool(value)`.
  func isTrue(_ value: Value) -> Bool {
    switch value {
    case .undefined, .none: false
    case .bool(let truth): truth
    case .integer(let number): number != 0
    case .number(let number): number != 0
    case .largeInteger: true
    case .string(let text), .markup(let text): !text.utf8.isEmpty
    case .list(let elements), .tuple(let elements), .group(let elements): !elements.items.isEmpty
    case .dictionary(let dictionary): !dictionary.members.isEmpty
    case .view(let view): !view.elements.items.isEmpty
    case .range(let span): span.count > 0
    case .loop(let loop): !loop.items.isEmpty
    case .generator, .namespace, .macro, .function, .method, .cycler, .joiner: true
    }
  }

  /// `a == b`.
  func isEqual(_ a: Value, _ b: Value) throws(SwiftletError) -> Bool {
    try spend(1)
    switch (a, b) {
    case (.string(let x), .string(let y)), (.string(let x), .markup(let y)), (.markup(let x), .string(let y)),
      (.markup(let x), .markup(let y)):
      if x.utf8.count == y.utf8.count { try spend(x.utf8.count / 16) }
      return PythonText.same(x, y)
    case (.undefined, .undefined), (.none, .none): return true
    case (.largeInteger(let x), .largeInteger(let y)): return x == y
    case (.largeInteger(let x), .number(let y)), (.number(let y), .largeInteger(let x)): return y.integerDigits == x
    case (.number(let x), _):
      switch b {
      case .number(let y): return x == y
      default: return b.index.map { Double($0) == x } ?? false
      }
    case (_, .number(let y)): return a.index.map { Double($0) == y } ?? false
    case (.list(let x), .list(let y)): return try areEqual(x.items, y.items)
    case (.tuple(let x), .tuple(let y)), (.tuple(let x), .group(let y)), (.group(let x), .tuple(let y)),
      (.group(let x), .group(let y)):
      return try areEqual(x.items, y.items)
    case (.dictionary(let x), .dictionary(let y)): return try areEqual(x, y)
    case (.range(let x), .range(let y)):
      return x.count == y.count && (x.count == 0 || (x.start == y.start && (x.count == 1 || x.step == y.step)))
    case (.view(let x), .view(let y)):
      guard x.kind == y.kind, x.kind != .values, x.elements.items.count == y.elements.items.count else { return false }
      for item in x.elements.items where !(try contains(y.elements.items, item)) { return false }
      return true
    case (.namespace(let x), .namespace(let y)): return x === y
    case (.generator(let x), .generator(let y)): return x === y
    case (.loop(let x), .loop(let y)): return x === y
    case (.macro(let x), .macro(let y)): return x === y
    case (.cycler(let x), .cycler(let y)): return x === y
    case (.joiner(let x), .joiner(let y)): return x === y
    case (.function(let x), .function(let y)): return x == y
    default:
      guard let x = a.index, let y = b.index else { return false }
      return x == y
    }
  }

  private func areEqual(_ a: [Value], _ b: [Value]) throws(SwiftletError) -> Bool {
    guard a.count == b.count else { return false }
    try enter()
    defer { leave() }
    for (x, y) in zip(a, b) where !(try isEqual(x, y)) { return false }
    return true
  }

  private func areEqual(_ a: Mapping, _ b: Mapping) throws(SwiftletError) -> Bool {
    guard a.members.count == b.members.count else { return false }
    try enter()
    defer { leave() }
    for member in a.members {
      guard let other = try lookUp(member.key, in: b), try isEqual(member.value, other) else { return false }
    }
    return true
  }

  /// Whether an element equals `value`.
  func contains(_ items: [Value], _ value: Value) throws(SwiftletError) -> Bool {
    for item in items where try isEqual(item, value) { return true }
    return false
  }

  /// The value of a key. As in Python, `1`, `1.0` and `true` are the same key.
  func lookUp(_ key: Value, in dictionary: Mapping) throws(SwiftletError) -> Value? {
    try spend(1 + dictionary.members.count / 8)
    if let text = key.text { return dictionary[text] }
    for member in dictionary.members where try isEqual(member.key, key) { return member.value }
    return nil
  }

  /// `a < b`. Error messages name the operator `symbol`.
  func isLess(_ a: Value, _ b: Value, symbol: String = "<") throws(SwiftletError) -> Bool {
    try spend(1)
    if let x = a.text, let y = b.text {
      try spend(min(x.utf8.count, y.utf8.count) / 16)
      return PythonText.precedes(x, y)
    }
    switch (a, b) {
    case (.undefined(let undefined), _), (_, .undefined(let undefined)): throw error(undefined.message)
    case (.largeInteger(let x), .largeInteger(let y)): return Self.isLess(x, y)
    case (.largeInteger(let x), .number), (.largeInteger(let x), .integer), (.largeInteger(let x), .bool):
      return Double(x).map { big in double(from: b).map { big < $0 } ?? false } ?? false
    case (.number, .largeInteger(let y)), (.integer, .largeInteger(let y)), (.bool, .largeInteger(let y)):
      return Double(y).map { big in double(from: a).map { $0 < big } ?? false } ?? false
    case (.number(let x), .number(let y)): return x < y
    case (.number(let x), _):
      if let y = b.index { return x < Double(y) }
    case (_, .number(let y)):
      if let x = a.index { return Double(x) < y }
    case (.list(let x), .list(let y)), (.tuple(let x), .tuple(let y)), (.group(let x), .group(let y)),
      (.group(let x), .tuple(let y)), (.tuple(let x), .group(let y)):
      try enter()
      defer { leave() }
      for (left, right) in zip(x.items, y.items) where !(try isEqual(left, right)) {
        return try isLess(left, right, symbol: symbol)
      }
      return x.items.count < y.items.count
    default:
      if let x = a.index, let y = b.index { return x < y }
    }
    throw error("'\(symbol)' not supported between instances of '\(a.typeName)' and '\(b.typeName)'")
  }

  /// Compares integers by their digits.
  private static func isLess(_ x: String, _ y: String) -> Bool {
    let (isNegative, otherIsNegative) = (x.hasPrefix("-"), y.hasPrefix("-"))
    if isNegative != otherIsNegative { return isNegative }
    let isSmaller = (x.utf8.count, x) < (y.utf8.count, y)
    return isNegative ? x != y && !isSmaller : isSmaller
  }

  /// A stable sort by `key`, like Python's `sorted`.
  func sorted<Element>(
    _ items: [Element], reverse: Bool = false, by key: (Element) throws(SwiftletError) -> Value
  ) throws(SwiftletError) -> [Element] {
    try spendMemory(elements: 2 * items.count)
    var keyed: [(key: Value, element: Element)] = []
    keyed.reserveCapacity(items.count)
    for item in items { keyed.append((try key(item), item)) }
    if reverse { keyed.reverse() }
    var failure: SwiftletError?
    // The standard library's sort is stable but has no typed throws.
    keyed.sort { a, b in
      guard failure == nil else { return false }
      do throws(SwiftletError) {
        return try isLess(a.key, b.key)
      } catch {
        failure = error
        return false
      }
    }
    if let failure { throw failure }
    let result = keyed.map(\.element)
    return reverse ? result.reversed() : result
  }

  /// `a <relation> b`.
  func compare(_ relation: Expression.Relation, _ a: Value, _ b: Value) throws(SwiftletError) -> Bool {
    switch relation {
    case .equal: return try isEqual(a, b)
    case .unequal: return !(try isEqual(a, b))
    case .less: return try isLess(a, b)
    case .greater: return try isOrderReversed(a, b, ">")
    case .lessOrEqual: return try isLessOrEqual(a, b, "<=")
    case .greaterOrEqual: return try isLessOrEqual(b, a, ">=", isReversed: true)
    case .contained: return try isContained(a, in: b)
    case .notContained: return !(try isContained(a, in: b))
    }
  }

  private func isOrderReversed(_ a: Value, _ b: Value, _ symbol: String) throws(SwiftletError) -> Bool {
    try checkOrder(a, b, symbol)
    return try isLess(b, a, symbol: symbol)
  }

  private func isLessOrEqual(
    _ a: Value, _ b: Value, _ symbol: String, isReversed: Bool = false
  ) throws(SwiftletError) -> Bool {
    try checkOrder(isReversed ? b : a, isReversed ? a : b, symbol)
    if try isLess(a, b, symbol: symbol) { return true }
    return try isEqual(a, b)
  }

  /// Throws if the operands cannot be ordered, naming them in the order they were written.
  private func checkOrder(_ a: Value, _ b: Value, _ symbol: String) throws(SwiftletError) {
    if case .undefined(let undefined) = a { throw error(undefined.message) }
    if case .undefined(let undefined) = b { throw error(undefined.message) }
    func isNumber(_ value: Value) -> Bool {
      switch value {
      case .number, .largeInteger: return true
      default: return value.index != nil
      }
    }
    if a.text != nil && b.text != nil || isNumber(a) && isNumber(b) { return }
    switch (a, b) {
    case (.list, .list), (.tuple, .tuple), (.tuple, .group), (.group, .tuple), (.group, .group): return
    default: throw error("'\(symbol)' not supported between instances of '\(a.typeName)' and '\(b.typeName)'")
    }
  }

  /// `value in container`.
  func isContained(_ value: Value, in container: Value) throws(SwiftletError) -> Bool {
    switch container {
    case .string(let text), .markup(let text):
      guard let part = value.text else {
        throw error("'in <string>' requires string as left operand, not \(value.typeName)")
      }
      try spend(text.utf8.count / 16)
      return PythonText.contains(part, in: text)
    case .dictionary(let dictionary):
      try checkHashable(value)
      return try lookUp(value, in: dictionary) != nil
    case .none, .bool, .integer, .largeInteger, .number, .macro, .function, .method, .namespace, .cycler, .joiner:
      throw error("argument of type '\(container.typeName)' is not iterable")
    default: return try contains(try elements(of: container), value)
    }
  }

  /// Throws if the value cannot be a dictionary key.
  func checkHashable(_ value: Value) throws(SwiftletError) {
    switch value {
    case .list, .dictionary: throw error("unhashable type: '\(value.typeName)'")
    case .tuple(let elements), .group(let elements):
      try enter()
      defer { leave() }
      for item in elements.items { try checkHashable(item) }
    default: break
    }
  }
}
