import OrderedJSON

/// One observation about one row, or about a group of rows that belong together.
public struct Finding: Sendable, Hashable {
  /// The kind of problem.
  public let kind: FindingKind
  /// The indices of the training rows, in ascending order. In a group of duplicates, the first is the one to keep.
  public let rows: [Int]
  /// The indices of the validation rows that a training row repeats.
  public let validationRows: [Int]
  /// What was found, without the rows, as in "the answer has no thinking block".
  public let cause: String
  /// An excerpt of the text that shows it.
  public internal(set) var evidence = ""
  /// Which part of the row the evidence is.
  let focus: Focus

  /// The part of a row that shows a finding.
  enum Focus: Sendable, Hashable {
    case prompt, answerStart, answerEnd
    /// Around the first of these markers of `SpecialText`.
    case markers(UInt64)
  }

  init(
    _ kind: FindingKind, rows: [Int], validationRows: [Int] = [], focus: Focus = .answerStart, _ cause: String
  ) {
    self.kind = kind
    self.rows = rows
    self.validationRows = validationRows
    self.cause = cause
    self.focus = focus
  }

  /// The rows to drop: all, except the first of duplicates and of conflicting answers.
  public var suspects: ArraySlice<Int> {
    switch kind {
    case .exactDuplicate, .nearDuplicate, .conflictingAnswers: rows.dropFirst()
    default: rows[...]
    }
  }

  /// One sentence with row numbers, counted from 1.
  public var sentence: String {
    let shown = rows.prefix(8).map { String($0 + 1) }
    let more = rows.count > shown.count ? " and \(rows.count - shown.count) more" : ""
    return "\(rows.count == 1 ? "Row" : "Rows") \(shown.joined(separator: ", "))\(more): \(cause)."
  }

  /// The finding as a JSON object. Row numbers count from 1.
  public var json: JSONValue {
    var object = JSONObject([
      ("kind", .string(kind.rawValue)), ("rows", .array(rows.map { .integer($0 + 1) })),
      ("drop", .array(suspects.map { .integer($0 + 1) })), ("sentence", .string(sentence)),
      ("evidence", .string(evidence)),
    ])
    if !validationRows.isEmpty {
      object["validation_rows"] = .array(validationRows.map { .integer($0 + 1) })
    }
    return .object(object)
  }
}
