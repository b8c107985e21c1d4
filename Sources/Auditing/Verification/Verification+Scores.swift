import Diagnostics
import Models

/// Heads that score whole sequences: those of classifiers and reward models.
extension Verification {
  /// Compares what the model ends in, and the names of the labels.
  /// - Returns: whether the model can be measured on what was recorded.
  mutating func checkHead(_ model: CausalLM) -> Bool {
    let found = model.transformer.sequenceHead?.labels
    func text(_ labels: [String]?) -> String {
      labels.map { $0.count == 1 ? "a reward" : "\($0.count) labels" } ?? "none"
    }
    var problem: String?
    switch (record.labels, found) {
    case (nil, nil): return true
    case (_?, nil):
      problem = "The head that scores texts is missing: the model is a language model."
    case (nil, _?):
      problem = "The model has a head that scores texts, but it was trained to predict tokens."
    case (let recorded?, let found?):
      if recorded.map({ Array($0.utf8) }) != found.map({ Array($0.utf8) }) {
        problem = "The labels differ: they are \(Self.names(found)), but \(Self.names(recorded)) in training."
      }
    }
    add("head", text(record.labels), text(found), problem)
    return record.labels?.count == found?.count
  }

  private static func names(_ labels: [String]) -> String {
    labels.prefix(8).map(\.quotedExcerpt).joined(separator: ", ") + (labels.count > 8 ? ", ..." : "")
  }

  /// Compares the scores of the recorded texts, and the labels that they mean.
  mutating func checkScores(_ found: [[Double]], _ model: CausalLM) {
    guard let labels = record.labels, let head = model.transformer.sequenceHead?.weight.value, !found.isEmpty else {
      return
    }
    let recorded = record.texts.map(\.scores)
    let distances = zip(found.joined(), recorded.joined()).map { abs($0 - $1) }
    let distance = mean(distances)
    let size = mean(recorded.joined().map { abs($0) })
    // Rounding changes hidden states, whose elements are about 1, so it moves even small scores by a share of this.
    let rowNorm = (model.transformer.backend.sumOfSquares(head) / Double(head.rows)).squareRoot()
    let base = record.texts.map { $0.baseScores ?? $0.scores }
    let name = labels.count == 1 ? "rewards" : "logits"
    var problem: String?
    if isLost(Array(found.joined()), trained: Array(recorded.joined()), base: Array(base.joined())) {
      problem =
        "The training is lost: the \(name) of the recorded texts are those of the base model under the trained head."
    } else if !(distance <= precision.scoreTolerance * max(size, rowNorm)) {
      problem =
        "The weights differ: the \(name) of the recorded texts differ by \(number(distance)) on average, where they are "
        + "\(number(size)) in size."
    }
    add(name, "\(recorded.count) texts", "differ by \(number(distance))", problem)
    if labels.count > 1 { checkLabels(found, recorded) }
  }

  private mutating func checkLabels(_ found: [[Double]], _ recorded: [[Double]]) {
    func label(_ scores: [Double]) -> Int? { scores.firstIndex(of: scores.max() ?? 0) }
    let same = zip(found, recorded).count { label($0) == label($1) }
    let isEnough = Double(same) >= precision.agreement * Double(recorded.count)
    add(
      "labels", "\(recorded.count) texts", "\(same) with the same label",
      isEnough
        ? nil
        : "The labels differ: only \(same) of \(recorded.count) texts get the label that they got after training.")
  }

  private func mean(_ values: [Double]) -> Double { values.reduce(0, +) / Double(max(1, values.count)) }
}
