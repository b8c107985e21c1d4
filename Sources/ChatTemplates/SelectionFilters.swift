import Diagnostics

/// Filters that map, select or group the elements of an iterable.
extension Interpreter {
  func mapped(_ value: Value, _ arguments: CallArguments) throws(SwiftletError) -> Value {
    try generator(over: value) { [unowned self] () throws(SwiftletError) in
      guard isTrue(value) else { return [] }
      var result: [Value] = []
      if arguments.positional.isEmpty, let attribute = arguments.named.first(where: { $0.name == "attribute" }) {
        if let extra = arguments.named.first(where: { $0.name != "attribute" && $0.name != "default" }) {
          throw error("Unexpected keyword argument '\(extra.name)'")
        }
        var missing = arguments.named.first { $0.name == "default" }?.value
        if missing?.isNone == true { missing = nil }
        let path = try path(attribute.value)
        for item in try elements(of: value) { result.append(try follow(path, from: item, default: missing)) }
        return result
      }
      guard let name = arguments.positional.first?.text else { throw error("map requires a filter argument") }
      guard let filter = Filter(rawValue: name) else { throw error("No filter named '\(name)'.") }
      let rest = CallArguments(positional: Array(arguments.positional.dropFirst()), named: arguments.named)
      for item in try elements(of: value) { result.append(try apply(filter, to: item, rest)) }
      return result
    }
  }

  func selected(
    _ value: Value, _ arguments: CallArguments, byAttribute: Bool, keeps: Bool
  ) throws(SwiftletError) -> Value {
    try generator(over: value) { [unowned self] () throws(SwiftletError) in
      guard isTrue(value) else { return [] }
      var positional = arguments.positional[...]
      var path: [Value] = []
      if byAttribute {
        guard let attribute = positional.popFirst() else { throw error("Missing parameter for attribute name") }
        path = try self.path(attribute)
      }
      var test: Test?
      if let name = positional.popFirst() {
        guard let found = name.text.flatMap(Test.init(rawValue:)) else {
          throw error("No test named \(try representation(name)).")
        }
        test = found
      }
      let rest = CallArguments(positional: Array(positional), named: arguments.named)
      var result: [Value] = []
      for item in try elements(of: value) {
        let subject = try follow(path, from: item)
        let holds = try test.map { (test) throws(SwiftletError) in try check(test, subject, rest) } ?? isTrue(subject)
        if holds == keeps { result.append(item) }
      }
      return result
    }
  }

  // MARK: Grouping

  func batches(_ value: Value, _ arguments: CallArguments) throws(SwiftletError) -> Value {
    let given = try arguments.bound(to: ["linecount", "fill_with"], required: 1, of: "batch", self)
    let size = try integer(given[0], default: 1, of: "batch")
    let items = try elements(of: value)
    if size < 1 || size > Limits.rangeCount { throw error("batch() of \(size)") }
    var result: [Value] = []
    var start = 0
    while start < items.count {
      var batch = Array(items[start..<min(start + size, items.count)])
      if let fill = given[1], !fill.isNone, batch.count < size {
        batch += Array(repeating: fill, count: size - batch.count)
      }
      result.append(try list(batch))
      start += size
    }
    return try generator(over: value) { result }
  }

  func slices(_ value: Value, _ arguments: CallArguments) throws(SwiftletError) -> Value {
    let given = try arguments.bound(to: ["slices", "fill_with"], required: 1, of: "slice", self)
    let count = try integer(given[0], default: 1, of: "slice")
    let items = try elements(of: value)
    if count < 1 || count > Limits.rangeCount { throw error("slice() into \(count)") }
    let (size, longer) = items.count.quotientAndRemainder(dividingBy: count)
    var result: [Value] = []
    var start = 0
    for index in 0..<count {
      let end = start + size + (index < longer ? 1 : 0)
      var part = Array(items[start..<end])
      if let fill = given[1], !fill.isNone, index >= longer { part.append(fill) }
      result.append(try list(part))
      start = end
    }
    return try generator(over: value) { result }
  }

  func grouped(_ value: Value, _ arguments: CallArguments) throws(SwiftletError) -> Value {
    let given = try arguments.bound(
      to: ["attribute", "default", "case_sensitive"], required: 1, of: "groupby", self)
    let path = try path(given[0])
    let missing = given[1].flatMap { $0.isNone ? nil : $0 }
    let isSensitive = given[2].map(isTrue) ?? false
    let items = try sorted(try elements(of: value)) { (item) throws(SwiftletError) in
      key(try follow(path, from: item, default: missing), isSensitive)
    }
    var groups: [(key: Value, name: Value, items: [Value])] = []
    for item in items {
      let name = try follow(path, from: item, default: missing)
      let key = key(name, isSensitive)
      if let last = groups.last, try isEqual(last.key, key) {
        groups[groups.count - 1].items.append(item)
      } else {
        groups.append((key, name, [item]))
      }
    }
    var result: [Value] = []
    for group in groups { result.append(.group(Elements([group.name, try list(group.items)]))) }
    return try list(result)
  }
}
