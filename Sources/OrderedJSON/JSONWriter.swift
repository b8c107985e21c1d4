extension JSONValue {
  /// How a value is written.
  public struct Style: Sendable {
    /// Spaces a level, or `nil` for one line.
    public var indent: Int?
    /// Between elements on one line.
    public var comma: String
    /// Between a key and its value.
    public var colon: String
    /// Whether everything beyond ASCII is written as `\u` escapes.
    public var escapesNonASCII: Bool
    /// Whether members are written in the order of their keys' code points.
    public var sortsKeys: Bool

    /// A style of these parts.
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

    /// One line, `", "` and `": "`, as Python's `json.dumps(value, ensure_ascii=False)`.
    public static let oneLine = Style()
    /// One line without spaces.
    public static let compact = Style(comma: ",", colon: ":")
    /// Two spaces a level.
    public static let pretty = Style(indent: 2)
  }

  /// The value as JSON text; numbers as Python writes them (`1.0`, `1e-05`, `NaN`).
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
  /// Adds the text to `output` as it stands between the quotation marks of a JSON string, as Python's `json` writes it.
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
  /// The shortest text that reads back as the same number, written as Python's `repr` does.
  public var pythonText: String {
    if isNaN { return "NaN" }
    if isInfinite { return self < 0 ? "-Infinity" : "Infinity" }
    let shortest = description  // Swift writes 1e-05 as 1e-05, 1e+16 as 1e+16, both as Python does.
    guard magnitude >= 1e16 || (magnitude < 1e-4 && self != 0) else { return plainText(shortest) }
    return shortest.hasSuffix(".0") || !shortest.contains("e") ? scientificText(shortest) : trimmedMantissa(shortest)
  }

  /// Without exponent: Swift turns to one from 2^54 on and below 1e-4, Python from 1e16 on.
  private func plainText(_ shortest: String) -> String {
    guard shortest.contains("e") else { return shortest }
    return String(Int64(self)) + ".0"
  }

  /// "1.0e-05" as "1e-05".
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
