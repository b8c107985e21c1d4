import Diagnostics

/// Python's `str` and `repr`.
extension Interpreter {
  /// `str(value)`.
  func string(_ value: Value) throws(SwiftletError) -> String {
    switch value {
    case .string(let text), .markup(let text): return text
    case .undefined: return ""
    case .integer(let value): return String(value)
    case .largeInteger(let digits): return digits
    default:
      var output = ""
      try describe(value, into: &output)
      return output
    }
  }

  /// `repr(value)`.
  func representation(_ value: Value) throws(SwiftletError) -> String {
    var output = ""
    try describe(value, into: &output)
    return output
  }

  private func describe(_ value: Value, into output: inout String) throws(SwiftletError) {
    try enter()
    defer { leave() }
    let before = output.utf8.count
    switch value {
    case .undefined: output += "Undefined"
    case .none: output += "None"
    case .bool(let truth): output += truth ? "True" : "False"
    case .integer(let value): output += String(value)
    case .largeInteger(let digits): output += digits
    case .number(let value): output += value.pythonRepresentation
    case .string(let text): output += PythonText.quoted(text)
    case .markup(let text): output += "Markup(\(PythonText.quoted(text)))"
    case .list(let elements): try describe(elements.items, "[", "]", into: &output)
    case .tuple(let elements), .group(let elements):
      try describe(elements.items, "(", elements.items.count == 1 ? ",)" : ")", into: &output)
    case .dictionary(let dictionary):
      output += "{"
      for (index, member) in dictionary.members.enumerated() {
        if index > 0 { output += ", " }
        try describe(member.key, into: &output)
        output += ": "
        try describe(member.value, into: &output)
      }
      output += "}"
    case .view(let view):
      output += view.kind.rawValue
      try describe(view.elements.items, "([", "])", into: &output)
    case .range(let span):
      output += "range(\(span.start), \(span.stop)"
      output += span.step == 1 ? ")" : ", \(span.step))"
    case .namespace(let namespace):
      let members = namespace.members.map { Mapping.Member(.string($0.name), $0.value) }
      output += "<Namespace "
      try describe(.dictionary(Mapping(distinct: members)), into: &output)
      output += ">"
    case .loop(let loop): output += "<LoopContext \(loop.index0 + 1)/\(loop.items.count)>"
    case .macro(let macro):
      output += "<Macro \(macro.definition.name.map(PythonText.quoted) ?? "anonymous")>"
    case .generator, .function, .method, .cycler, .joiner: output += "<\(value.typeName) object>"
    }
    try spend(1)
    try spendText(output.utf8.count - before)
  }

  private func describe(
    _ items: [Value], _ open: String, _ close: String, into output: inout String
  ) throws(SwiftletError) {
    output += open
    for (index, item) in items.enumerated() {
      if index > 0 { output += ", " }
      try describe(item, into: &output)
    }
    output += close
  }
}
