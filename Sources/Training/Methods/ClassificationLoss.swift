import Datasets
import Diagnostics
import Essentials
import Tensors

/// Settings of sequence classification, with the names of transformers' configuration.
public struct ClassificationConfiguration: MethodSettings, Hashable, Codable {
  /// The number of labels; `nil` for as many as `labels` or the training rows have.
  public var labelCount: Int?
  /// The names of the labels; empty for those of the training rows.
  public var labels: [String] = []

  /// Creates settings with transformers' defaults.
  public init() {}

  package var loss: any TrainingLoss { ClassificationLoss() }
  package var rowKind: RowKind { .labeledText(ClassLabels(labels)) }

  package func problem(_ configuration: TrainingConfiguration, trainsAdapter: Bool) -> String? {
    if let labelCount, labelCount < 2 { return "`labelCount` must be at least 2" }
    if let labelCount, !labels.isEmpty, labels.count != labelCount {
      return "`labels` has \(labels.count) names, but `labelCount` is \(labelCount); leave out one of them"
    }
    if labels.count == 1 { return "`labels` must name at least 2 labels" }
    if Set(labels.map { Array($0.utf8) }).count != labels.count { return "`labels` has a name twice; use each once" }
    return nil
  }
}

/// The mean cross-entropy of the labels of whole sequences.
public struct ClassificationLoss: TrainingLoss {
  /// Creates the loss.
  public init() {}

  /// The number of sequences.
  public func weight(of batch: TokenBatch) -> Int { max(0, batch.sequenceStarts.count - 1) }

  /// The share of sequences whose label has the highest score.
  public var metricNames: [String] { ["accuracy"] }

  /// As in training.
  public func validate(_ pass: TrainingPass) -> LossSums { compute(pass) }

  /// Computes the loss of a batch in which each sequence's value is the number of its label.
  public func compute(_ pass: TrainingPass) -> LossSums {
    let scores = pass.scores()
    var gradients = [Float](repeating: 0, count: scores.values.count)
    var (loss, correct) = (0.0, 0.0)
    for (sequence, value) in pass.batch.values.enumerated() {
      let range = sequence * scores.labelCount..<(sequence + 1) * scores.labelCount
      let logits = scores.values[range].map(Double.init)
      let probabilities = Self.probabilities(logits)
      let label = Int(value)
      loss += Self.logSumExp(logits) - logits[label]
      if logits.firstIndex(of: logits.max() ?? 0) == label { correct += 1 }
      for (place, probability) in zip(range, probabilities) {
        gradients[place] = Float(probability - (place - range.lowerBound == label ? 1 : 0)) * pass.gradientScale
      }
    }
    scores.gradients = gradients
    var sums = LossSums()
    (sums.loss, sums.count) = (loss, pass.batch.values.count)
    sums.metrics = ["accuracy": MetricSum(correct, weight: Double(sums.count))]
    return sums
  }

  /// The probability of each label.
  package static func probabilities(_ logits: [Double]) -> [Double] {
    let total = logSumExp(logits)
    return logits.map { exp($0 - total) }
  }

  private static func logSumExp(_ values: [Double]) -> Double {
    let largest = values.max() ?? 0
    return largest + log(values.reduce(0) { $0 + exp($1 - largest) })
  }
}
