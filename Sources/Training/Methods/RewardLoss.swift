import Diagnostics
import Essentials
import Tensors

/// Settings of reward modeling (Bradley and Terry 1952), as TRL's `RewardConfig`.
public struct RewardConfiguration: MethodSettings, Hashable, Codable {
  /// The weight of the squared sum of both rewards, which keeps rewards around zero (arXiv:2312.09244); `nil` for none.
  public var centering: Double?

  /// Creates settings with TRL's defaults.
  public init() {}

  package var loss: any TrainingLoss { RewardLoss(self) }
  package var rowKind: RowKind { .scoredPair }

  package func problem(_ configuration: TrainingConfiguration, trainsAdapter: Bool) -> String? {
    if let centering, centering < 0 { return "`centering` must not be negative" }
    return nil
  }
}

/// The loss of a reward model: −log σ of the difference of both rewards of a pair, minus its margin.
public struct RewardLoss: TrainingLoss {
  private let configuration: RewardConfiguration

  /// A loss with these settings.
  public init(_ configuration: RewardConfiguration = RewardConfiguration()) { self.configuration = configuration }

  /// The number of pairs.
  public func weight(of batch: TokenBatch) -> Int { batch.pairCount }

  /// TRL's names.
  public var metricNames: [String] { ["accuracy", "margin", "max_reward", "mean_reward", "min_reward"] }

  /// As in training.
  public func validate(_ pass: TrainingPass) -> LossSums { compute(pass) }

  /// Computes the loss of a batch whose sequences are pairs, the preferred one first, with the margin as their value.
  public func compute(_ pass: TrainingPass) -> LossSums {
    let scores = pass.scores()
    let rewards = scores.values.map(Double.init)
    let margins = pass.batch.values.map(Double.init)
    var gradients = PairGradients(pairs: rewards.count / 2)
    for pair in 0..<rewards.count / 2 {
      let chosen = Dual(value: rewards[2 * pair], chosen: 1)
      let rejected = Dual(value: rewards[2 * pair + 1], rejected: 1)
      let margin = margins.isEmpty ? 0 : margins[2 * pair]
      gradients.add(-(chosen - rejected - margin).logSigmoid, times: 1, pair: pair)
      if let centering = configuration.centering {
        gradients.add((chosen + rejected).squared, times: centering, pair: pair)
      }
    }
    scores.gradients = zip(gradients.chosen, gradients.rejected).flatMap { [Float($0), Float($1)] }
      .map { $0 * pass.gradientScale }
    var sums = LossSums()
    (sums.loss, sums.count) = (gradients.loss, rewards.count / 2)
    sums.metrics = Self.metrics(rewards)
    return sums
  }

  /// TRL's metrics. Minima and maxima are those of each batch.
  private static func metrics(_ rewards: [Double]) -> [String: MetricSum] {
    let pairs = stride(from: 0, to: rewards.count - 1, by: 2).map { (chosen: rewards[$0], rejected: rewards[$0 + 1]) }
    func mean(_ values: [Double]) -> MetricSum { MetricSum(values.reduce(0, +), weight: Double(values.count)) }
    return [
      "accuracy": mean(pairs.map { $0.chosen > $0.rejected ? 1 : 0 }),
      "margin": mean(pairs.map { $0.chosen - $0.rejected }), "mean_reward": mean(rewards),
      "min_reward": MetricSum(rewards.min() ?? 0), "max_reward": MetricSum(rewards.max() ?? 0),
    ]
  }
}
