import Diagnostics
import Essentials

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
      digits = String(cFormat: "%.\(max(precision ?? 6, 1))g", magnitude)
      if !digits.contains(where: { $0 == "." || $0 == "e" }) { digits += ".0" }
    case "e", "E", "f", "F", "g", "G":
      digits = String(cFormat: "%\(isAlternate ? "#" : "").\(precision ?? 6)\(type ?? "f")", magnitude)
    case "n": digits = String(cFormat: "%.\(precision ?? 6)g", magnitude)
    case "%": digits = String(cFormat: "%.\(precision ?? 6)f", magnitude * 100) + "%"
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
