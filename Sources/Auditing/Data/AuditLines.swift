import Checkpoints
import Datasets
import Diagnostics
import Essentials
import OrderedJSON

/// An audit as JSON Lines: a summary, then a line for each finding. `swiftlet audit --json` prints them, and the board shows
/// them. Row numbers count from 1.
public struct AuditLines {
  /// Of each kind, so many findings have the texts of their first rows.
  private static let quotedFindings = 200
  private static let quotedRows = 2
  /// The most characters of a text.
  private static let quotedLength = 500

  private let audit: Audit
  private let rows: any RowSource
  private let textField: String

  /// - Parameters:
  ///   - rows: the rows that were audited.
  ///   - textField: the column with plain text.
  public init(_ audit: Audit, of rows: any RowSource, textField: String = "text") {
    self.audit = audit
    self.rows = rows
    self.textField = textField
  }

  /// The first line: the number of rows, and the kinds that were found, with how many rows each would drop.
  public var summary: JSONValue {
    let kinds = FindingKind.allCases.compactMap { kind -> JSONValue? in
      let count = audit.findings(of: kind).count
      if count == 0 { return nil }
      return [
        "kind": .string(kind.rawValue), "title": .string(kind.title), "advice": .string(kind.action),
        "findings": .integer(count), "suspects": .integer(audit.suspects([kind]).count),
      ]
    }
    return [
      "rows": .integer(audit.rowCount), "validation_rows": .integer(audit.validationRowCount),
      "suspects": .integer(audit.suspects(Set(FindingKind.allCases)).count), "kinds": .array(kinds),
    ]
  }

  /// Calls `body` with each line.
  public func forEach(_ body: (JSONValue) throws -> Void) rethrows {
    try body(summary)
    var counts: [FindingKind: Int] = [:]
    for finding in audit.findings {
      counts[finding.kind, default: 0] += 1
      var object = finding.json.object ?? JSONObject()
      let location = rows.location(of: finding.rows[0])
      object["file"] = location.file.map { .string($0) }
      object["line"] = location.line.map { .integer($0) }
      if counts[finding.kind] ?? 0 <= Self.quotedFindings {
        object["texts"] = .array(finding.rows.prefix(Self.quotedRows).map(text))
      }
      try body(.object(object))
    }
  }

  /// The beginnings of prompt and answer; of a row that can't be used, all of it.
  private func text(of index: Int) -> JSONValue {
    func excerpt(_ text: String) -> JSONValue {
      let start = text.prefix(Self.quotedLength)
      return .string(start.endIndex < text.endIndex ? start + "…" : String(start))
    }
    var object = JSONObject([("row", .integer(index + 1))])
    guard let row = try? rows.row(at: index) else { return .object(object) }
    if let text = try? RowText(row, textField: textField), !text.isTokens {
      object["prompt"] = excerpt(text.prompt)
      object["answer"] = excerpt(text.answer)
    } else {
      object["answer"] = excerpt(JSONValue.object(row).text(.compact))
    }
    return .object(object)
  }

  /// Writes the lines to a file, which appears when it is complete.
  /// - Throws: `SwiftletError` if it can't be written.
  public func write(to file: URL) throws {
    try? FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
    let output = try AtomicFile(replacing: file)
    try forEach { try output.write(Array(($0.text(.compact) + "\n").utf8)) }
    try output.commit()
  }
}
