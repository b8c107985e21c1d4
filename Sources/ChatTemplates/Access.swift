import Diagnostics

/// Attributes, items and slices by Jinja2's rules: `a.b` looks for an attribute first and then for an item, `a['b']`
/// the other way around.
extension Interpreter {
  /// `value.name`
  func attribute(_ name: String, of value: Value) throws(SwiftletError) -> Value {
    if case .undefined(let undefined) = value {
      if Self.ofEveryObject.contains(name) { return unsafe(name, value) }
      throw error(undefined.message)
    }
    if let found = property(name, of: value) { return found }
    if case .dictionary(let mapping) = value, let found = mapping[name] { return found }
    return .undefined(.attribute(objectName: value.objectName, name))
  }

  /// `value[key]`
  func item(_ value: Value, at key: Value) throws(SwiftletError) -> Value {
    switch value {
    case .undefined(let undefined): throw error(undefined.message)
    case .dictionary(let mapping):
      if !isUnhashable(key), let found = try lookUp(key, in: mapping) { return found }
    case .list(let elements), .tuple(let elements), .group(let elements):
      if let index = key.index, let place = place(index, count: elements.items.count) { return elements.items[place] }
    case .string(let text), .markup(let text):
      if let index = key.index, let scalar = try codePoint(index, of: text) {
        return isMarkup(value) ? .markup(String(scalar)) : .string(String(scalar))
      }
    case .range(let range):
      if let index = key.index, let place = place(index, count: range.count) { return range.value(at: place) }
    default: break
    }
    if let name = key.text {
      return property(name, of: value) ?? .undefined(.attribute(objectName: value.objectName, name))
    }
    return .undefined(.element(objectName: value.objectName, try representation(key)))
  }

  private func isUnhashable(_ key: Value) -> Bool {
    switch key {
    case .list, .dictionary: true
    default: false
    }
  }

  private func place(_ index: Int, count: Int) -> Int? {
    let place = index < 0 ? index + count : index
    return place >= 0 && place < count ? place : nil
  }

  private func codePoint(_ index: Int, of text: String) throws(SwiftletError) -> Unicode.Scalar? {
    try spend(text.utf8.count / 16)
    let scalars = text.unicodeScalars
    if index >= 0 { return scalars.dropFirst(index).first }
    return index == .min ? nil : scalars.suffix(-index).count == -index ? scalars.suffix(-index).first : nil
  }

  /// Attributes of every Python object, which the sandbox hides.
  private static let ofEveryObject: Set<String> = [
    "__class__", "__delattr__", "__dir__", "__doc__", "__eq__", "__format__", "__getattribute__", "__hash__",
    "__init__", "__init_subclass__", "__new__", "__reduce__", "__reduce_ex__", "__repr__", "__setattr__", "__str__",
    "__subclasshook__",
  ]

  /// An attribute of the Python object: a method, or a field of one of Jinja2's own objects.
  private func property(_ name: String, of value: Value) -> Value? {
    switch value {
    case .loop(let loop):
      if let found = loopProperty(name, loop) { return found }
    case .namespace(let namespace): return name.hasPrefix("_") ? unsafe(name, value) : namespace[name]
    case .group(let elements) where name == "grouper": return elements.items.first
    case .group(let elements) where name == "list": return elements.items.last
    case .cycler(let cycler) where name == "current": return cycler.items[cycler.position]
    case .macro(let macro):
      switch name {
      case "name": return macro.definition.name.map { .string($0) } ?? Value.none
      case "arguments":
        return .tuple(Elements(macro.definition.parameters.map { .string(program.syntax.names[$0]) }))
      case "catch_kwargs": return .bool(program.functions[macro.definition.function].namedRest != nil)
      case "catch_varargs": return .bool(program.functions[macro.definition.function].positionalRest != nil)
      case "caller": return .bool(program.functions[macro.definition.function].caller != nil)
      default: break
      }
    default: break
    }
    if Methods.changing(value).contains(name) { return unsafe(name, value) }
    if Methods.names(value).contains(name) { return .method(Method(receiver: value, name: name)) }
    return Self.ofEveryObject.contains(name) ? unsafe(name, value) : nil
  }

  private func unsafe(_ name: String, _ value: Value) -> Value {
    .undefined(.unsafeAttribute(typeName: value.typeName, name))
  }

  private func loopProperty(_ name: String, _ loop: LoopState) -> Value? {
    let count = loop.items.count
    switch name {
    case "index": return .integer(loop.index0 + 1)
    case "index0": return .integer(loop.index0)
    case "revindex": return .integer(count - loop.index0)
    case "revindex0": return .integer(count - loop.index0 - 1)
    case "first": return .bool(loop.index0 == 0)
    case "last": return .bool(loop.index0 == count - 1)
    case "length": return .integer(count)
    case "depth": return .integer(loop.depth0 + 1)
    case "depth0": return .integer(loop.depth0)
    case "previtem":
      return loop.index0 > 0 ? loop.items[loop.index0 - 1] : .undefined(.because("there is no previous item"))
    case "nextitem":
      return loop.index0 + 1 < count ? loop.items[loop.index0 + 1] : .undefined(.because("there is no next item"))
    default: return nil
    }
  }

  /// `value[start:stop:step]`
  func slice(_ value: Value, _ start: Int?, _ stop: Int?, _ step: Int?) throws(SwiftletError) -> Value {
    if step == 0 { throw error("slice step cannot be zero") }
    switch value {
    case .undefined(let undefined): throw error(undefined.message)
    case .list(let elements): return try list(try sliced(elements.items, start, stop, step))
    case .tuple(let elements), .group(let elements): return try tuple(try sliced(elements.items, start, stop, step))
    case .string(let text), .markup(let text):
      try spendText(text.utf8.count)
      let scalars = try sliced(Array(text.unicodeScalars), start, stop, step)
      let result = String(String.UnicodeScalarView(scalars))
      return isMarkup(value) ? .markup(result) : .string(result)
    case .range(let range): return try list(try sliced(range.values, start, stop, step))
    case .dictionary: throw error("unhashable type: 'slice'")
    default: throw error("'\(value.typeName)' object is not subscriptable")
    }
  }

  private func sliced<Item>(
    _ items: [Item], _ start: Int?, _ stop: Int?, _ step: Int?
  ) throws(SwiftletError) -> [Item] {
    let step = step ?? 1
    let count = items.count
    func clamp(_ bound: Int?, _ missing: Int) -> Int {
      guard let bound else { return missing }
      let (low, high) = step > 0 ? (0, count) : (-1, count - 1)
      return min(max(bound < 0 ? bound + count : bound, low), high)
    }
    let first = clamp(start, step > 0 ? 0 : count - 1)
    let end = clamp(stop, step > 0 ? count : -1)
    if step == 1 { return first < end ? Array(items[first..<end]) : [] }
    var result: [Item] = []
    var index = first
    while step > 0 ? index < end : index > end {
      result.append(items[index])
      let (next, overflow) = index.addingReportingOverflow(step)
      if overflow { break }
      index = next
    }
    return result
  }
}
