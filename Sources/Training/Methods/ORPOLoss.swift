import Diagnostics
import Tensors

/// Settings of odds ratio preference optimization (ORPO, arXiv:2403.07691), as TRL's `ORPOConfig`.
public struct ORPOConfiguration: MethodSettings, Hashable, Codable {
  /// The weight of the odds ratio beside the negative log-likelihood.
  public var beta = 0.1

  /// Creates settings with TRL's defaults.
  public init() {}

  package var loss: any TrainingLoss { ORPOLoss(self) }
  package var rowKind: RowKind { .preferencePair }

  package func problem(_ configuration: TrainingConfiguration, trainsAdapter: Bool) -> String? {
    beta < 0 ? "`beta` must not be negative." : nil
  }
}

/// Odds ratio preference optimization: the negative log-likelihood of prompt and preferred completion, and the log odds
/// ratio of both completions. It needs no reference model.
public struct ORPOLoss: TrainingLoss {
  private let configuration: ORPOConfiguration

  /// A loss with these settings.
  public init(_ configuration: ORPOConfiguration = ORPOConfiguration()) { self.configuration = configuration }

  /// The number of pairs.
  public func weight(of batch: TokenBatch) -> Int { batch.pairCount }

  /// TRL's names.
  public var metricNames: [String] {
    SequencePredictions.preferenceMetricNames + ["log_odds_chosen", "log_odds_ratio", "nll_loss"]
  }

  /// As in training.
  public func validate(_ pass: TrainingPass) -> LossSums { compute(pass) }

  /// Computes the loss of a batch whose sequences are pairs, the preferred completion first.
  public func compute(_ pass: TrainingPass) -> LossSums {
    let predictions = pass.predictions(statistics: true, includingPrompts: true)
    let means = predictions.meanLogProbabilities
    let pairs = stride(from: 0, to: means.count - 1, by: 2).map { (chosen: means[$0], rejected: means[$0 + 1]) }
    var gradients = PairGradients(pairs: pairs.count)
    var ratios: (odds: Double, logSigmoid: Double) = (0, 0)
    for (index, pair) in pairs.enumerated() {
      let (chosen, rejected) = (Dual(value: pair.chosen, chosen: 1), Dual(value: pair.rejected, rejected: 1))
      let odds = chosen - rejected - (chosen.log1mExp - rejected.log1mExp)
      let ratio = odds.logSigmoid
      gradients.add(ratio, times: -configuration.beta, pair: index)
      ratios = (ratios.odds + odds.value, ratios.logSigmoid + ratio.value)
    }
    let likelihood = ChosenLikelihood(predictions, includesPrompts: true)
    var tokens = predictions.tokenGradients(gradients, perToken: true)
    likelihood.addGradients(to: &tokens, weight: Double(pairs.count))
    predictions.tokens.gradients = tokens.map { Float($0) * pass.gradientScale }
    var sums = LossSums()
    sums.loss = gradients.loss + Double(pairs.count) * likelihood.mean
    sums.count = pairs.count
    sums.metrics = predictions.preferenceMetrics(
      chosen: pairs.map(\.chosen), rejected: pairs.map(\.rejected),
      chosenRewards: pairs.map { configuration.beta * $0.chosen },
      rejectedRewards: pairs.map { configuration.beta * $0.rejected })
    let count = Double(pairs.count)
    sums.metrics["log_odds_chosen"] = MetricSum(ratios.odds, weight: count)
    sums.metrics["log_odds_ratio"] = MetricSum(ratios.logSigmoid, weight: count)
    sums.metrics["nll_loss"] = MetricSum(likelihood.mean * count, weight: count)
    return sums
  }
}
