import Diagnostics

/// Filters on strings.
extension Interpreter {
  func applyText(_ filter: Filter, to value: Value, _ arguments: CallArguments) throws(SwiftletError) -> Value {
    let text = try string(value)
    try spendText(text.utf8.count)
    /// Like `soft_str`: markup stays markup.
    func same(_ result: String) -> Value { isMarkup(value) ? .markup(result) : .string(result) }
    switch filter {
    case .upper: return same(PythonText.uppercase(text))
    case .lower: return same(PythonText.lowercase(text))
    case .capitalize: return same(PythonText.capitalize(text))
    case .title: return .string(titled(text))
    case .trim:
      let given = try arguments.bound(to: ["chars"], of: "trim", self)
      return same(try stripped(text, given[0], left: true, right: true))
    case .center:
      let given = try arguments.bound(to: ["width"], of: "center", self)
      return same(try centered(text, try integer(given[0], default: 80, of: "center"), " "))
    case .replace:
      let given = try arguments.bound(to: ["old", "new", "count"], required: 2, of: "replace", self)
      let count = given[2].map { $0.isNone } ?? true ? -1 : try integer(given[2], default: -1, of: "replace")
      return .string(try replaced(text, try string(given[0] ?? .none), try string(given[1] ?? .none), count))
    case .format:
      if !arguments.positional.isEmpty, !arguments.named.isEmpty {
        throw error("can't handle positional and keyword arguments at the same time")
      }
      let values: Value =
        arguments.named.isEmpty
        ? try tuple(arguments.positional)
        : try dictionary(arguments.named.map { Mapping.Member(.string($0.name), $0.value) })
      return try percentFormat(text, values, isMarkup: isMarkup(value))
    case .indent: return same(try indented(value, arguments))
    case .truncate: return .string(try truncated(value, arguments))
    case .wordcount: return .integer(wordCount(text))
    case .urlencode: return .string(try urlEncoded(value))
    case .striptags: return .markup(withoutTags(text))
    default: return .string(try attributes(value, arguments))
    }
  }

  private func titled(_ text: String) -> String {
    var result = ""
    var startsWord = true
    for scalar in text.unicodeScalars {
      let separates = "-({[<".unicodeScalars.contains(scalar) || PythonText.isSpace(scalar)
      if separates {
        result.unicodeScalars.append(scalar)
      } else {
        result += startsWord ? scalar.properties.uppercaseMapping : scalar.properties.lowercaseMapping
      }
      startsWord = separates
    }
    return result
  }

  private func indented(_ value: Value, _ arguments: CallArguments) throws(SwiftletError) -> String {
    let given = try arguments.bound(to: ["width", "first", "blank"], of: "indent", self)
    guard let text = value.text else {
      if case .undefined(let undefined) = value { throw error(undefined.message) }
      throw error("unsupported operand type(s) for +=: '\(value.typeName)' and 'str'")
    }
    let width = try indentation(given[0] ?? .integer(4), of: "indent")
    let indentsFirst = given[1].map(isTrue) ?? false
    let indentsBlank = given[2].map(isTrue) ?? false
    let lines = PythonText.lines(text + "\n")
    try spendText(text.utf8.count + lines.count * width.utf8.count)
    var result = indentsFirst ? width : ""
    for (index, line) in lines.enumerated() {
      if index > 0 {
        result += "\n"
        if indentsBlank || !line.isEmpty { result += width }
      }
      result += line
    }
    return result
  }

  private func truncated(_ value: Value, _ arguments: CallArguments) throws(SwiftletError) -> String {
    let given = try arguments.bound(to: ["length", "killwords", "end", "leeway"], of: "truncate", self)
    let length = try integer(given[0], default: 255, of: "truncate")
    let end = try given[2].map { (value) throws(SwiftletError) in try text(value, of: "truncate") } ?? "..."
    let leeway = given[3].map(\.isNone) ?? true ? 5 : try integer(given[3], default: 5, of: "truncate")
    let endLength = PythonText.length(end)
    if length < endLength { throw error("expected length >= \(endLength), got \(length)") }
    if leeway < 0 { throw error("expected leeway >= 0, got \(leeway)") }
    let scalars = Array(try text(value, of: "truncate").unicodeScalars)
    if scalars.count - min(leeway, scalars.count) <= length { return String(String.UnicodeScalarView(scalars)) }
    var kept = scalars.prefix(length - endLength)
    if !(given[1].map(isTrue) ?? false), let space = kept.lastIndex(of: " ") { kept = kept[..<space] }
    return String(String.UnicodeScalarView(kept)) + end
  }

  private func wordCount(_ text: String) -> Int {
    var count = 0
    var inWord = false
    for scalar in text.unicodeScalars {
      let isWord = scalar == "_" || scalar.properties.isAlphabetic || scalar.properties.numericType != nil
      if isWord && !inWord { count += 1 }
      inWord = isWord
    }
    return count
  }

  private func urlEncoded(_ value: Value) throws(SwiftletError) -> String {
    var pairs: [Value]
    switch value {
    case .dictionary(let mapping): pairs = mapping.members.map { .tuple(Elements([$0.key, $0.value])) }
    case .list, .tuple, .view, .generator: pairs = try elements(of: value)
    default: return HTMLText.urlQuoted(try string(value), isQuery: false)
    }
    var parts: [String] = []
    for pair in pairs {
      let sides = try elements(of: pair)
      guard sides.count == 2 else { throw error("urlencode needs pairs") }
      let key = HTMLText.urlQuoted(try string(sides[0]), isQuery: true)
      parts.append(key + "=" + HTMLText.urlQuoted(try string(sides[1]), isQuery: true))
    }
    return parts.joined(separator: "&")
  }

  private func withoutTags(_ text: String) -> String {
    var result = ""
    var inTag = false
    var rest = text.unicodeScalars[...]
    while let scalar = rest.popFirst() {
      if !inTag, scalar == "<", rest.contains(">") {
        inTag = true
      } else if inTag {
        inTag = scalar != ">"
      } else {
        result.unicodeScalars.append(scalar)
      }
    }
    let words = result.unicodeScalars.split(whereSeparator: PythonText.isSpace).map { String($0) }
    var plain = words.joined(separator: " ")
    for (reference, character) in [("&lt;", "<"), ("&gt;", ">"), ("&#39;", "'"), ("&#34;", "\""), ("&amp;", "&")] {
      plain = plain.replacing(reference, with: character)
    }
    return plain
  }

  private func attributes(_ value: Value, _ arguments: CallArguments) throws(SwiftletError) -> String {
    let given = try arguments.bound(to: ["autospace"], of: "xmlattr", self)
    guard case .dictionary(let mapping) = value else {
      throw error("'\(value.objectName)' has no attribute 'items'")
    }
    var parts: [String] = []
    for member in mapping.members where !member.value.isNone && !member.value.isUndefined {
      let key = try text(member.key, of: "xmlattr")
      if key.contains(where: { " \t\n\r\u{0B}\u{0C}/>=".contains($0) }) {
        throw error("Invalid character in attribute name: \(PythonText.quoted(key))")
      }
      let content = isMarkup(member.value) ? try string(member.value) : HTMLText.escaped(try string(member.value))
      parts.append("\(HTMLText.escaped(key))=\"\(content)\"")
    }
    let result = parts.joined(separator: " ")
    let spaced = given[0].map(isTrue) ?? true
    return spaced && !result.isEmpty ? " " + result : result
  }
}
