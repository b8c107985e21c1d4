import Diagnostics

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
