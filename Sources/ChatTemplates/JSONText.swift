import Diagnostics
import OrderedJSON

/// The JSON text of a value, as Python's `json.dumps` writes it, for `tojson`.
struct JSONText {
  /// The indentation per level; `nil` for one line.
  var indent: String?
  var comma = ", "
  var colon = ": "
  var escapesNonASCII = false
  var sortsKeys = false

  /// The JSON text of `value`.
  /// - Throws: for values that JSON cannot represent, such as undefined values.
  func text(_ value: Value, _ interpreter: Interpreter) throws(SwiftletError) -> String {
    var output = ""
    try write(value, level: 0, into: &output, interpreter)
    return output
  }

  private func write(
    _ value: Value, level: Int, into output: inout String, _ interpreter: Interpreter
  ) throws(SwiftletError) {
    try interpreter.enter()
    defer { interpreter.leave() }
    let before = output.utf8.count
    switch value {
    case .none: output += "null"
    case .bool(let truth): output += truth ? "true" : "false"
    case .integer(let number): output += String(number)
    case .largeInteger(let digits): output += digits
    case .number(let number): output += number.pythonText
    case .string(let text), .markup(let text): write(text, into: &output)
    case .list(let elements), .tuple(let elements), .group(let elements):
      try writeParts(elements.items, "[", "]", level, into: &output) {
        (item, output) throws(SwiftletError) in
        try write(item, level: level + 1, into: &output, interpreter)
      }
    case .dictionary(let dictionary):
      var members = dictionary.members
      if sortsKeys { members = try interpreter.sorted(members, by: { $0.key }) }
      try writeParts(members, "{", "}", level, into: &output) { (member, output) throws(SwiftletError) in
        write(try key(member.key, interpreter), into: &output)
        output += colon
        try write(member.value, level: level + 1, into: &output, interpreter)
      }
    default: throw interpreter.error("Object of type \(value.typeName) is not JSON serializable")
    }
    try interpreter.spend(1)
    try interpreter.spendText(output.utf8.count - before)
  }

  private func writeParts<Part>(
    _ parts: [Part], _ open: String, _ close: String, _ level: Int, into output: inout String,
    _ each: (Part, inout String) throws(SwiftletError) -> Void
  ) throws(SwiftletError) {
    output += open
    for (index, part) in parts.enumerated() {
      if index > 0 { output += comma }
      if let indent { output += "\n" + String(repeating: indent, count: level + 1) }
      try each(part, &output)
    }
    if let indent, !parts.isEmpty { output += "\n" + String(repeating: indent, count: level) }
    output += close
  }

  private func key(_ value: Value, _ interpreter: Interpreter) throws(SwiftletError) -> String {
    switch value {
    case .string(let text), .markup(let text): return text
    case .integer(let number): return String(number)
    case .largeInteger(let digits): return digits
    case .number(let number): return number.pythonText
    case .bool(let truth): return truth ? "true" : "false"
    case .none: return "null"
    default:
      throw interpreter.error("keys must be str, int, float, bool or None, not \(value.typeName)")
    }
  }

  private func write(_ text: String, into output: inout String) {
    output += "\""
    let isPlain = text.utf8.allSatisfy { byte in
      byte >= 0x20 && byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "\\") && (!escapesNonASCII || byte < 0x7F)
    }
    if isPlain { output += text } else { text.writeJSONEscaped(to: &output, escapesNonASCII: escapesNonASCII) }
    output += "\""
  }
}

extension Double {
  /// Python's `repr`, which writes `nan` and `inf` instead of JSON's `NaN` and `Infinity`.
  var pythonRepresentation: String {
    if isNaN { return "nan" }
    if isInfinite { return self < 0 ? "-inf" : "inf" }
    return pythonText
  }
}
