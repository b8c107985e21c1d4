import Diagnostics

/// The tests by name.
enum Test: String, Sendable {
  case odd, even, divisibleby, defined, undefined, filter, test, none, boolean, `false`, `true`, integer, float, lower,
    upper, string, mapping, number, sequence, iterable, callable, sameas, escaped
  case `in`
  case equal = "=="
  case eq, equalto
  case unequal = "!="
  case ne
  case greater = ">"
  case gt, greaterthan
  case greaterOrEqual = ">="
  case ge
  case less = "<"
  case lt, lessthan
  case lessOrEqual = "<="
  case le
}

extension Interpreter {
  /// `value is test(arguments)`
  func check(_ test: Test, _ value: Value, _ arguments: CallArguments) throws(SwiftletError) -> Bool {
    if let relation = relation(test) {
      let other = try arguments.bound(to: ["other"], required: 1, of: test.rawValue, self)[0] ?? .none
      return try compare(relation, value, other)
    }
    switch test {
    case .divisibleby, .sameas:
      let other =
        try arguments.bound(
          to: [test == .sameas ? "other" : "num"], required: 1, of: "test_\(test.rawValue)", self)[0] ?? .none
      if test == .sameas { return try isSame(value, other) }
      return try isEqual(try calculate(.modulo, value, other), .integer(0))
    default: _ = try arguments.bound(to: [], of: "test_\(test.rawValue)", self)
    }
    switch test {
    case .defined: return !value.isUndefined
    case .undefined: return value.isUndefined
    case .none: return value.isNone
    case .string: return value.text != nil
    case .mapping: if case .dictionary = value { return true }
    case .boolean: if case .bool = value { return true }
    case .true: if case .bool(true) = value { return true }
    case .false: if case .bool(false) = value { return true }
    case .integer:
      switch value {
      case .integer, .largeInteger: return true
      default: return false
      }
    case .float: if case .number = value { return true }
    case .number:
      switch value {
      case .number, .largeInteger: return true
      default: return value.index != nil
      }
    case .odd: return try isEqual(try calculate(.modulo, value, .integer(2)), .integer(1))
    case .even: return try isEqual(try calculate(.modulo, value, .integer(2)), .integer(0))
    case .lower: return PythonText.isLower(try string(value))
    case .upper: return PythonText.isUpper(try string(value))
    case .escaped: return isMarkup(value)
    case .filter: return value.text.flatMap(Filter.init(rawValue:)) != nil
    case .test: return value.text.flatMap(Test.init(rawValue:)) != nil
    case .iterable: return isIterable(value)
    case .sequence:
      switch value {
      case .undefined, .string, .markup, .list, .tuple, .group, .dictionary, .range: return true
      default: return false
      }
    case .callable:
      switch value {
      case .undefined, .macro, .function, .method, .loop, .joiner: return true
      default: return false
      }
    default: break
    }
    return false
  }

  private func relation(_ test: Test) -> Expression.Relation? {
    switch test {
    case .equal, .eq, .equalto: .equal
    case .unequal, .ne: .unequal
    case .greater, .gt, .greaterthan: .greater
    case .greaterOrEqual, .ge: .greaterOrEqual
    case .less, .lt, .lessthan: .less
    case .lessOrEqual, .le: .lessOrEqual
    case .in: .contained
    default: nil
    }
  }

  private func isIterable(_ value: Value) -> Bool {
    switch value {
    case .none, .bool, .integer, .largeInteger, .number, .namespace, .macro, .function, .method, .cycler, .joiner: false
    default: true
    }
  }

  /// Python's `is`, approximated by type and content.
  private func isSame(_ a: Value, _ b: Value) throws(SwiftletError) -> Bool {
    a.typeName == b.typeName ? try isEqual(a, b) : false
  }
}
