import Diagnostics
import Foundation

/// The format specification of a field in Python's format strings.
struct FieldFormat {
  var fill: Unicode.Scalar = " "
  /// `<`, `>`, `^` or `=` (padding between sign and digits).
  var align: Unicode.Scalar?
  /// The sign of numbers that are not negative: `+`, a space, or none.
  var sign: Unicode.Scalar?
  var isAlternate = false
  var width = 0
  /// The thousands separator: `,` or `_`.
  var grouping: Unicode.Scalar?
  var precision: Int?
  var type: Unicode.Scalar?

  static let widest = 1_000_000
  static let finest = 10_000

  init() {}

  /// Parses the part after the colon in `{:...}`; `nil` if it is malformed.
  init?(_ specification: String) {
    var rest = specification.unicodeScalars[...]
    let second = rest.dropFirst().first
    if let first = rest.first, let mark = second, "<>^=".unicodeScalars.contains(mark) {
      fill = first
      align = mark
      rest = rest.dropFirst(2)
    } else if let mark = rest.first, "<>^=".unicodeScalars.contains(mark) {
      align = mark
      rest = rest.dropFirst()
    }
    if let mark = rest.first, "+- ".unicodeScalars.contains(mark) {
      sign = mark == "-" ? nil : mark
      rest = rest.dropFirst()
    }
    if rest.first == "#" {
      isAlternate = true
      rest = rest.dropFirst()
    }
    if rest.first == "0" {
      if align == nil { (fill, align) = ("0", "=") }
      rest = rest.dropFirst()
    }
    guard let width = Self.number(&rest, Self.widest) else { return nil }
    self.width = width
    if let mark = rest.first, mark == "," || mark == "_" {
      grouping = mark
      rest = rest.dropFirst()
    }
    if rest.first == "." {
      rest = rest.dropFirst()
      guard rest.first.map({ ("0"..."9").contains($0) }) == true, let digits = Self.number(&rest, Self.finest)
      else { return nil }
      precision = digits
    }
    type = rest.popFirst()
    if !rest.isEmpty { return nil }
  }

  static func number(_ rest: inout String.UnicodeScalarView.SubSequence, _ limit: Int) -> Int? {
    var value = 0
    while let digit = rest.first, ("0"..."9").contains(digit) {
      value = value * 10 + Int(digit.value - 48)
      if value > limit { return nil }
      rest = rest.dropFirst()
    }
    return value
  }

  /// `text` padded to the width.
  func padded(_ text: String, defaultAlign: Unicode.Scalar = "<") -> String {
    let missing = width - PythonText.length(text)
    guard missing > 0 else { return text }
    func pad(_ count: Int) -> String { String(repeating: String(fill), count: count) }
    switch align ?? defaultAlign {
    case ">", "=": return pad(missing) + text
    case "^": return pad(missing / 2) + text + pad(missing - missing / 2)
    default: return text + pad(missing)
    }
  }

  /// Formats a string, truncated to the precision.
  func format(_ text: String) -> String {
    padded(precision.map { String(String.UnicodeScalarView(text.unicodeScalars.prefix($0))) } ?? text)
  }

  /// Formats an integer; `nil` if the type does not fit.
  func format(_ value: Int) -> String? {
    var digits: String
    let magnitude = value.magnitude
    switch type {
    case nil, "d", "n": digits = String(magnitude)
    case "x": digits = (isAlternate ? "0x" : "") + String(magnitude, radix: 16)
    case "X": digits = (isAlternate ? "0X" : "") + String(magnitude, radix: 16, uppercase: true)
    case "o": digits = (isAlternate ? "0o" : "") + String(magnitude, radix: 8)
    case "b": digits = (isAlternate ? "0b" : "") + String(magnitude, radix: 2)
    case "c":
      guard let scalar = Unicode.Scalar(UInt32(clamping: value)) else { return nil }
      return padded(String(scalar))
    case "e", "E", "f", "F", "g", "G", "%": return format(Double(value))
    default: return nil
    }
    if type == nil || type == "d" || type == "n" { digits = grouped(digits) }
    return signed(digits, isNegative: value < 0)
  }

  /// Formats a floating-point number; `nil` if the type does not fit.
  func format(_ value: Double) -> String? {
    var digits: String
    if !value.isFinite {
      digits = value.isNaN ? "nan" : "inf"
      if let type, ("A"..."Z").contains(type) { digits = digits.uppercased() }
      return signed(digits, isNegative: value < 0)
    }
    let magnitude = value.magnitude
    switch type {
    case nil where precision == nil: digits = magnitude.pythonRepresentation
    case nil:
      digits = String(format: "%.\(max(precision ?? 6, 1))g", magnitude)
      if !digits.contains(where: { $0 == "." || $0 == "e" }) { digits += ".0" }
    case "e", "E", "f", "F", "g", "G":
      digits = String(format: "%\(isAlternate ? "#" : "").\(precision ?? 6)\(type ?? "f")", magnitude)
    case "n": digits = String(format: "%.\(precision ?? 6)g", magnitude)
    case "%": digits = String(format: "%.\(precision ?? 6)f", magnitude * 100) + "%"
    default: return nil
    }
    return signed(grouped(digits), isNegative: value.sign == .minus)
  }

  private func grouped(_ digits: String) -> String {
    guard let grouping else { return digits }
    let whole = digits.prefix { $0.isNumber }
    var result = ""
    for (index, digit) in whole.enumerated() {
      if index > 0, (whole.count - index) % 3 == 0 { result.unicodeScalars.append(grouping) }
      result.append(digit)
    }
    return result + digits.dropFirst(whole.count)
  }

  private func signed(_ digits: String, isNegative: Bool) -> String {
    let mark = isNegative ? "-" : sign.map { String($0) } ?? ""
    guard align == "=" else { return padded(mark + digits, defaultAlign: ">") }
    var inner = self
    inner.width = width - mark.utf8.count
    return mark + inner.padded(digits, defaultAlign: ">")
  }
}

/// `format % values`.
extension Interpreter {
  func percentFormat(_ format: String, _ values: Value, isMarkup: Bool) throws(SwiftletError) -> Value {
    var positional: [Value]
    var mapping: Mapping?
    switch values {
    case .tuple(let elements), .group(let elements): positional = elements.items
    case .dictionary(let dictionary):
      positional = [values]
      mapping = dictionary
    default: positional = [values]
    }
    var arguments = positional[...]
    var usedMapping = false
    var output = ""
    var rest = format.unicodeScalars[...]
    while let scalar = rest.popFirst() {
      guard scalar == "%" else {
        output.unicodeScalars.append(scalar)
        continue
      }
      var value: Value?
      if rest.first == "(" {
        let name = String(rest.dropFirst().prefix { $0 != ")" })
        rest = rest.dropFirst(name.unicodeScalars.count + 2)
        guard let mapping else { throw error("format requires a mapping") }
        guard let found = mapping[name] else { throw error("KeyError: \(PythonText.quoted(name))") }
        value = found
        usedMapping = true
      }
      let (field, type) = try percentField(&rest, &arguments)
      if type == "%" {
        output += "%"
        continue
      }
      guard let argument = value ?? arguments.popFirst() else {
        throw error("not enough arguments for format string")
      }
      var text = try percentText(argument, field, type)
      if isMarkup, argument.text != nil, !self.isMarkup(argument) { text = HTMLText.escaped(text) }
      output += text
      try spendText(output.utf8.count)
    }
    var isList = false
    if case .list = values { isList = true }
    if !arguments.isEmpty, !usedMapping, mapping == nil, !values.isUndefined, !(isList && format.isEmpty) {
      throw error("not all arguments converted during string formatting")
    }
    return isMarkup ? .markup(output) : .string(output)
  }

  private func percentField(
    _ rest: inout String.UnicodeScalarView.SubSequence, _ arguments: inout ArraySlice<Value>
  ) throws(SwiftletError) -> (FieldFormat, Unicode.Scalar) {
    var field = FieldFormat()
    var isLeft = false
    var isZero = false
    flags: while let flag = rest.first {
      switch flag {
      case "-": isLeft = true
      case "+": field.sign = "+"
      case " ": field.sign = field.sign ?? " "
      case "#": field.isAlternate = true
      case "0": isZero = true
      default: break flags
      }
      rest = rest.dropFirst()
    }
    func number(_ limit: Int) throws(SwiftletError) -> Int {
      if rest.first == "*" {
        rest = rest.dropFirst()
        guard let value = arguments.popFirst()?.index else { throw error("* wants int") }
        if value > limit { throw error("a format wider than \(limit)") }
        if value < 0 { isLeft = true }
        return abs(value)
      }
      guard let value = FieldFormat.number(&rest, limit) else { throw error("a format wider than \(limit)") }
      return value
    }
    field.width = try number(FieldFormat.widest)
    if rest.first == "." {
      rest = rest.dropFirst()
      field.precision = try number(FieldFormat.finest)
    }
    while let mark = rest.first, mark == "l" || mark == "h" || mark == "L" { rest = rest.dropFirst() }
    guard let type = rest.popFirst() else { throw error("incomplete format") }
    field.align = isLeft ? "<" : ">"
    if isZero, !isLeft, !["s", "r", "a", "c"].contains(type) {
      field.fill = "0"
      field.align = "="
    }
    return (field, type)
  }

  private func percentText(
    _ value: Value, _ field: FieldFormat, _ type: Unicode.Scalar
  ) throws(SwiftletError) -> String {
    var field = field
    switch type {
    case "s": return field.format(try string(value))
    case "r", "a": return field.format(try representation(value))
    case "c":
      field.precision = nil
      if let text = value.text, PythonText.length(text) == 1 { return field.format(text) }
      if let code = value.index, let scalar = Unicode.Scalar(UInt32(clamping: code)) {
        return field.format(String(scalar))
      }
      throw error("%c requires int or char")
    case "d", "i", "u", "x", "X", "o":
      var number = value.index
      if case .number(let fraction) = value, type == "d" || type == "i" || type == "u" {
        number = Int(exactly: fraction.rounded(.towardZero))
      }
      guard let number else {
        throw error("%\(type) format: a real number is required, not \(value.typeName)")
      }
      let digits = field.precision ?? 0
      field.precision = nil
      field.type = type == "i" || type == "u" ? "d" : type
      if digits > 0 {
        var inner = FieldFormat()
        (inner.type, inner.width, inner.fill, inner.align) = (field.type, digits, "0", "=")
        return field.padded(inner.format(number) ?? "", defaultAlign: ">")
      }
      return field.format(number) ?? ""
    case "e", "E", "f", "F", "g", "G":
      field.type = type
      if case .number(let number) = value { return field.format(number) ?? "" }
      guard let number = value.index else { throw error("must be real number, not \(value.typeName)") }
      return field.format(Double(number)) ?? ""
    default: throw error("unsupported format character '\(type)'")
    }
  }
}

/// `text.format(...)`.
extension Interpreter {
  func braceFormat(_ format: String, _ arguments: CallArguments, isMarkup: Bool) throws(SwiftletError) -> Value {
    var automatic = 0
    let text = try braceFormat(format, arguments, isMarkup: isMarkup, &automatic, depth: 0)
    return isMarkup ? .markup(text) : .string(text)
  }

  private func braceFormat(
    _ format: String, _ arguments: CallArguments, isMarkup: Bool, _ automatic: inout Int, depth: Int
  ) throws(SwiftletError) -> String {
    if depth > 2 { throw error("Max string recursion exceeded") }
    var output = ""
    var rest = format.unicodeScalars[...]
    while let scalar = rest.popFirst() {
      switch scalar {
      case "{" where rest.first == "{", "}" where rest.first == "}":
        rest = rest.dropFirst()
        output.unicodeScalars.append(scalar)
      case "}": throw error("Single '}' encountered in format string")
      case "{":
        output += try braceField(try fieldText(&rest), arguments, isMarkup: isMarkup, &automatic, depth: depth)
        try spendText(output.utf8.count)
      default: output.unicodeScalars.append(scalar)
      }
    }
    return output
  }

  /// The text of a field up to its closing brace.
  private func fieldText(_ rest: inout String.UnicodeScalarView.SubSequence) throws(SwiftletError) -> String {
    var open = 1
    var field = String.UnicodeScalarView()
    while let scalar = rest.popFirst() {
      if scalar == "{" { open += 1 }
      if scalar == "}" { open -= 1 }
      if open == 0 { return String(field) }
      field.append(scalar)
    }
    throw error("expected '}' before end of string")
  }

  private func braceField(
    _ field: String, _ arguments: CallArguments, isMarkup: Bool, _ automatic: inout Int, depth: Int
  ) throws(SwiftletError) -> String {
    var rest = field.unicodeScalars[...]
    let path = String(rest.prefix { $0 != "!" && $0 != ":" })
    rest = rest.dropFirst(path.unicodeScalars.count)
    var conversion: Unicode.Scalar?
    if rest.first == "!" {
      conversion = rest.dropFirst().first
      rest = rest.dropFirst(2)
    }
    let raw = rest.first == ":" ? String(rest.dropFirst()) : ""
    let value = try fieldValue(path, arguments, &automatic)
    let specification = try braceFormat(raw, arguments, isMarkup: false, &automatic, depth: depth + 1)
    switch conversion {
    case nil: break
    case "r", "a": return try formatted(.string(try representation(value)), specification)
    case "s": return try formatted(.string(try string(value)), specification)
    default: throw error("Unknown conversion specifier")
    }
    let text = try formatted(value, specification)
    return isMarkup && !self.isMarkup(value) ? HTMLText.escaped(text) : text
  }

  private func fieldValue(
    _ path: String, _ arguments: CallArguments, _ automatic: inout Int
  ) throws(SwiftletError) -> Value {
    var rest = path.unicodeScalars[...]
    let first = String(rest.prefix { $0 != "." && $0 != "[" })
    rest = rest.dropFirst(first.unicodeScalars.count)
    var value: Value
    if let index = first.isEmpty ? automatic : Int(first) {
      if first.isEmpty { automatic += 1 }
      guard arguments.positional.indices.contains(index) else {
        throw error("Replacement index \(index) out of range for positional args tuple")
      }
      value = arguments.positional[index]
    } else {
      guard let found = arguments.named.first(where: { $0.name == first }) else {
        throw error("KeyError: \(PythonText.quoted(first))")
      }
      value = found.value
    }
    while let mark = rest.popFirst() {
      if mark == "." {
        let name = String(rest.prefix { $0 != "." && $0 != "[" })
        rest = rest.dropFirst(name.unicodeScalars.count)
        value = try attribute(name, of: value)
      } else {
        let key = String(rest.prefix { $0 != "]" })
        rest = rest.dropFirst(key.unicodeScalars.count + 1)
        value = try item(value, at: Int(key).map { .integer($0) } ?? .string(key))
      }
    }
    return value
  }

  private func formatted(_ value: Value, _ specification: String) throws(SwiftletError) -> String {
    if specification.isEmpty { return try string(value) }
    guard let field = FieldFormat(specification) else { throw error("Invalid format specifier") }
    let result: String?
    switch value {
    case .integer(let number): result = field.format(number)
    case .bool(let truth):
      result = field.type == nil ? field.padded(truth ? "True" : "False") : field.format(truth ? 1 : 0)
    case .number(let number): result = field.format(number)
    case .string(let text), .markup(let text):
      result = field.type == nil || field.type == "s" ? field.format(text) : nil
    default: throw error("unsupported format string passed to \(value.typeName).__format__")
    }
    guard let result else {
      throw error("Unknown format code '\(field.type ?? "?")' for object of type '\(value.typeName)'")
    }
    return result
  }
}
