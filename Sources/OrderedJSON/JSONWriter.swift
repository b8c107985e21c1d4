extension JSONValue {
  /// The layout of JSON text.
  public struct Style: Sendable {
    /// Spaces per level of indentation; `nil` puts everything on one line.
    public var indent: Int?
    /// The separator between elements on one line.
    public var comma: String
    /// The separator between a key and its value.
    public var colon: String
    /// Whether characters beyond ASCII are written as `\u` escapes.
    public var escapesNonASCII: Bool
    /// Whether members are sorted by the code points of their keys.
    public var sortsKeys: Bool

    /// Creates a style; the defaults are those of Python's `json.dumps(value, ensure_ascii=False)`.
    public init(
      indent: Int? = nil, comma: String = ", ", colon: String = ": ", escapesNonASCII: Bool = false,
      sortsKeys: Bool = false
    ) {
      self.indent = indent
      self.comma = comma
      self.colon = colon
      self.escapesNonASCII = escapesNonASCII
      self.sortsKeys = sortsKeys
    }

    /// One line with `", "` and `": "`, as Python's `json.dumps(value, ensure_ascii=False)` writes it.
    public static let oneLine = Style()
    /// One line without spaces.
    public static let compact = Style(comma: ",", colon: ":")
    /// Two spaces per level.
    public static let pretty = Style(indent: 2)
  }

  /// The value as JSON text, with numbers in the form Python writes them (`1.0`, `1e-05`, `NaN`).
  public func text(_ style: Style = .oneLine) -> String {
    var writer = JSONWriter(style: style)
    writer.write(self, level: 0)
    return writer.output
  }
}

struct JSONWriter {
  let style: JSONValue.Style
  var output = ""

  init(style: JSONValue.Style) { self.style = style }

  mutating func write(_ value: JSONValue, level: Int) {
    switch value {
    case .null: output += "null"
    case .bool(let truth): output += truth ? "true" : "false"
    case .integer(let number): output += String(number)
    case .largeInteger(let digits): output += digits
    case .number(let number): output += number.pythonText
    case .string(let text): write(text)
    case .array(let elements):
      list(elements, "[", "]", level: level) { writer, element in writer.write(element, level: level + 1) }
    case .object(let object):
      let members =
        style.sortsKeys
        ? object.members.sorted { $0.key.unicodeScalars.lexicographicallyPrecedes($1.key.unicodeScalars) }
        : object.members
      list(members, "{", "}", level: level) { writer, member in
        writer.write(member.key)
        writer.output += writer.style.colon
        writer.write(member.value, level: level + 1)
      }
    }
  }

  private mutating func list<Element>(
    _ elements: [Element], _ open: String, _ close: String, level: Int, each: (inout JSONWriter, Element) -> Void
  ) {
    output += open
    for (index, element) in elements.enumerated() {
      if let indent = style.indent {
        output += index == 0 ? "\n" : ",\n"
        output += String(repeating: " ", count: indent * (level + 1))
      } else if index > 0 {
        output += style.comma
      }
      each(&self, element)
    }
    if let indent = style.indent, !elements.isEmpty {
      output += "\n" + String(repeating: " ", count: indent * level)
    }
    output += close
  }

  mutating func write(_ text: String) {
    output += "\""
    text.writeJSONEscaped(to: &output, escapesNonASCII: style.escapesNonASCII)
    output += "\""
  }
}

extension String {
  /// Appends the text to `output` with the escapes of a JSON string, without quotes, as Python's `json` writes it.
  package func writeJSONEscaped(to output: inout String, escapesNonASCII: Bool) {
    for scalar in unicodeScalars {
      switch scalar {
      case "\"": output += "\\\""
      case "\\": output += "\\\\"
      case "\n": output += "\\n"
      case "\r": output += "\\r"
      case "\t": output += "\\t"
      case "\u{08}": output += "\\b"
      case "\u{0C}": output += "\\f"
      case _ where scalar.value < 0x20 || (escapesNonASCII && scalar.value > 0x7E):
        for unit in String(scalar).utf16 {
          let digits = String(unit, radix: 16)
          output += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
        }
      default: output.unicodeScalars.append(scalar)
      }
    }
  }
}

extension Double {
  /// The shortest text that parses to the same number, in the format of Python's `repr`.
  public var pythonText: String {
    if isNaN { return "NaN" }
    if isInfinite { return self < 0 ? "-Infinity" : "Infinity" }
    let shortest = description  // The exponent has the same format as in Python: 1e-05, 1e+16.
    guard magnitude >= 1e16 || (magnitude < 1e-4 && self != 0) else { return plainText(shortest) }
    return shortest.hasSuffix(".0") || !shortest.contains("e") ? scientificText(shortest) : trimmedMantissa(shortest)
  }

  /// The number without an exponent. Swift switches to exponents at 2^54, Python at 1e16.
  private func plainText(_ shortest: String) -> String {
    guard shortest.contains("e") else { return shortest }
    return String(Int64(self)) + ".0"
  }

  /// Turns "1.0e-05" into "1e-05".
  private func trimmedMantissa(_ shortest: String) -> String {
    shortest.contains(".0e") ? shortest.split(separator: ".0e").joined(separator: "e") : shortest
  }

  private func scientificText(_ shortest: String) -> String {
    let sign = self < 0 ? "-" : ""
    var digits = shortest.filter(\.isNumber)
    if shortest.hasSuffix(".0") { digits.removeLast() }
    let exponent = digits.count - 1
    while digits.count > 1, digits.hasSuffix("0") { digits.removeLast() }
    let mantissa = digits.count == 1 ? digits : "\(digits.prefix(1)).\(digits.dropFirst())"
    return "\(sign)\(mantissa)e+\(exponent < 10 ? "0" : "")\(exponent)"
  }
}

extension Double {
  /// All digits of an integral value, such as "9223372036854775808"; `nil` for fractions, infinities and NaN.
  public var integerDigits: String? {
    guard isFinite, self == rounded() else { return nil }
    if let value = Int(exactly: self) { return String(value) }
    // The value is significand * 2^shift with shift > 0: double the decimal digits.
    let shift = Int(exponent) - 52
    var digits = String(Int64(magnitude.significand * 0x1p52)).utf8.reversed().map { Int($0) - 48 }
    for _ in 0..<max(0, shift) {
      var carry = 0
      for index in digits.indices {
        let value = digits[index] * 2 + carry
        digits[index] = value % 10
        carry = value / 10
      }
      if carry > 0 { digits.append(carry) }
    }
    return (self < 0 ? "-" : "") + digits.reversed().map { String($0) }.joined()
  }
}
