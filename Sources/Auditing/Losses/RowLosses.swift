import Datasets
import Diagnostics
import Essentials
import Models
import Tensors
import Training

/// The mean loss of each row's trained tokens under a model.
public struct RowLosses: Sendable, Hashable {
  /// The losses in nats per token, by the index of the row. Rows without a trained token are missing.
  public let byRow: [Int: Double]

  /// Measures rows.
  /// - Parameters:
  ///   - model: the model, with its adapter if that is to be measured.
  ///   - rows: the rows.
  ///   - indices: the rows to measure.
  ///   - tokenizer: turns rows into tokens.
  ///   - options: maximum length and loss mask, as in training.
  ///   - progress: called with the number of rows measured and of all.
  /// - Throws: `SwiftletError` for rows that cannot be used, or a device that fails.
  public init(
    _ model: CausalLM, _ rows: any RowSource, _ indices: [Int], tokenizer: RowTokenizer, options: PreparationOptions,
    progress: (Int, Int) -> Void = { _, _ in }
  ) throws {
    var options = options
    options.packing = nil
    options.shuffleSeed = nil
    let (set, _) = try Preparation(tokenizer, options: options).prepare(SelectedRows(rows, indices))
    try Trainer.check(set, model)
    var losses: [Int: Double] = [:]
    let size = 4
    for start in stride(from: 0, to: set.documentCount, by: size) {
      let end = min(set.documentCount, start + size)
      let batch = set.batch(start..<end)
      var sums = [Double](repeating: 0, count: end - start)
      var counts = [Int](repeating: 0, count: end - start)
      _ = TrainingStep.loss(batch, model.transformer) { positions, values in
        for (position, value) in zip(positions, values) {
          guard let sequence = batch.sequenceStarts.lastIndex(where: { $0 <= Int(position) }) else { continue }
          sums[sequence] += Double(value)
          counts[sequence] += 1
        }
      }
      for offset in sums.indices where counts[offset] > 0 {
        losses[indices[set.rows[start + offset]]] = sums[offset] / Double(counts[offset])
      }
      progress(end, set.documentCount)
    }
    try model.transformer.backend.check()
    byRow = losses
  }

  /// The median, and the rows with the lowest and the highest losses, for people. Rows count from 1.
  public var summary: String {
    let sorted = byRow.sorted { ($0.value, $0.key) < ($1.value, $1.key) }
    guard !sorted.isEmpty else { return "no row has a trained token" }
    func list(_ rows: some Sequence<(key: Int, value: Double)>) -> String {
      rows.map { "\($0.key + 1) (\(String(cFormat: "%.3g", $0.value)))" }.joined(separator: ", ")
    }
    return
      "median \(String(cFormat: "%.3g", sorted[sorted.count / 2].value)); lowest in rows \(list(sorted.prefix(3))); "
      + "highest in rows \(list(sorted.suffix(3).reversed()))"
  }

  package init(byRow: [Int: Double]) { self.byRow = byRow }

  /// At most `count` indices below `total`, spread evenly.
  public static func sample(_ total: Int, count: Int) -> [Int] {
    let count = min(total, max(0, count))
    return (0..<count).map { $0 * total / count }
  }
}
