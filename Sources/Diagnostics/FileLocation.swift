/// A position in a file, as error messages show it. All members are optional; an empty location prints nothing.
public struct FileLocation: Sendable, Hashable, CustomStringConvertible {
  /// The file, spelled the way the user wrote it.
  public var file: String?
  /// The line, counted from 1; `nil` for formats without lines.
  public var line: Int?
  /// The row, counted from 1. The description shows it only if there is no line.
  public var row: Int?
  /// The column name within the row.
  public var column: String?

  /// Creates a location from the parts that are known.
  public init(file: String? = nil, line: Int? = nil, row: Int? = nil, column: String? = nil) {
    self.file = file
    self.line = line
    self.row = row
    self.column = column
  }

  /// Whether file, line and row are all unknown. A column alone does not locate anything.
  public var isEmpty: Bool { file == nil && line == nil && row == nil }

  /// The known parts, as in `train.jsonl, line 12, column "prompt"`. Control characters are escaped.
  public var description: String {
    var parts: [String] = []
    if let file { parts.append(file.escapedLine(limit: 300)) }
    if let line { parts.append("line \(line)") } else if let row { parts.append("row \(row)") }
    if let column { parts.append("column \(column.quotedExcerpt)") }
    return parts.joined(separator: ", ")
  }
}
