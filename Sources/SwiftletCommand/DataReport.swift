import Datasets
import Terminal

/// What preparing rows found, as a person reads it.
enum DataReport {
  /// Name and value of each figure.
  static func facts(_ report: PreparationReport, heldOut: Int? = nil) -> [(name: String, value: String)] {
    let dropped = [
      (report.fullyMaskedRows, "cut off before anything to train on"), (report.emptyRows, "empty"),
    ].filter { $0.0 > 0 }.map { "\($0.0) \($0.1)" }
    let held = heldOut.map { ", and \($0) held out" } ?? ""
    let cached = report.isFromCache ? ", prepared in an earlier run" : ""
    var facts = [
      ("rows", "\(report.keptRows) of \(report.rows)\(held)\(cached)"),
      ("tokens", "\(Format.count(report.tokens)), the longest row \(report.longestRow)"),
      ("lengths", report.lengths.map { "\($0.rows) up to \($0.limit)" }.joined(separator: ", ")),
      ("trained on", "\(Format.percent(report.trainedShare)) of the tokens"),
      ("stop token", "trained in \(report.rowsWithTrainedEOS) of \(report.keptRows) rows"),
    ]
    if !dropped.isEmpty { facts.append(("dropped", dropped.joined(separator: ", "))) }
    if report.truncatedRows > 0 {
      facts.append(("truncated", "\(report.truncatedRows) rows, by \(report.truncatedTokens) tokens"))
    }
    return facts
  }

  /// The figures and warnings of a run's rows.
  static func show(_ report: PreparationReport, heldOut: Int? = nil) {
    Printing.heading("Data")
    Printing.facts(facts(report, heldOut: heldOut))
    for warning in report.warnings { Printing.note("  Warning: \(warning)") }
  }
}

/// A bar while rows are tokenized, once it takes long enough to be worth one, and the time it took.
final class PreparationProgress {
  private var bar: ProgressBar?
  private var begin = ContinuousClock().now

  /// Told how many rows of how many are done; several sets may follow one another.
  func update(_ done: Int, _ total: Int) {
    let seconds = (ContinuousClock().now - begin) / .seconds(1)
    // A bar that begins at its end would tell nothing.
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
