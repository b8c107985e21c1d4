import Diagnostics

/// The methods of Python's strings that pad them.
extension Interpreter {
  func padded(_ name: String, _ text: String, _ arguments: CallArguments) throws(SwiftletError) -> String {
    if name == "expandtabs" {
      let given = try arguments.bound(to: ["tabsize"], of: name, self)
      return try expanded(text, try integer(given[0], default: 8, of: name))
    }
    let parameters = name == "zfill" ? ["width"] : ["width", "fillchar"]
    let given = try arguments.bound(to: parameters, required: 1, of: name, self)
    let width = try integer(given[0], default: 0, of: name)
    var fill = name == "zfill" ? "0" : " "
    if name != "zfill", let character = given[1] {
      fill = try self.text(character, of: name)
      if PythonText.length(fill) != 1 { throw error("The fill character must be exactly one character long") }
    }
    if name == "center" { return try centered(text, width, fill) }
    let missing = width - min(PythonText.length(text), max(width, 0))
    guard missing > 0 else { return text }
    try spendText(missing)
    let padding = String(repeating: fill, count: missing)
    switch name {
    case "ljust": return text + padding
    case "rjust": return padding + text
    default:
      let hasSign = text.hasPrefix("-") || text.hasPrefix("+")
      return hasSign ? text.prefix(1) + padding + text.dropFirst() : padding + text
    }
  }

  private func expanded(_ text: String, _ size: Int) throws(SwiftletError) -> String {
    var result = ""
    var column = 0
    for scalar in text.unicodeScalars {
      if scalar == "\t" {
        let width = size > 0 ? size - column % size : 0
        try spendText(width)
        result += String(repeating: " ", count: width)
        column += width
      } else {
        result.unicodeScalars.append(scalar)
        column = scalar == "\n" || scalar == "\r" ? 0 : column + 1
      }
    }
    return result
  }
}
