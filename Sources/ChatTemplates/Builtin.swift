import Diagnostics

/// The global functions of templates.
enum Builtin: String, Sendable {
  case range, dict, namespace, cycler, joiner
  case raiseException = "raise_exception"
  case strftimeNow = "strftime_now"
}

extension Interpreter {
  /// `callee(arguments)`
  func call(_ callee: Value, _ arguments: CallArguments) throws(SwiftletError) -> Value {
    switch callee {
    case .function(let builtin): return try call(builtin, arguments)
    case .method(let method): return try call(method, arguments)
    case .macro(let macro): return .string(try call(macro.definition, arguments, in: macro.activation))
    case .loop(let loop): return .string(try recurse(loop, arguments))
    case .joiner(let joiner):
      defer { joiner.isUsed = true }
      return joiner.isUsed ? joiner.separator : .string("")
    case .undefined(let undefined): throw error(undefined.message)
    default: throw error("'\(callee.typeName)' object is not callable")
    }
  }

  private func recurse(_ loop: LoopState, _ arguments: CallArguments) throws(SwiftletError) -> String {
    guard let recursion = loop.recursion else {
      throw error("The loop must have the 'recursive' marker to be called recursively.")
    }
    let iterable = try arguments.bound(to: ["iterable"], required: 1, of: "loop", self)[0] ?? .none
    try enter()
    defer { leave() }
    return try recurse(
      recursion.loop, over: iterable, depth0: loop.depth0 + 1, recursion.activation, recursion.scope)
  }

  private func call(_ builtin: Builtin, _ arguments: CallArguments) throws(SwiftletError) -> Value {
    switch builtin {
    case .range: return try range(arguments)
    case .dict: return try dictionary(try members(arguments, of: "dict"))
    case .namespace:
      var members: [(name: String, value: Value)] = []
      for member in try self.members(arguments, of: "namespace") {
        members.append((try text(member.key, of: "namespace"), member.value))
      }
      return try namespace(members)
    case .cycler:
      if arguments.positional.isEmpty { throw error("at least one item has to be provided") }
      return .cycler(Cycler(arguments.positional))
    case .joiner:
      return .joiner(Joiner(try arguments.bound(to: ["sep"], of: "joiner", self)[0] ?? .string(", ")))
    case .raiseException:
      let message = try arguments.bound(to: ["message"], required: 1, of: "raise_exception", self)[0] ?? .none
      throw error(try string(message))
    case .strftimeNow:
      let format = try arguments.bound(to: ["format"], required: 1, of: "strftime_now", self)[0] ?? .none
      return .string(now.formatted(try text(format, of: "strftime_now")))
    }
  }

  private func range(_ arguments: CallArguments) throws(SwiftletError) -> Value {
    var numbers: [Int] = []
    for value in arguments.positional { numbers.append(try integer(value, default: 0, of: "range")) }
    guard arguments.named.isEmpty, (1...3).contains(numbers.count) else {
      throw error("range expected 1 to 3 arguments, got \(numbers.count)")
    }
    if numbers.count == 3, numbers[2] == 0 { throw error("range() arg 3 must not be zero") }
    let (start, stop) = numbers.count == 1 ? (0, numbers[0]) : (numbers[0], numbers[1])
    guard let range = NumberRange(start: start, stop: stop, step: numbers.count == 3 ? numbers[2] : 1) else {
      throw error(
        "Range too big. The sandbox blocks ranges larger than MAX_RANGE (\(Limits.rangeCount)).")
    }
    return .range(range)
  }

  /// The members of `dict(mapping or pairs, **names)`.
  private func members(_ arguments: CallArguments, of function: String) throws(SwiftletError) -> [Mapping.Member] {
    var members: [Mapping.Member] = []
    if arguments.positional.count > 1 {
      throw error("\(function) expected at most 1 argument, got \(arguments.positional.count)")
    }
    switch arguments.positional.first {
    case nil: break
    case .dictionary(let mapping): members = mapping.members
    case .some(let pairs):
      for pair in try elements(of: pairs) {
        let sides = try elements(of: pair)
        guard sides.count == 2 else {
          throw error("dictionary update sequence element has length \(sides.count); 2 is required")
        }
        members.append(Mapping.Member(sides[0], sides[1]))
      }
    }
    return members + arguments.named.map { Mapping.Member(.string($0.name), $0.value) }
  }
}
