import Diagnostics

/// The filters by name.
enum Filter: String, Sendable {
  case abs, attr, batch, capitalize, center, count, d, `default`, dictsort, e, escape, filesizeformat, first, float,
    forceescape, format, groupby, indent, int, items, join, last, length, list, lower, map, max, min, reject,
    rejectattr, replace, reverse, round, safe, select, selectattr, slice, sort, string, striptags, sum, title, tojson,
    trim, truncate, unique, upper, urlencode, wordcount, xmlattr
}

extension Interpreter {
  private static let withoutArguments: Set<Filter> = [
    .abs, .capitalize, .count, .e, .escape, .first, .forceescape, .items, .last, .length, .list, .lower, .reverse,
    .safe, .string, .striptags, .title, .upper, .urlencode, .wordcount,
  ]

  /// `value | filter(arguments)`
  func apply(_ filter: Filter, to value: Value, _ arguments: CallArguments) throws(SwiftletError) -> Value {
    if Self.withoutArguments.contains(filter) { _ = try arguments.bound(to: [], of: filter.rawValue, self) }
    switch filter {
    case .default, .d:
      let given = try arguments.bound(to: ["default_value", "boolean"], of: "default", self)
      let isMissing = value.isUndefined || (given[1].map(isTrue) == true && !isTrue(value))
      return isMissing ? given[0] ?? .string("") : value
    case .length, .count: return .integer(try length(of: value))
    case .tojson: return .string(try jsonText(value, arguments))
    case .safe:
      return .markup(try string(value))
    case .escape, .e: return isMarkup(value) ? value : .markup(HTMLText.escaped(try string(value)))
    case .forceescape: return .markup(HTMLText.escaped(try string(value)))
    case .string: return isMarkup(value) ? value : .string(try string(value))
    case .attr:
      let name = try arguments.bound(to: ["name"], required: 1, of: "attr", self)[0] ?? .none
      return try attributeOnly(try text(name, of: "attr"), of: value)
    case .abs, .int, .float, .round, .filesizeformat: return try applyNumber(filter, to: value, arguments)
    case .capitalize, .center, .format, .indent, .lower, .replace, .striptags, .title, .trim, .truncate, .upper,
      .urlencode, .wordcount, .xmlattr:
      return try applyText(filter, to: value, arguments)
    default: return try applySequence(filter, to: value, arguments)
    }
  }

  private func attributeOnly(_ name: String, of value: Value) throws(SwiftletError) -> Value {
    if case .dictionary = value, !Methods.names(value).contains(name), !Methods.changing(value).contains(name) {
      return .undefined(.attribute(objectName: value.objectName, name))
    }
    return try attribute(name, of: value)
  }

  /// `len(value)`
  func length(of value: Value) throws(SwiftletError) -> Int {
    switch value {
    case .undefined: return 0
    case .string(let text), .markup(let text):
      try spend(text.utf8.count / 16)
      return PythonText.length(text)
    case .list(let elements), .tuple(let elements), .group(let elements): return elements.items.count
    case .dictionary(let mapping): return mapping.members.count
    case .view(let view): return view.elements.items.count
    case .range(let range): return range.count
    case .loop(let loop): return loop.items.count
    default: throw error("object of type '\(value.typeName)' has no len()")
    }
  }

  /// The indentation for an argument that is a string or a number of spaces.
  func indentation(_ value: Value, of filter: String) throws(SwiftletError) -> String {
    if let text = value.text { return text }
    let width = try integer(value, default: 0, of: filter)
    if width > 4096 { throw error("\(filter)() by \(width) spaces") }
    return String(repeating: " ", count: max(width, 0))
  }

  private func jsonText(_ value: Value, _ arguments: CallArguments) throws(SwiftletError) -> String {
    let given = try arguments.bound(
      to: ["ensure_ascii", "indent", "separators", "sort_keys"], of: "tojson", self)
    var style = JSONText()
    style.escapesNonASCII = given[0].map(isTrue) ?? false
    style.sortsKeys = given[3].map(isTrue) ?? false
    if let indent = given[1], !indent.isNone {
      style.indent = try indentation(indent, of: "tojson")
      style.comma = ","
    }
    if let separators = given[2], !separators.isNone {
      let parts = try elements(of: separators)
      guard parts.count == 2, let comma = parts[0].text, let colon = parts[1].text else {
        throw error("tojson: separators must be two strings")
      }
      (style.comma, style.colon) = (comma, colon)
    }
    return try style.text(value, self)
  }
}
