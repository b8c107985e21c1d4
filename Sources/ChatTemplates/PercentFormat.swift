import Diagnostics

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
