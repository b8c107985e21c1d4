import Diagnostics
import Tensors

/// Settings of contrastive preference optimization (CPO, arXiv:2401.08417) and SimPO (arXiv:2405.14734), as TRL's
/// `CPOConfig`.
public struct CPOConfiguration: MethodSettings, Hashable, Codable {
  /// A loss over the difference Δ of both completions' log-probabilities.
  public enum LossType: String, Sendable, CaseIterable, Codable {
    /// −log σ(β Δ) (CPO).
    case sigmoid
    /// max(0, 1 − β Δ).
    case hinge
    /// (Δ − 1/2β)², of means over tokens.
    case ipo
    /// −log σ(β Δ − γ), of means over tokens (SimPO); set `likelihoodWeight` to 0 for the paper's loss.
    case simpo
  }

  /// Which loss to minimize: TRL's `loss_type`.
  public var lossType = LossType.sigmoid
  /// The inverse temperature of the reward.
  public var beta = 0.1
  /// The share of labels taken to be flipped.
  public var labelSmoothing = 0.0
  /// The weight of the negative log-likelihood of the preferred completions.
  public var likelihoodWeight = 1.0
  /// The margin γ of `simpo`.
  public var simPOMargin = 0.5
  /// The exponent of AlphaPO's reward (1 − p^−α) / α (arXiv:2501.03884); 0 for log p.
  public var alpha = 0.0

  /// Creates settings with TRL's defaults.
  public init() {}

  package var loss: any TrainingLoss { CPOLoss(self) }
  package var rowKind: RowKind { .preferencePair }

  package func problem(_ configuration: TrainingConfiguration, trainsAdapter: Bool) -> String? {
    beta <= 0 ? "`beta` must be positive." : nil
  }

  /// Whether log-probabilities are means over tokens.
  var isPerToken: Bool { lossType == .ipo || lossType == .simpo }

  func loss(_ difference: Dual) -> Dual {
    func smoothed(_ scaled: Dual) -> Dual {
      (labelSmoothing - 1) * scaled.logSigmoid - labelSmoothing * (-scaled).logSigmoid
    }
    switch lossType {
    case .sigmoid: return smoothed(beta * difference)
    case .simpo: return smoothed(beta * (difference - simPOMargin / beta))
    case .hinge: return (1 - beta * difference).positivePart
    case .ipo: return (difference - 1 / (2 * beta)).squared
    }
  }

  func reward(_ logProbability: Dual) -> Dual {
    alpha == 0 ? logProbability : 1 / alpha * (1 - (-alpha * logProbability).exponential)
  }
}

/// Contrastive preference optimization: the difference of both completions' log-probabilities, and the negative
/// log-likelihood of the preferred one. It needs no reference model.
public struct CPOLoss: TrainingLoss {
  private let configuration: CPOConfiguration

  /// A loss with these settings.
  public init(_ configuration: CPOConfiguration = CPOConfiguration()) { self.configuration = configuration }

  /// The number of pairs.
  public func weight(of batch: TokenBatch) -> Int { batch.pairCount }

  /// TRL's names.
  public var metricNames: [String] { SequencePredictions.preferenceMetricNames + ["nll_loss"] }

  /// As in training.
  public func validate(_ pass: TrainingPass) -> LossSums { compute(pass) }

  /// Computes the loss of a batch whose sequences are pairs, the preferred completion first.
  public func compute(_ pass: TrainingPass) -> LossSums {
    let predictions = pass.predictions(statistics: true)
    let values = configuration.isPerToken ? predictions.meanLogProbabilities : predictions.logProbabilities
    var gradients = PairGradients(pairs: values.count / 2)
    var rewards: (chosen: [Double], rejected: [Double]) = ([], [])
    for index in 0..<values.count / 2 {
      let chosen = configuration.reward(Dual(value: values[2 * index], chosen: 1))
      let rejected = configuration.reward(Dual(value: values[2 * index + 1], rejected: 1))
      gradients.add(configuration.loss(chosen - rejected), times: 1, pair: index)
      rewards.chosen.append(configuration.beta * chosen.value)
      rewards.rejected.append(configuration.beta * rejected.value)
    }
    let count = Double(values.count / 2)
    var tokens = predictions.tokenGradients(gradients, perToken: configuration.isPerToken)
    let likelihood = ChosenLikelihood(predictions)
    likelihood.addGradients(to: &tokens, weight: count * configuration.likelihoodWeight)
    predictions.tokens.gradients = tokens.map { Float($0) * pass.gradientScale }
    var sums = LossSums()
    sums.loss = gradients.loss + count * configuration.likelihoodWeight * likelihood.mean
    sums.count = values.count / 2
    sums.metrics = predictions.preferenceMetrics(
      chosen: predictions.chosen.map { values[$0] }, rejected: predictions.rejected.map { values[$0] },
      chosenRewards: rewards.chosen, rejectedRewards: rewards.rejected)
    // As in TRL, a likelihood that does not count is logged as 0.
    let logged = configuration.likelihoodWeight == 0 ? 0 : likelihood.mean
    sums.metrics["nll_loss"] = MetricSum(logged * count, weight: count)
    return sums
  }
}
