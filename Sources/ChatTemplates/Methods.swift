import Diagnostics

/// The methods of Python objects that templates can call.
enum Methods {
  private static let ofText: Set<String> = [
    "capitalize", "casefold", "center", "count", "endswith", "expandtabs", "find", "format", "format_map", "index",
    "isalnum", "isalpha", "isascii", "isdecimal", "isdigit", "isidentifier", "islower", "isnumeric", "isprintable",
    "isspace", "istitle", "isupper", "join", "ljust", "lower", "lstrip", "partition", "removeprefix", "removesuffix",
    "replace", "rfind", "rindex", "rjust", "rpartition", "rsplit", "rstrip", "split", "splitlines", "startswith",
    "strip", "swapcase", "title", "upper", "zfill",
  ]
  private static let ofMapping: Set<String> = ["copy", "get", "items", "keys", "values"]
  private static let ofList: Set<String> = ["copy", "count", "index"]
  private static let ofTuple: Set<String> = ["count", "index"]

  private static let changingMapping: Set<String> = ["clear", "pop", "popitem", "setdefault", "update"]
  private static let changingList: Set<String> = [
    "append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort",
  ]

  /// The names of methods that can be called on `value`.
  static func names(_ value: Value) -> Set<String> {
    switch value {
    case .string, .markup: ofText
    case .dictionary: ofMapping
    case .list: ofList
    case .tuple, .group, .range: ofTuple
    case .loop: ["cycle", "changed"]
    case .cycler: ["next", "reset"]
    case .function(.dict): ["fromkeys"]
    default: []
    }
  }

  /// The names of methods that would mutate `value`, which the sandbox forbids.
  static func changing(_ value: Value) -> Set<String> {
    switch value {
    case .dictionary: changingMapping
    case .list: changingList
    default: []
    }
  }
}

extension Interpreter {
  /// `receiver.name(arguments)`
  func call(_ method: Method, _ arguments: CallArguments) throws(SwiftletError) -> Value {
    switch method.receiver {
    case .string(let text): return try callText(method.name, on: text, arguments)
    case .markup(let text): return marked(try callText(method.name, on: text, arguments, isMarkup: true))
    case .dictionary(let mapping): return try callMapping(method.name, on: mapping, arguments)
    case .loop(let loop): return try callLoop(method.name, on: loop, arguments)
    case .cycler(let cycler):
      if method.name == "reset" {
        cycler.position = 0
        return .none
      }
      defer { cycler.position = (cycler.position + 1) % cycler.items.count }
      return cycler.items[cycler.position]
    case .function: return try fromKeys(arguments)
    default: return try callList(method.name, on: method.receiver, arguments)
    }
  }

  /// Converts the strings in a result to markup.
  private func marked(_ value: Value) -> Value {
    switch value {
    case .string(let text): .markup(text)
    case .list(let elements): .list(Elements(elements.items.map(marked)))
    case .tuple(let elements): .tuple(Elements(elements.items.map(marked)))
    default: value
    }
  }

  private func callMapping(
    _ name: String, on mapping: Mapping, _ arguments: CallArguments
  ) throws(SwiftletError) -> Value {
    if name == "get" {
      guard arguments.named.isEmpty else { throw error("dict.get() takes no keyword arguments") }
      let given = try arguments.bound(to: ["key", "default"], required: 1, of: "get", self)
      let key = given[0] ?? .none
      try checkHashable(key)
      return try lookUp(key, in: mapping) ?? given[1] ?? .none
    }
    _ = try arguments.bound(to: [], of: name, self)
    try spend(mapping.members.count)
    try spendMemory(elements: 3 * mapping.members.count)
    switch name {
    case "copy": return .dictionary(mapping)
    case "keys": return .view(View(kind: .keys, elements: Elements(mapping.members.map(\.key))))
    case "values": return .view(View(kind: .values, elements: Elements(mapping.members.map(\.value))))
    default:
      let items = mapping.members.map { Value.tuple(Elements([$0.key, $0.value])) }
      return .view(View(kind: .items, elements: Elements(items)))
    }
  }

  private func callList(_ name: String, on list: Value, _ arguments: CallArguments) throws(SwiftletError) -> Value {
    if name == "copy" { return list }
    let items = try elements(of: list)
    if name == "count" {
      let wanted = try arguments.bound(to: ["value"], required: 1, of: name, self)[0] ?? .none
      var count = 0
      for item in items where try isEqual(item, wanted) { count += 1 }
      return .integer(count)
    }
    let given = try arguments.bound(to: ["value", "start", "stop"], required: 1, of: name, self)
    let wanted = given[0] ?? .none
    func bound(_ value: Value?, _ missing: Int) throws(SwiftletError) -> Int {
      let index = try integer(value, default: missing, of: name)
      return min(max(index < 0 ? index + items.count : index, 0), items.count)
    }
    let (start, stop) = (try bound(given[1], 0), try bound(given[2], items.count))
    for index in start..<max(start, stop) where try isEqual(items[index], wanted) { return .integer(index) }
    throw error("\(try representation(wanted)) is not in list")
  }

  private func callLoop(_ name: String, on loop: LoopState, _ arguments: CallArguments) throws(SwiftletError) -> Value {
    if name == "cycle" {
      if arguments.positional.isEmpty { throw error("no items for cycling given") }
      return arguments.positional[loop.index0 % arguments.positional.count]
    }
    if let last = loop.lastChanged, last.count == arguments.positional.count {
      var isSame = true
      for (a, b) in zip(last, arguments.positional) where !(try isEqual(a, b)) { isSame = false }
      if isSame { return .bool(false) }
    }
    loop.lastChanged = arguments.positional
    return .bool(true)
  }

  private func fromKeys(_ arguments: CallArguments) throws(SwiftletError) -> Value {
    let given = try arguments.bound(to: ["iterable", "value"], required: 1, of: "fromkeys", self)
    let keys = try elements(of: given[0] ?? .none)
    return try dictionary(keys.map { Mapping.Member($0, given[1] ?? .none) })
  }
}
