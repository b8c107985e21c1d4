import Auditing
import Datasets
import Essentials
import Swiftlet
import Terminal

/// The findings of an audit, for people.
struct AuditReport {
  private let audit: Audit
  private let rows: any RowSource
  private let shown: Int

  /// - Parameter shown: the most findings to show of each kind.
  init(_ audit: Audit, _ rows: any RowSource, shown: Int) {
    self.audit = audit
    self.rows = rows
    self.shown = shown
  }

  /// Prints a table of the kinds, then the findings of each.
  func show() {
    let output = Output.standardOutput
    let kinds = FindingKind.allCases.filter { !audit.findings(of: $0).isEmpty }
    let validation = audit.validationRowCount > 0 ? " and \(audit.validationRowCount) validation rows" : ""
    Printing.result("Audited \(audit.rowCount) training rows\(validation).")
    guard !kinds.isEmpty else { return Printing.result("Nothing was found.") }
    for kind in kinds { show(kind, audit.findings(of: kind), output) }
    Printing.result("\n" + output.style.bold("Summary"))
    var table = Table([
      Table.Column("kind"), Table.Column("rows", isNumeric: true), Table.Column("share", isNumeric: true),
    ])
    for kind in kinds {
      let count = audit.suspects([kind]).count
      table.append([kind.rawValue, String(count), Format.percent(Double(count) / Double(audit.rowCount))])
    }
    let all = audit.suspects(Set(kinds)).count
    table.append(["any", String(all), Format.percent(Double(all) / Double(audit.rowCount))])
    output.write(table.text(width: output.columns(), border: .plain, style: output.style))
  }

  private func show(_ kind: FindingKind, _ findings: [Finding], _ output: Output) {
    let count = audit.suspects([kind]).count
    Printing.result("\n" + output.style.bold("\(kind.title): \(count) \(count == 1 ? "row" : "rows")"))
    Printing.result(kind.action)
    var table = Table("row", "where", "finding", "text")
    for finding in findings.prefix(shown) {
      table.append([numbers(finding.rows), place(finding.rows[0]), finding.cause, finding.evidence])
    }
    output.write(table.text(width: output.columns(), border: .plain, style: output.style))
    if findings.count > shown { Printing.result("… and \(findings.count - shown) more (--show N)") }
  }

  private func numbers(_ rows: [Int]) -> String {
    rows.prefix(3).map { String($0 + 1) }.joined(separator: ", ") + (rows.count > 3 ? " +\(rows.count - 3)" : "")
  }

  private func place(_ row: Int) -> String {
    let location = rows.location(of: row)
    let file = location.file.map { URL(fileURLWithPath: $0).lastPathComponent } ?? ""
    return file + ((location.line ?? location.row).map { ":\($0)" } ?? "")
  }

  /// Whether there is someone to ask.
  static var canAsk: Bool { LineEditor.isSupported }

  /// Asks which kinds to drop.
  /// - Returns: `nil` if the user gives up.
  static func askForKinds(_ audit: Audit) throws -> Set<FindingKind>? {
    let kinds = FindingKind.allCases.filter { !audit.findings(of: $0).isEmpty }
    let names = kinds.map(\.rawValue).joined(separator: ", ")
    Printing.note("\nKinds to drop, separated by commas (\(names)), or all; an empty line writes nothing.")
    var editor = LineEditor()
    while case .line(let line) = editor.read(prompt: "drop: ", isStopped: { false }) {
      if line.trimmed.isEmpty { return nil }
      do {
        return try AuditCommand.Settings.kinds(line)
      } catch {
        Printing.note("\(error)")
      }
    }
    return nil
  }
}
