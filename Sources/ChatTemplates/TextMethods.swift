import Diagnostics

/// The methods of Python's strings, which work on code points.
extension Interpreter {
  func callText(
    _ name: String, on text: String, _ arguments: CallArguments, isMarkup: Bool = false
  ) throws(SwiftletError) -> Value {
    try spendText(text.utf8.count)
    /// Markup escapes the strings that are inserted into it.
    func taken(_ value: Value) throws(SwiftletError) -> String {
      let text = try self.text(value, of: name)
      return isMarkup && !self.isMarkup(value) ? HTMLText.escaped(text) : text
    }
    switch name {
    case "strip", "lstrip", "rstrip":
      let given = try arguments.bound(to: ["chars"], of: name, self)
      return .string(try stripped(text, given[0], left: name != "rstrip", right: name != "lstrip"))
    case "split", "rsplit":
      let given = try arguments.bound(to: ["sep", "maxsplit"], of: name, self)
      let most = try integer(given[1], default: -1, of: name)
      let separator = given[0].flatMap { $0.isNone ? nil : $0 }
      return try list(try split(text, separator, most, fromEnd: name == "rsplit").map { .string($0) })
    case "startswith", "endswith": return .bool(try hasAffix(text, arguments, atEnd: name == "endswith"))
    case "replace":
      let given = try arguments.bound(to: ["old", "new", "count"], required: 2, of: name, self)
      let old = try self.text(given[0] ?? .none, of: name)
      let count = try integer(given[2], default: -1, of: name)
      return .string(try replaced(text, old, try taken(given[1] ?? .none), count))
    case "join":
      let given = try arguments.bound(to: ["iterable"], required: 1, of: name, self)
      var result = ""
      for (index, item) in try elements(of: given[0] ?? .none).enumerated() {
        guard item.text != nil else {
          throw error("sequence item \(index): expected str instance, \(item.typeName) found")
        }
        if index > 0 { result += text }
        result += try taken(item)
        if result.utf8.count > limits.textBytes { break }
      }
      try spendText(result.utf8.count)
      return .string(result)
    case "format": return try braceFormat(text, arguments, isMarkup: isMarkup)
    case "format_map":
      let given = try arguments.bound(to: ["mapping"], required: 1, of: name, self)
      guard case .dictionary(let mapping) = given[0] ?? .none else { throw error("format_map() needs a mapping") }
      let named = mapping.members.compactMap { member in member.key.text.map { (name: $0, value: member.value) } }
      return try braceFormat(text, CallArguments(named: named), isMarkup: isMarkup)
    case "find", "rfind", "index", "rindex", "count": return .integer(try search(name, text, arguments))
    case "partition", "rpartition":
      let given = try arguments.bound(to: ["sep"], required: 1, of: name, self)
      return try partition(text, try self.text(given[0] ?? .none, of: name), fromEnd: name == "rpartition")
    case "removeprefix", "removesuffix":
      let given = try arguments.bound(to: ["affix"], required: 1, of: name, self)
      let affix = Array(try self.text(given[0] ?? .none, of: name).utf8)
      let bytes = Array(text.utf8)
      if name == "removeprefix" {
        return .string(bytes.starts(with: affix) ? String(decoding: bytes.dropFirst(affix.count), as: UTF8.self) : text)
      }
      let ends = bytes.suffix(affix.count).elementsEqual(affix)
      return .string(ends ? String(decoding: bytes.dropLast(affix.count), as: UTF8.self) : text)
    case "splitlines":
      let given = try arguments.bound(to: ["keepends"], of: name, self)
      return try list(PythonText.lines(text, keepEnds: given[0].map(isTrue) ?? false).map { .string($0) })
    case "center", "ljust", "rjust", "zfill", "expandtabs": return .string(try padded(name, text, arguments))
    default:
      _ = try arguments.bound(to: [], of: name, self)
      return textProperty(name, text)
    }
  }

  private func textProperty(_ name: String, _ text: String) -> Value {
    switch name {
    case "upper": .string(PythonText.uppercase(text))
    case "lower", "casefold": .string(PythonText.lowercase(text))
    case "title": .string(PythonText.title(text))
    case "capitalize": .string(PythonText.capitalize(text))
    case "swapcase": .string(PythonText.swappedCase(text))
    case "islower": .bool(PythonText.isLower(text))
    case "isupper": .bool(PythonText.isUpper(text))
    case "istitle": .bool(text.unicodeScalars.contains { $0.properties.isCased } && PythonText.title(text) == text)
    case "isascii": .bool(text.utf8.allSatisfy { $0 < 0x80 })
    case "isprintable": .bool(text.unicodeScalars.allSatisfy(PythonText.isPrintable))
    case "isidentifier": .bool(PythonText.isIdentifier(text))
    default: .bool(!text.isEmpty && text.unicodeScalars.allSatisfy { PythonText.has(name, $0) })
    }
  }

  // MARK: Shared with filters

  func stripped(_ text: String, _ characters: Value?, left: Bool, right: Bool) throws(SwiftletError) -> String {
    guard let characters, !characters.isNone else { return PythonText.strip(text, left: left, right: right) }
    guard let set = characters.text else { throw error("strip arg must be None or str") }
    let scalars = Set(set.unicodeScalars)
    return PythonText.strip(text, left: left, right: right) { scalars.contains($0) }
  }

  func replaced(_ text: String, _ old: String, _ new: String, _ count: Int) throws(SwiftletError) -> String {
    let (bytes, wanted, insert) = (Array(text.utf8), Array(old.utf8), Array(new.utf8))
    var result: [UInt8] = []
    var start = 0
    var done = 0
    if wanted.isEmpty {
      for scalar in text.unicodeScalars {
        if count < 0 || done < count { result += insert }
        done += 1
        result += Array(String(scalar).utf8)
        if result.count > limits.textBytes { break }
      }
      if count < 0 || done < count { result += insert }
    } else {
      while count < 0 || done < count, let place = PythonText.firstIndex(of: wanted, in: bytes, from: start) {
        result += bytes[start..<place]
        result += insert
        start = place + wanted.count
        done += 1
        if result.count > limits.textBytes { break }
      }
      if done == 0 { return text }
      result += bytes[start...]
    }
    try spendText(result.count)
    return String(decoding: result, as: UTF8.self)
  }

  func centered(_ text: String, _ width: Int, _ fill: String) throws(SwiftletError) -> String {
    let missing = width - min(PythonText.length(text), width)
    guard missing > 0 else { return text }
    try spendText(missing)
    let left = missing / 2 + (missing & width & 1)
    return String(repeating: fill, count: left) + text + String(repeating: fill, count: missing - left)
  }

  // MARK: Parts

  private func split(
    _ text: String, _ separator: Value?, _ most: Int, fromEnd: Bool
  ) throws(SwiftletError) -> [String] {
    guard let separator else { return splitAtSpace(text, most, fromEnd: fromEnd) }
    if case .undefined(let undefined) = separator {
      throw error("must be str or None, not Undefined: \(undefined.message)")
    }
    let wanted = Array(try self.text(separator, of: "split").utf8)
    if wanted.isEmpty { throw error("empty separator") }
    let bytes = Array(text.utf8)
    var parts: [String] = []
    func part(_ range: Range<Int>) -> String { String(decoding: bytes[range], as: UTF8.self) }
    if fromEnd {
      var end = bytes.count
      while most < 0 || parts.count < most, let place = PythonText.lastIndex(of: wanted, in: bytes, before: end) {
        parts.append(part(place + wanted.count..<end))
        end = place
      }
      parts.append(part(0..<end))
      return parts.reversed()
    }
    var start = 0
    while most < 0 || parts.count < most, let place = PythonText.firstIndex(of: wanted, in: bytes, from: start) {
      parts.append(part(start..<place))
      start = place + wanted.count
    }
    parts.append(part(start..<bytes.count))
    return parts
  }

  private func splitAtSpace(_ text: String, _ most: Int, fromEnd: Bool) -> [String] {
    var scalars = Array(text.unicodeScalars)
    if fromEnd { scalars.reverse() }
    var parts: [[Unicode.Scalar]] = []
    var rest = scalars.drop(while: PythonText.isSpace)
    while !rest.isEmpty {
      if most >= 0, parts.count == most {
        parts.append(Array(rest))
        break
      }
      let word = rest.prefix { !PythonText.isSpace($0) }
      parts.append(Array(word))
      rest = rest.dropFirst(word.count).drop(while: PythonText.isSpace)
    }
    let words = parts.map { String(String.UnicodeScalarView(fromEnd ? $0.reversed() : $0)) }
    return fromEnd ? words.reversed() : words
  }

  private func partition(_ text: String, _ separator: String, fromEnd: Bool) throws(SwiftletError) -> Value {
    let (bytes, wanted) = (Array(text.utf8), Array(separator.utf8))
    if wanted.isEmpty { throw error("empty separator") }
    let place =
      fromEnd
      ? PythonText.lastIndex(of: wanted, in: bytes, before: bytes.count) : PythonText.firstIndex(of: wanted, in: bytes)
    guard let place else {
      let parts = fromEnd ? ["", "", text] : [text, "", ""]
      return try tuple(parts.map { .string($0) })
    }
    let before = String(decoding: bytes[..<place], as: UTF8.self)
    let after = String(decoding: bytes[(place + wanted.count)...], as: UTF8.self)
    return try tuple([.string(before), .string(separator), .string(after)])
  }

  // MARK: Searching

  /// The bytes between two bounds in code points, and the number of code points before them.
  private func window(_ text: String, _ start: Value?, _ stop: Value?) throws(SwiftletError) -> (String, Int)? {
    guard start != nil || stop != nil else { return (text, 0) }
    let scalars = text.unicodeScalars
    let count = scalars.count
    func bound(_ value: Value?, _ missing: Int) throws(SwiftletError) -> Int {
      guard let value, !value.isNone else { return missing }
      let index = try integer(value, default: missing, of: "find")
      return max(index < 0 ? index + count : index, 0)
    }
    let (from, to) = (try bound(start, 0), min(try bound(stop, count), count))
    guard from <= to else { return nil }
    return (String(scalars.dropFirst(from).prefix(to - from)), from)
  }

  private func hasAffix(_ text: String, _ arguments: CallArguments, atEnd: Bool) throws(SwiftletError) -> Bool {
    let name = atEnd ? "endswith" : "startswith"
    let given = try arguments.bound(to: ["affix", "start", "end"], required: 1, of: name, self)
    var affixes: [Value] = [given[0] ?? .none]
    if case .tuple(let elements) = affixes[0] { affixes = elements.items }
    let part = try window(text, given[1], given[2])?.0
    for value in affixes {
      guard let affix = value.text else {
        throw error("\(name) first arg must be str or a tuple of str, not \(value.typeName)")
      }
      guard let part else { continue }
      let count = affix.utf8.count
      let matches =
        atEnd ? part.utf8.suffix(count).elementsEqual(affix.utf8) : part.utf8.prefix(count).elementsEqual(affix.utf8)
      if matches { return true }
    }
    return false
  }

  private func search(_ name: String, _ text: String, _ arguments: CallArguments) throws(SwiftletError) -> Int {
    let given = try arguments.bound(to: ["sub", "start", "end"], required: 1, of: name, self)
    let wanted = Array(try self.text(given[0] ?? .none, of: name).utf8)
    guard let (part, offset) = try window(text, given[1], given[2]) else { return name == "count" ? 0 : -1 }
    let bytes = Array(part.utf8)
    if name == "count" {
      if wanted.isEmpty { return PythonText.length(part) + 1 }
      var count = 0
      var start = 0
      while let place = PythonText.firstIndex(of: wanted, in: bytes, from: start) {
        count += 1
        start = place + wanted.count
      }
      return count
    }
    let place =
      name.hasPrefix("r")
      ? PythonText.lastIndex(of: wanted, in: bytes, before: bytes.count) : PythonText.firstIndex(of: wanted, in: bytes)
    if let place { return offset + PythonText.length(String(decoding: bytes[..<place], as: UTF8.self)) }
    if name.hasSuffix("find") { return -1 }
    throw error("substring not found")
  }
}
