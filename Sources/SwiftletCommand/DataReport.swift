import Datasets
import Terminal

/// The result of preparing rows, for people.
enum DataReport {
  /// Name and value of each figure.
  static func facts(_ report: PreparationReport, validationRows: Int? = nil) -> [(name: String, value: String)] {
    let cause = report.holdsPrompts ? "with prompts that fill max_length" : "truncated before the first trained token"
    let dropped = [
      (report.fullyMaskedRows, cause), (report.emptyRows, "empty"),
      (report.overlongRows, "longer than max_length"),
    ].filter { $0.0 > 0 }.map { "\($0.0) \($0.1)" }
    let validation = validationRows.map { ", plus \($0) for validation" } ?? ""
    let cached = report.isFromCache ? ", prepared in an earlier run" : ""
    var facts = [
      ("rows", "\(report.keptRows) of \(report.rows)\(validation)\(cached)"),
      ("tokens", "\(Format.count(report.tokens)); the longest row has \(report.longestRow)"),
      ("lengths", report.lengths.map { "\($0.rows) up to \($0.limit)" }.joined(separator: ", ")),
    ]
    if report.predictsTokens, !report.holdsPrompts {
      facts += [
        ("trained", "\(Format.percent(report.trainedShare)) of the tokens"),
        ("stop token", "trained in \(report.rowsWithTrainedEOS) of \(report.keptRows) rows"),
      ]
    }
    if !dropped.isEmpty { facts.append(("dropped", dropped.joined(separator: ", "))) }
    if report.truncatedRows > 0 {
      facts.append(("truncated", "\(report.truncatedRows) rows, by \(report.truncatedTokens) tokens"))
    }
    return facts
  }

  /// The figures and warnings of a run's rows.
  static func show(_ report: PreparationReport, validationRows: Int? = nil) {
    Printing.heading("Data")
    Printing.facts(facts(report, validationRows: validationRows))
    for sentence in report.warnings {
      Printing.remark("\(report.notes.contains(sentence) ? "Note" : "Warning"): \(sentence)")
    }
  }
}

/// A progress bar while rows are tokenized, if that takes long.
final class PreparationProgress {
  private var bar: ProgressBar?
  private var begin = ContinuousClock().now

  /// Updates the number of rows done, of one set after another.
  func update(_ done: Int, _ total: Int) {
    let seconds = (ContinuousClock().now - begin) / .seconds(1)
    // Don't start a bar that is already full.
    if bar == nil, seconds > 0.5, done < total {
      bar = ProgressBar("preparing rows", total: total, quantity: .items("rows"))
    }
    bar?.update(done)
    guard done == total else { return }
    bar?.finish()
    bar = nil
    begin = ContinuousClock().now
  }
}
