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

  /// "name   value" with the names in one column. Values are wrapped to the terminal, except for paths that are longer.
  static func facts(_ facts: [(name: String, value: String)]) {
    let output = Output.standardError
    let width = facts.map(\.name.displayWidth).max() ?? 0
    for fact in facts {
      let room = max(20, output.columns() - width - 5)
      let fits = fact.value.split(separator: " ").allSatisfy { String($0).displayWidth <= room }
      let lines = output.isTerminal && fits ? fact.value.wrapped(to: room) : [fact.value]
      for (index, line) in lines.enumerated() {
        let name = index == 0 ? fact.name : ""
        note("  " + name + String(repeating: " ", count: width - name.displayWidth + 2) + line)
      }
    }
  }
}
