import Diagnostics
import Essentials

/// Filters that return numbers.
extension Interpreter {
  func applyNumber(_ filter: Filter, to value: Value, _ arguments: CallArguments) throws(SwiftletError) -> Value {
    if case .undefined(let undefined) = value { throw error(undefined.message) }
    switch filter {
    case .int: return try integer(from: value, arguments)
    case .float:
      let given = try arguments.bound(to: ["default"], of: "float", self)
      return double(from: value).map { .number($0) } ?? given[0] ?? .number(0)
    case .round: return try round(value, arguments)
    case .abs:
      if case .number(let number) = value { return .number(number.magnitude) }
      if case .largeInteger(let digits) = value {
        return .largeInteger(digits.hasPrefix("-") ? String(digits.dropFirst()) : digits)
      }
      guard let number = value.index else { throw error("bad operand type for abs(): '\(value.typeName)'") }
      return number < 0 ? try negate(.integer(number)) : .integer(number)
    default: return .string(try fileSize(value, arguments))
    }
  }

  /// `float(value)`; `nil` if Python would raise.
  func double(from value: Value) -> Double? {
    switch value {
    case .number(let number): return number
    case .string(let text), .markup(let text): return Self.double(parsing: text)
    case .largeInteger(let digits): return Double(digits)
    default: return value.index.map(Double.init)
    }
  }

  private static func double(parsing text: String) -> Double? {
    let lowered = plainDigits(text)
    let unsigned = lowered.hasPrefix("-") || lowered.hasPrefix("+") ? String(lowered.dropFirst()) : lowered
    if ["inf", "infinity"].contains(unsigned) { return lowered.hasPrefix("-") ? -.infinity : .infinity }
    if unsigned == "nan" { return .nan }
    guard let digits = withoutUnderscores(unsigned), digits.allSatisfy({ "0123456789.e+-".contains($0) }),
      digits.first.map({ $0.isNumber || $0 == "." }) == true
    else { return nil }
    // Unlike Python, Swift requires digits on both sides of the point.
    var plain = digits.hasPrefix(".") ? "0" + digits : digits
    if plain == "0." { return nil }
    plain = plain.replacing(".e", with: ".0e")
    if plain.hasSuffix(".") { plain += "0" }
    return Double(lowered.hasPrefix("-") ? "-" + plain : plain)
  }

  /// Removes single underscores between digits, which Python allows.
  private static func withoutUnderscores(_ text: String) -> String? {
    guard text.contains("_") else { return text }
    let parts = text.split(separator: "_", omittingEmptySubsequences: false)
    for (left, right) in zip(parts, parts.dropFirst()) {
      guard left.last?.isHexDigit == true, right.first?.isHexDigit == true else { return nil }
    }
    return parts.joined()
  }

  private func integer(from value: Value, _ arguments: CallArguments) throws(SwiftletError) -> Value {
    let given = try arguments.bound(to: ["default", "base"], of: "int", self)
    let base = try integer(given[1], default: 10, of: "int")
    if let text = value.text, let number = Self.integer(parsing: text, base: base) { return .integer(number) }
    if let index = value.index { return .integer(index) }
    if case .largeInteger = value { return value }
    guard let number = double(from: value), !number.isNaN else { return given[0] ?? .integer(0) }
    if let exact = Int(exactly: number.rounded(.towardZero)) { return .integer(exact) }
    if case .number = value, number.isInfinite { throw error("cannot convert float infinity to integer") }
    if number.isInfinite { return given[0] ?? .integer(0) }
    throw error("the result is an integer beyond 64 bits, which is not supported")
  }

  /// `text` stripped, in lowercase, with the decimal digits of all scripts as ASCII digits.
  private static func plainDigits(_ text: String) -> String {
    let scalars = PythonText.strip(text).unicodeScalars.map { scalar in
      guard scalar.value > 0x7F, scalar.properties.numericType == .decimal,
        let value = scalar.properties.numericValue, let digit = Unicode.Scalar(UInt32(value) + 48)
      else { return scalar }
      return digit
    }
    return String(String.UnicodeScalarView(scalars)).lowercased()
  }

  private static func integer(parsing text: String, base: Int) -> Int? {
    let trimmed = plainDigits(text)
    let isNegative = trimmed.hasPrefix("-")
    let unsigned = isNegative || trimmed.hasPrefix("+") ? String(trimmed.dropFirst()) : trimmed
    guard var digits = withoutUnderscores(unsigned), digits.first?.isLetter == true || digits.first?.isNumber == true
    else { return nil }
    var radix = base
    for (prefix, value) in [("0x", 16), ("0o", 8), ("0b", 2)] where digits.hasPrefix(prefix) {
      if base == value || base == 0 {
        digits = String(digits.dropFirst(2))
        radix = value
      }
    }
    if radix == 0 { radix = 10 }
    guard (2...36).contains(radix) else { return nil }
    return Int((isNegative ? "-" : "") + digits, radix: radix)
  }

  private func round(_ value: Value, _ arguments: CallArguments) throws(SwiftletError) -> Value {
    let given = try arguments.bound(to: ["precision", "method"], of: "round", self)
    let precision = try integer(given[0], default: 0, of: "round")
    let method = try given[1].map { (value) throws(SwiftletError) in try text(value, of: "round") } ?? "common"
    guard ["common", "ceil", "floor"].contains(method) else { throw error("method must be common, ceil or floor") }
    guard abs(precision) <= 300 else { throw error("round() to \(precision) places") }
    if method == "common" {
      if let whole = value.index {
        if precision >= 0 { return .integer(whole) }
        guard precision > -18 else { return .integer(0) }
        let unit = Int(pow(10, Double(-precision)))
        return .integer(Int((Double(whole) / Double(unit)).rounded(.toNearestOrEven)) * unit)
      }
      guard case .number(let number) = value else {
        throw error("type \(value.typeName) doesn't define __round__ method")
      }
      return .number(Self.rounded(number, to: precision))
    }
    guard let number = double(from: value), value.text == nil else {
      throw error("must be real number, not \(value.typeName)")
    }
    let unit = pow(10, Double(precision))
    return .number((number * unit).rounded(method == "ceil" ? .up : .down) / unit)
  }

  /// Python's `round`: the decimal nearest to the exact binary value, with ties to even.
  private static func rounded(_ number: Double, to precision: Int) -> Double {
    guard number.isFinite else { return number }
    if precision <= 0 {
      let unit = pow(10, Double(-precision))
      return (number / unit).rounded(.toNearestOrEven) * unit
    }
    return Double(String(cFormat: "%.\(precision)f", number)) ?? number
  }

  private func fileSize(_ value: Value, _ arguments: CallArguments) throws(SwiftletError) -> String {
    let given = try arguments.bound(to: ["binary"], of: "filesizeformat", self)
    let isBinary = given[0].map(isTrue) ?? false
    guard let bytes = double(from: value) else { throw error("could not convert \(value.typeName) to float") }
    let base: Double = isBinary ? 1024 : 1000
    if bytes == 1 { return "1 Byte" }
    if bytes < base { return "\(Int(exactly: bytes.rounded(.towardZero)) ?? 0) Bytes" }
    let prefixes = ["k", "M", "G", "T", "P", "E", "Z", "Y"]
    var unit = base
    for prefix in prefixes {
      unit *= base
      if bytes < unit || prefix == "Y" {
        let mark = isBinary ? prefix.uppercased() + "iB" : prefix + "B"
        return String(cFormat: "%.1f", base * bytes / unit) + " " + mark
      }
    }
    return ""
  }
}
