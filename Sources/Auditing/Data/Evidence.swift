import Datasets
import Diagnostics
import Essentials

/// Excerpts of rows for findings.
struct Evidence: Sendable {
  private let rows: any RowSource
  private let options: Audit.Options

  /// The length of an excerpt in characters.
  private static let length = 80

  init(_ rows: any RowSource, _ options: Audit.Options) {
    self.rows = rows
    self.options = options
  }

  /// The findings with excerpts.
  func added(to findings: [Finding]) -> [Finding] {
    let chunkSize = 64
    return Parallel.map(0..<(findings.count + chunkSize - 1) / chunkSize) { chunk in
      findings[chunk * chunkSize..<min(findings.count, (chunk + 1) * chunkSize)].map { finding in
        var finding = finding
        finding.evidence = text(of: finding)
        return finding
      }
    }.flatMap(\.self)
  }

  private func text(of finding: Finding) -> String {
    guard let row = try? rows.row(at: finding.rows[0]) else { return "" }
    guard let text = try? RowText(row, textField: options.textField) else {
      return excerpt(of: row.keys.joined(separator: ", "))
    }
    if finding.kind == .conflictingAnswers { return answers(of: finding.rows) }
    if finding.kind == .otherFormat { return excerpt(of: ThinkingBlocks.answer(in: text.answer)) }
    switch finding.focus {
    case .prompt: return excerpt(of: text.prompt)
    case .answerStart: return excerpt(of: text.answer.isEmpty ? text.prompt : text.answer)
    case .answerEnd: return "…" + String(text.answer.trimmed.suffix(Self.length)).escapedLine(limit: 2 * Self.length)
    case .markers(let bits):
      for part in text.messages.map(\.content) + [text.prompt, text.answer] {
        guard let place = options.special.place(of: bits, in: part) else { continue }
        let start = part.index(place.index, offsetBy: -20, limitedBy: part.startIndex) ?? part.startIndex
        return (start > part.startIndex ? "…" : "") + excerpt(of: part[start...])
      }
      return ""
    }
  }

  /// The beginnings of the first two answers.
  private func answers(of indices: [Int]) -> String {
    indices.prefix(2).map { index in
      let text = try? RowText(rows.row(at: index), textField: options.textField)
      return (text?.answer ?? "").trimmed.escapedLine(limit: Self.length / 2)
    }.joined(separator: " | ")
  }

  private func excerpt(of text: some StringProtocol) -> String {
    String(text.prefix(2 * Self.length)).trimmed.escapedLine(limit: Self.length)
  }
}
