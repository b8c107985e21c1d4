import Datasets
import Diagnostics
import Essentials

/// What the losses of single rows say: which ones the base model knows already, and what training made of them.
public struct LossAudit: Sendable {
  private let base: RowLosses

  /// - Parameter base: the losses under the base model.
  public init(base: RowLosses) { self.base = base }

  /// Rows that the base model knows already, and rows that surprise it most.
  public func beforeTraining() -> [Finding] {
    // Losses are skewed; their logarithms hardly are.
    guard let scale = RobustScale(base.byRow.values.map { log($0 + 0.01) }, least: 0.2) else { return [] }
    let usual = number(exp(scale.median) - 0.01)
    return base.byRow.sorted { $0.key < $1.key }.compactMap { row, loss in
      if loss < 0.1 {
        return Finding(.knownAlready, rows: [row], "the base model knows the answer: its loss is \(number(loss))")
      }
      guard scale.score(log(loss + 0.01)) > 3.5 else { return nil }
      return Finding(.surprising, rows: [row], "the loss is \(number(loss)); the median is \(usual)")
    }
  }

  /// Rows that got worse, rows that were not learned although most were, and rows that were memorized: learned well
  /// while the validation rows nearest to them were not.
  /// - Parameters:
  ///   - trained: the losses with the adapter.
  ///   - neighbors: by row, the validation rows nearest to it.
  ///   - validation: losses of validation rows under the base model and with the adapter.
  public func afterTraining(
    _ trained: RowLosses, neighbors: [Int: [Int]] = [:], validation: (base: RowLosses, trained: RowLosses)? = nil
  ) -> [Finding] {
    let gains = trained.byRow.compactMap { row, loss in base.byRow[row].map { (row: row, before: $0, after: loss) } }
      .sorted { $0.row < $1.row }
    guard let usual = RobustScale(gains.map { gain($0.before, $0.after) }, least: 0.05) else { return [] }
    return gains.compactMap { row, before, after in
      let change = "the loss was \(number(before)) and is \(number(after))"
      let learned = gain(before, after)
      if after > before + 0.05, learned < -0.02 { return Finding(.gotWorse, rows: [row], change) }
      if usual.median > 0.2, learned < usual.median / 4, usual.score(learned) < -2 {
        return Finding(
          .neverLearned, rows: [row], change + "; half of the rows lost \(Int((usual.median * 100).rounded()))% or more"
        )
      }
      guard learned > 0.6, let near = neighbors[row], let validation else { return nil }
      let others = near.compactMap { index -> Double? in
        guard let before = validation.base.byRow[index], let after = validation.trained.byRow[index] else { return nil }
        return gain(before, after)
      }
      guard !others.isEmpty else { return nil }
      let mean = others.reduce(0, +) / Double(others.count)
      guard mean < learned / 4 else { return nil }
      return Finding(
        .memorized, rows: [row], validationRows: near,
        change + "; that of similar validation rows fell by \(Int((max(0, mean) * 100).rounded()))% only")
    }
  }

  /// The fraction by which the loss fell.
  private func gain(_ before: Double, _ after: Double) -> Double { 1 - after / max(before, 1e-6) }

  private func number(_ value: Double) -> String { String(cFormat: "%.3g", value) }

  /// For each row, the validation rows that share most words with it.
  /// - Parameter count: how many for each row.
  public static func neighbors(
    of indices: [Int], in rows: any RowSource, among validationIndices: [Int], in validation: any RowSource,
    textField: String, count: Int = 3
  ) -> [Int: [Int]] {
    @Sendable func units(_ source: any RowSource, _ index: Int) -> Set<UInt64> {
      guard let text = try? RowText(source.row(at: index), textField: textField) else { return [] }
      return Set(TextUnits(text.prompt).hashes + TextUnits(text.answer).hashes)
    }
    let others = Parallel.map(0..<validationIndices.count) { units(validation, validationIndices[$0]) }
    let found = Parallel.map(0..<indices.count) { number -> [Int] in
      let own = units(rows, indices[number])
      let order = others.indices.map { (jaccardSimilarity(own, others[$0]), $0) }.sorted { ($1.0, $0.1) < ($0.0, $1.1) }
      return order.prefix(count).filter { $0.0 > 0 }.map { validationIndices[$0.1] }
    }
    return Dictionary(uniqueKeysWithValues: zip(indices, found))
  }
}
