import Diagnostics

/// Filters on lists and other iterables.
extension Interpreter {
  func applySequence(_ filter: Filter, to value: Value, _ arguments: CallArguments) throws(SwiftletError) -> Value {
    switch filter {
    case .join: return .string(try joined(value, arguments))
    case .list: return try list(try elements(of: value))
    case .first: return try first(of: value)
    case .last: return try last(of: value)
    case .items: return try items(of: value)
    case .dictsort: return try dictionarySort(value, arguments)
    case .sort:
      let given = try arguments.bound(to: ["reverse", "case_sensitive", "attribute"], of: "sort", self)
      let getters = try paths(given[2])
      let isSensitive = given[1].map(isTrue) ?? false
      let items = try sorted(try elements(of: value), reverse: given[0].map(isTrue) ?? false) {
        (item) throws(SwiftletError) in
        var keys: [Value] = []
        for getter in getters { keys.append(key(try follow(getter, from: item), isSensitive)) }
        return keys.count == 1 ? keys[0] : try tuple(keys)
      }
      return try list(items)
    case .reverse: return try reversed(value)
    case .unique: return try unique(value, arguments)
    case .min, .max: return try extreme(value, arguments, isMaximum: filter == .max)
    case .sum:
      let given = try arguments.bound(to: ["attribute", "start"], of: "sum", self)
      var total = given[1] ?? .integer(0)
      let path = try path(given[0])
      for item in try elements(of: value) { total = try calculate(.add, total, try follow(path, from: item)) }
      return total
    case .map: return try mapped(value, arguments)
    case .select: return try selected(value, arguments, byAttribute: false, keeps: true)
    case .reject: return try selected(value, arguments, byAttribute: false, keeps: false)
    case .selectattr: return try selected(value, arguments, byAttribute: true, keeps: true)
    case .rejectattr: return try selected(value, arguments, byAttribute: true, keeps: false)
    case .batch: return try batches(value, arguments)
    case .slice: return try slices(value, arguments)
    default: return try grouped(value, arguments)
    }
  }

  // MARK: Paths such as "function.name" or "0"

  func path(_ attribute: Value?) throws(SwiftletError) -> [Value] {
    guard let attribute, !attribute.isNone else { return [] }
    guard let text = attribute.text else { return [attribute] }
    return text.split(separator: ".", omittingEmptySubsequences: false).map { part in
      let isNumber = !part.isEmpty && part.utf8.allSatisfy { $0 >= 48 && $0 <= 57 }
      return isNumber ? Int(part).map { .integer($0) } ?? .string(String(part)) : .string(String(part))
    }
  }

  private func paths(_ attribute: Value?) throws(SwiftletError) -> [[Value]] {
    guard let text = attribute?.text else { return [try path(attribute)] }
    var result: [[Value]] = []
    for part in text.split(separator: ",", omittingEmptySubsequences: false) {
      result.append(try path(.string(String(part))))
    }
    return result
  }

  func follow(_ path: [Value], from item: Value, default missing: Value? = nil) throws(SwiftletError) -> Value {
    var value = item
    for part in path {
      value = try self.item(value, at: part)
      if let missing, value.isUndefined { value = missing }
    }
    return value
  }

  /// The sort key of a value. Strings compare case-insensitively by default.
  func key(_ value: Value, _ isCaseSensitive: Bool) -> Value {
    guard !isCaseSensitive, let text = value.text else { return value }
    return .string(PythonText.lowercase(text))
  }

  // MARK: Elements

  private func joined(_ value: Value, _ arguments: CallArguments) throws(SwiftletError) -> String {
    let given = try arguments.bound(to: ["d", "attribute"], of: "join", self)
    let separator = try string(given[0] ?? .string(""))
    let path = try path(given[1])
    var text = ""
    for (index, item) in try elements(of: value).enumerated() {
      if index > 0 { text += separator }
      text += try string(try follow(path, from: item))
      if text.utf8.count > limits.textBytes { break }
    }
    try spendText(text.utf8.count)
    return text
  }

  private func first(of value: Value) throws(SwiftletError) -> Value {
    let none = Value.undefined(.because("No first item, sequence was empty."))
    if case .generator(let generator) = value { return try generator.next() ?? none }
    if let text = value.text {
      guard let scalar = text.unicodeScalars.first else { return none }
      return isMarkup(value) ? .markup(String(scalar)) : .string(String(scalar))
    }
    return try elements(of: value).first ?? none
  }

  private func last(of value: Value) throws(SwiftletError) -> Value {
    if case .generator = value { throw error("'\(value.typeName)' object is not reversible") }
    if let scalar = value.text?.unicodeScalars.last {
      return isMarkup(value) ? .markup(String(scalar)) : .string(String(scalar))
    }
    return try elements(of: value).last ?? .undefined(.because("No last item, sequence was empty."))
  }

  private func items(of value: Value) throws(SwiftletError) -> Value {
    try generator(over: value) { () throws(SwiftletError) in
      switch value {
      case .undefined: return []
      case .dictionary(let mapping): return mapping.members.map { .tuple(Elements([$0.key, $0.value])) }
      default: throw self.error("Can only get item pairs from a mapping.")
      }
    }
  }

  /// A lazy sequence over `source`.
  func generator(
    over source: Value, typeName: String = "generator", _ produce: @escaping () throws(SwiftletError) -> [Value]
  ) throws(SwiftletError) -> Value {
    let generator = Generator(typeName: typeName, depth: source.depth, produce: produce)
    try checkDepth(generator.depth)
    return .generator(generator)
  }

  private func reversed(_ value: Value) throws(SwiftletError) -> Value {
    if let text = value.text {
      let result = String(String.UnicodeScalarView(text.unicodeScalars.reversed()))
      return isMarkup(value) ? .markup(result) : .string(result)
    }
    switch value {
    case .generator: return try list(try elements(of: value).reversed())
    case .none, .bool, .integer, .largeInteger, .number: throw error("argument must be iterable")
    default:
      let items = try elements(of: value)
      try spend(items.count)
      try spendMemory(elements: items.count)
      return try generator(over: value, typeName: "\(value.typeName)_reverseiterator") { items.reversed() }
    }
  }

  private func dictionarySort(_ value: Value, _ arguments: CallArguments) throws(SwiftletError) -> Value {
    let given = try arguments.bound(to: ["case_sensitive", "by", "reverse"], of: "dictsort", self)
    let by = try given[1].map { (value) throws(SwiftletError) in try text(value, of: "dictsort") } ?? "key"
    guard by == "key" || by == "value" else { throw error("You can only sort by either \"key\" or \"value\"") }
    if case .undefined(let undefined) = value { throw error(undefined.message) }
    guard case .dictionary(let mapping) = value else {
      throw error("'\(value.typeName)' object has no attribute 'items'")
    }
    let isSensitive = given[0].map(isTrue) ?? false
    let members = try sorted(mapping.members, reverse: given[2].map(isTrue) ?? false) {
      key(by == "key" ? $0.key : $0.value, isSensitive)
    }
    return try list(members.map { .tuple(Elements([$0.key, $0.value])) })
  }

  private func unique(_ value: Value, _ arguments: CallArguments) throws(SwiftletError) -> Value {
    let given = try arguments.bound(to: ["case_sensitive", "attribute"], of: "unique", self)
    let path = try path(given[1])
    let isSensitive = given[0].map(isTrue) ?? false
    return try generator(over: value) { [unowned self] () throws(SwiftletError) in
      var seenTexts: Set<[UInt8]> = []
      var seen: [Value] = []
      var result: [Value] = []
      for item in try elements(of: value) {
        let key = key(try follow(path, from: item), isSensitive)
        try checkHashable(key)
        if let text = key.text {
          if seenTexts.insert(Array(text.utf8)).inserted { result.append(item) }
        } else if !(try contains(seen, key)) {
          seen.append(key)
          result.append(item)
        }
      }
      return result
    }
  }

  private func extreme(_ value: Value, _ arguments: CallArguments, isMaximum: Bool) throws(SwiftletError) -> Value {
    let given = try arguments.bound(to: ["case_sensitive", "attribute"], of: isMaximum ? "max" : "min", self)
    let path = try path(given[1])
    let isSensitive = given[0].map(isTrue) ?? false
    var best: (key: Value, item: Value)?
    for item in try elements(of: value) {
      let key = key(try follow(path, from: item), isSensitive)
      guard let known = best else {
        best = (key, item)
        continue
      }
      if isMaximum ? try isLess(known.key, key, symbol: ">") : try isLess(key, known.key) { best = (key, item) }
    }
    return best?.item ?? .undefined(.because("No aggregated item, sequence was empty."))
  }
}
