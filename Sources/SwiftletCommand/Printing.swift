import Essentials
import OrderedJSON
import Terminal

/// What subcommands print: results to standard output, everything else to standard error.
enum Printing {
  /// A line of the result.
  static func result(_ text: String) {
    let output = Output.standardOutput
    if output.isTerminal { output.print(text) } else { output.write(text + "\n") }
  }

  /// One JSON value and nothing else.
  static func json(_ value: JSONValue) { Output.standardOutput.writeText(value.text() + "\n") }

  /// A line for the person watching.
  static func note(_ text: String) { Output.standardError.print(text) }

  /// A sentence for the person watching, wrapped to the terminal.
  static func remark(_ text: String, indent: Int = 2) {
    let output = Output.standardError
    let margin = String(repeating: " ", count: indent)
    let lines = output.isTerminal ? text.wrapped(to: max(20, output.columns() - indent - 2)) : [text]
    for (index, line) in lines.enumerated() { note(margin + (index == 0 ? "" : "  ") + line) }
  }

  /// A heading for the person watching.
  static func heading(_ text: String) { note("\n" + Output.standardError.style.bold(text)) }

  /// "name   value" with the names in one column.
  static func facts(_ facts: [(name: String, value: String)]) {
    let width = facts.map(\.name.displayWidth).max() ?? 0
    for fact in facts {
      note("  " + fact.name + String(repeating: " ", count: width - fact.name.displayWidth + 2) + fact.value)
    }
  }
}
