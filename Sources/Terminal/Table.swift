/// A table of text, rendered for a terminal of a given width or as Markdown. Long cells wrap.
public struct Table: Sendable, Hashable {
  /// How rows and columns are separated.
  public enum Border: Sendable, Hashable {
    /// Lines around all cells, drawn with box-drawing characters.
    case box
    /// Two spaces between columns and a line under the titles.
    case plain
  }

  /// A column's title and alignment.
  public struct Column: Sendable, Hashable {
    /// The heading, shown above the cells.
    public var title: String
    /// Whether cells are right-aligned, as numbers are.
    public var isNumeric: Bool

    /// Creates a column with a heading, which is made `printable`.
    public init(_ title: String, isNumeric: Bool = false) {
      self.title = title.printable
      self.isNumeric = isNumeric
    }
  }

  /// The columns, from left to right.
  public let columns: [Column]
  /// The cells of each row, made `printable`. Line breaks within a cell are kept.
  public private(set) var rows: [[String]] = []

  /// Creates a table without rows.
  public init(_ columns: [Column]) { self.columns = columns }

  /// Creates a table of left-aligned columns, without rows.
  public init(_ titles: String...) { self.init(titles.map { Column($0) }) }

  /// A comparison of answers before and after training, with one row per question.
  public static func comparison(_ answers: [(question: String, before: String, after: String)]) -> Table {
    var table = Table("question", "before", "after")
    for answer in answers { table.append([answer.question, answer.before, answer.after]) }
    return table
  }

  /// Adds a row. Missing cells are empty and excess cells are dropped.
  public mutating func append(_ cells: [String]) {
    let cells = cells.prefix(columns.count).map(\.printable)
    rows.append(cells + Array(repeating: "", count: columns.count - cells.count))
  }

  /// The table in lines of at most `width` terminal columns, each with a line break. A column is at least four wide,
  /// even if the table then exceeds `width`.
  public func text(width: Int, border: Border = .box, style: Style = Style(isColored: false)) -> String {
    if columns.isEmpty { return "" }
    let overhead = border == .box ? 3 * columns.count + 1 : 2 * (columns.count - 1)
    let widths = Self.fitted(naturalWidths, into: width - overhead)
    let titles = line(columns.map(\.title), widths, border) { style.bold($0) }
    let body = rows.map { line($0, widths, border) { $0 } }
    switch border {
    case .plain:
      let rule = style.dim(widths.map { String(repeating: "─", count: $0) }.joined(separator: "  "))
      return titles + rule + "\n" + body.joined()
    case .box:
      func rule(_ left: String, _ middle: String, _ right: String) -> String {
        left + widths.map { String(repeating: "─", count: $0 + 2) }.joined(separator: middle) + right + "\n"
      }
      // Rows that span several lines need a rule between them.
      let between = body.contains { $0.dropLast().contains("\n") } ? rule("├", "┼", "┤") : ""
      let parts = [rule("┌", "┬", "┐"), titles, rule("├", "┼", "┤"), body.joined(separator: between)]
      return parts.joined() + rule("└", "┴", "┘")
    }
  }

  /// The table in GitHub Flavored Markdown.
  public var markdown: String {
    func row(_ cells: [String]) -> String {
      "| " + cells.map { Self.escaped($0) }.joined(separator: " | ") + " |\n"
    }
    let rule = "|" + columns.map { $0.isNumeric ? "---:|" : "---|" }.joined() + "\n"
    return row(columns.map(\.title)) + rule + rows.map(row).joined()
  }

  private static func escaped(_ cell: String) -> String {
    var result = ""
    for character in cell {
      switch character {
      case "|": result += "\\|"
      case "\n": result += "<br>"
      case "<": result += "&lt;"
      default: result.append(character)
      }
    }
    return result
  }

  private var naturalWidths: [Int] {
    columns.indices.map { index in
      ([columns[index].title] + rows.map { $0[index] }).flatMap { $0.split(separator: "\n") }
        .map(\.displayWidth).max() ?? 0
    }
  }

  /// Narrow columns keep their natural width; the others share the remaining room equally.
  private static func fitted(_ natural: [Int], into room: Int) -> [Int] {
    var widths = natural
    var open = Array(natural.indices)
    var left = room
    while !open.isEmpty {
      let share = max(4, left / open.count)
      let narrow = open.filter { natural[$0] <= share }
      if narrow.isEmpty {
        for index in open { widths[index] = share }
        break
      }
      left -= narrow.reduce(0) { $0 + natural[$1] }
      open.removeAll { natural[$0] <= share }
    }
    return widths
  }

  /// One row, in as many lines as its longest cell needs.
  private func line(_ cells: [String], _ widths: [Int], _ border: Border, _ mark: (String) -> String) -> String {
    let wrapped = zip(cells, widths).map { $0.wrapped(to: $1) }
    var result = ""
    for number in 0..<(wrapped.map(\.count).max() ?? 0) {
      let parts = columns.indices.map { index in
        let text = number < wrapped[index].count ? wrapped[index][number] : ""
        let space = String(repeating: " ", count: max(0, widths[index] - text.displayWidth))
        return columns[index].isNumeric ? space + mark(text) : mark(text) + space
      }
      switch border {
      case .box: result += "│ " + parts.joined(separator: " │ ") + " │\n"
      case .plain:
        var plain = parts.joined(separator: "  ")
        while plain.last == " " { plain.removeLast() }
        result += plain + "\n"
      }
    }
    return result
  }
}
