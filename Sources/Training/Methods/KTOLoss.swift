import Diagnostics
import Essentials
import Tensors

/// Settings of Kahneman-Tversky optimization (KTO, arXiv:2402.01306), as TRL's `KTOConfig`.
public struct KTOConfiguration: MethodSettings, Hashable, Codable {
  /// A loss over single completions. ρ is the log-ratio of the trained and the reference model's probability.
  public enum LossType: String, Sendable, CaseIterable, Codable {
    /// 1 − σ(±β(ρ − KL)), where the divergence KL is estimated with other rows' completions.
    case kto
    /// 1 − σ(±βρ), without the divergence (APO, arXiv:2408.06266).
    case apoZeroUnpaired = "apo_zero_unpaired"
  }

  /// Which loss to minimize: TRL's `loss_type`.
  public var lossType = LossType.kto
  /// The inverse temperature of the reward: larger values keep the model closer to the reference.
  public var beta = 0.1
  /// The weight of desirable completions.
  public var desirableWeight = 1.0
  /// The weight of undesirable completions.
  public var undesirableWeight = 1.0
  /// How the reference model is used.
  public var reference = ReferenceSettings()

  /// Creates settings with TRL's defaults.
  public init() {}

  package var loss: any TrainingLoss { KTOLoss(self) }
  package var rowKind: RowKind { .labeledCompletion(estimatesDivergence: lossType == .kto) }
  package var referenceSettings: ReferenceSettings? { reference }

  package func problem(_ configuration: TrainingConfiguration, trainsAdapter: Bool) -> String? {
    if beta <= 0 { return "`beta` must be positive" }
    if lossType == .kto {
      if configuration.trainBatchSize < 2 {
        return "the loss kto needs a `trainBatchSize` of at least 2, for completions of other rows"
      }
      if configuration.findsBatchSize {
        return "`findsBatchSize` cannot be combined with the loss kto, whose rows are tied to their batch"
      }
      if configuration.samplingStrategy != .sequential {
        return "the loss kto needs `samplingStrategy` sequential: its rows are tied to those beside them"
      }
    }
    return reference.problem(trainsAdapter: trainsAdapter)
  }
}

/// Kahneman-Tversky optimization: single completions that are desirable or not, relative to the model before training.
public struct KTOLoss: TrainingLoss, ReferenceLoss {
  private let configuration: KTOConfiguration

  /// A loss with these settings.
  public init(_ configuration: KTOConfiguration = KTOConfiguration()) { self.configuration = configuration }

  /// TRL's names.
  public var metricNames: [String] {
    [
      "entropy", "kl", "logits/chosen", "logits/rejected", "logps/chosen", "logps/rejected", "rewards/chosen",
      "rewards/margins", "rewards/rejected",
    ]
  }

  /// Whether each item has a second sequence: the prompt with another row's completion.
  private var estimatesDivergence: Bool { configuration.lossType == .kto }
  private var sequencesPerItem: Int { estimatesDivergence ? 2 : 1 }

  /// The number of rows.
  public func weight(of batch: TokenBatch) -> Int { max(0, batch.sequenceStarts.count - 1) / sequencesPerItem }

  /// As in training.
  public func validate(_ pass: TrainingPass) -> LossSums { compute(pass) }

  /// The reference's log-probability of each sequence.
  func referenceLogProbabilities(_ pass: TrainingPass) -> [Double] { pass.referencePredictions().logProbabilities }

  /// Computes the loss of a batch. Each sequence's value is 1 if it is desirable; for the loss `kto`, every other sequence
  /// estimates the divergence.
  public func compute(_ pass: TrainingPass) -> LossSums {
    let reference =
      pass.batch.referenceLogProbabilities.isEmpty
      ? referenceLogProbabilities(pass) : pass.batch.referenceLogProbabilities
    let divergence = estimatesDivergence ? self.divergence(pass, reference) : 0
    let own = pass.sequences(at: 0, of: sequencesPerItem)
    let predictions = own.predictions(statistics: true)
    let logProbabilities = predictions.logProbabilities
    let isDesirable = own.batch.values.map { $0 > 0 }
    var (loss, logRatios) = (0.0, [Double]())
    var gradients = [Float](repeating: 0, count: predictions.tokens.logProbabilities.count)
    for (index, logProbability) in logProbabilities.enumerated() {
      let logRatio = logProbability - reference[index * sequencesPerItem]
      logRatios.append(logRatio)
      let term = self.loss(Dual(value: logRatio, chosen: 1), divergence, isDesirable: isDesirable[index])
      loss += term.value
      let gradient = Float(term.chosen) * pass.gradientScale
      for token in predictions.ranges[index] { gradients[token] = gradient }
    }
    predictions.tokens.gradients = gradients
    var sums = LossSums()
    (sums.loss, sums.count) = (loss, logProbabilities.count)
    sums.metrics = metrics(predictions, isDesirable, logRatios)
    sums.metrics["kl"] = MetricSum(divergence)
    return sums
  }

  private func loss(_ logRatio: Dual, _ divergence: Double, isDesirable: Bool) -> Dual {
    let scaled = configuration.beta * (logRatio - divergence)
    if isDesirable { return configuration.desirableWeight * (1 - scaled.sigmoid) }
    return configuration.undesirableWeight * (1 - (-scaled).sigmoid)
  }

  /// The mean log-ratio of completions of other rows, at least 0; a constant.
  private func divergence(_ pass: TrainingPass, _ reference: [Double]) -> Double {
    let found = pass.sequences(at: 1, of: 2).silentPredictions().logProbabilities
    var sum = 0.0
    for (index, logProbability) in found.enumerated() { sum += logProbability - reference[2 * index + 1] }
    return max(0, sum / Double(max(1, found.count)))
  }

  private func metrics(
    _ predictions: SequencePredictions, _ isDesirable: [Bool], _ logRatios: [Double]
  ) -> [String: MetricSum] {
    let logProbabilities = predictions.logProbabilities
    var metrics = ["entropy": predictions.mean(of: predictions.tokens.entropies, in: isDesirable.indices)]
    for (name, isWanted) in [("chosen", true), ("rejected", false)] {
      let sequences = isDesirable.indices.filter { isDesirable[$0] == isWanted }
      guard !sequences.isEmpty else { continue }
      let count = Double(sequences.count)
      metrics["logits/\(name)"] = predictions.mean(of: predictions.tokens.meanLogits, in: sequences)
      metrics["logps/\(name)"] = MetricSum(sequences.reduce(0) { $0 + logProbabilities[$1] }, weight: count)
      metrics["rewards/\(name)"] = MetricSum(
        configuration.beta * sequences.reduce(0) { $0 + logRatios[$1] }, weight: count)
    }
    if let chosen = metrics["rewards/chosen"], let rejected = metrics["rewards/rejected"] {
      metrics["rewards/margins"] = MetricSum(chosen.mean - rejected.mean)
    }
    return metrics
  }
}
