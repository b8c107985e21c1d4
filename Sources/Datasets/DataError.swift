import OrderedJSON

/// Why a data set cannot be used: where it stands, what is wrong and what to do about it, in one sentence.
public struct DataError: Error, Sendable, Hashable, CustomStringConvertible {
  /// Where the fault is; empty when it belongs to no one file.
  public var place: RowPlace
  /// The column at fault, if it is one column's.
  public var column: String?
  /// What is wrong, and the remedy.
  public var reason: String

  /// An error at `place`, in `column` if given.
  public init(_ reason: String, at place: RowPlace = RowPlace(), column: String? = nil) {
    self.place = place
    self.column = column
    self.reason = reason
  }

  /// `train.jsonl, line 12, column "prompt": what is wrong`.
  public var description: String {
    var parts: [String] = []
    if !place.description.isEmpty { parts.append(place.description) }
    if let column { parts.append("column \"\(column)\"") }
    return parts.isEmpty ? reason : parts.joined(separator: ", ") + ": " + reason
  }

  /// The same error, at `place` if it did not know where it was.
  func located(at place: RowPlace) -> DataError {
    var copy = self
    if copy.place == RowPlace() { copy.place = place }
    return copy
  }
}

/// Where a row stands in the file it came from.
public struct RowPlace: Sendable, Hashable, CustomStringConvertible {
  /// The file as it was named.
  public var file: String?
  /// The line its record starts on, counted from 1; `nil` for formats without lines.
  public var line: Int?
  /// The row's number in its file, counted from 1, where there is no line to name.
  public var row: Int?

  /// A place of these parts.
  public init(file: String? = nil, line: Int? = nil, row: Int? = nil) {
    self.file = file
    self.line = line
    self.row = row
  }

  /// `train.jsonl, line 12`.
  public var description: String {
    var parts: [String] = []
    if let file { parts.append(file) }
    if let line { parts.append("line \(line)") } else if let row { parts.append("row \(row)") }
    return parts.joined(separator: ", ")
  }
}
