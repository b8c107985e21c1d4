import Tensors

extension SequencePredictions {
  /// The sequences of a batch of pairs that are preferred: every other one, from the first.
  var chosen: StrideTo<Int> { stride(from: 0, to: ranges.count, by: 2) }
  /// The sequences that are rejected: every other one, from the second.
  var rejected: StrideTo<Int> { stride(from: 1, to: ranges.count, by: 2) }

  /// The names of `preferenceMetrics`.
  static let preferenceMetricNames = [
    "entropy", "logits/chosen", "logits/rejected", "logps/chosen", "logps/rejected", "mean_token_accuracy",
    "rewards/accuracies", "rewards/chosen", "rewards/margins", "rewards/rejected",
  ]

  /// What TRL logs about a batch of pairs, under its names.
  /// - Parameters:
  ///   - chosen: the log-probability of each preferred completion; likewise `rejected`.
  ///   - chosenRewards: the reward of each preferred completion; likewise `rejectedRewards`.
  func preferenceMetrics(
    chosen: [Double], rejected: [Double], chosenRewards: [Double], rejectedRewards: [Double]
  ) -> [String: MetricSum] {
    func mean(_ values: [Double]) -> MetricSum { MetricSum(values.reduce(0, +), weight: Double(values.count)) }
    return [
      "entropy": self.mean(of: tokens.entropies, in: ranges.indices),
      "logits/chosen": self.mean(of: tokens.meanLogits, in: self.chosen),
      "logits/rejected": self.mean(of: tokens.meanLogits, in: self.rejected),
      "logps/chosen": mean(chosen), "logps/rejected": mean(rejected),
      "mean_token_accuracy": self.mean(of: tokens.isMostLikely.map { $0 ? 1 : 0 }, in: self.chosen),
      "rewards/accuracies": mean(zip(chosenRewards, rejectedRewards).map { $0 > $1 ? 1 : 0 }),
      "rewards/chosen": mean(chosenRewards), "rewards/rejected": mean(rejectedRewards),
      "rewards/margins": mean(zip(chosenRewards, rejectedRewards).map { $0 - $1 }),
    ]
  }
}
