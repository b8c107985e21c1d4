import Essentials
import Tensors

/// Group relative policy optimization: the loss over the model's own completions, weighted by how much better each is
/// than the others of its prompt.
public struct GRPOLoss: TrainingLoss {
  private let configuration: GRPOConfiguration

  /// A loss with these settings.
  public init(_ configuration: GRPOConfiguration = GRPOConfiguration()) { self.configuration = configuration }

  /// 1: the batches of a step count the same.
  public func weight(of batch: TokenBatch) -> Int { 1 }

  /// TRL's names.
  public var metricNames: [String] {
    ["entropy", "kl"] + ["low_mean", "high_mean", "region_mean", "low_min", "high_max"].map { "clip_ratio/\($0)" }
      + RewardScores.metricNames(configuration)
  }

  /// As in training.
  public func validate(_ pass: TrainingPass) -> LossSums { compute(pass) }

  /// Computes the loss of a batch of completions.
  public func compute(_ pass: TrainingPass) -> LossSums {
    let temperature = configuration.sampling.temperature
    let reference = configuration.beta == 0 ? nil : pass.referencePredictions(temperature: temperature)
    let predictions = pass.predictions(temperature: temperature)
    let policy = CompletionLosses(
      predictions, reference: reference, sampled: pass.batch.sampled ?? SampledCompletions(), configuration)
    predictions.tokens.gradients = policy.gradients.map { Float($0) * pass.gradientScale }
    var sums = LossSums()
    (sums.loss, sums.count) = (policy.loss, 1)
    sums.metrics = policy.metrics.merging(pass.batch.sampled?.metrics ?? [:]) { $1 }
    return sums
  }
}

/// The losses of the completions of a batch, and their derivatives.
private struct CompletionLosses {
  /// The loss of the batch.
  private(set) var loss = 0.0
  /// The derivative of the loss by the log-probability of each predicted token.
  private(set) var gradients: [Double]
  private let configuration: GRPOConfiguration
  private let predictions: SequencePredictions
  private var divergences: [Double]
  private var clips: [Clips] = []

  /// How many of a completion's ratios stopped counting: of its tokens, or the only one it has.
  private struct Clips {
    var low = 0.0
    var high = 0.0
    /// The number of ratios.
    var count = 0.0
  }

  init(
    _ predictions: SequencePredictions, reference: SequencePredictions?, sampled: SampledCompletions,
    _ configuration: GRPOConfiguration
  ) {
    self.configuration = configuration
    self.predictions = predictions
    let tokens = predictions.tokens.logProbabilities
    gradients = [Double](repeating: 0, count: tokens.count)
    divergences = gradients
    for (index, range) in predictions.ranges.enumerated() {
      let now = range.map { Double(tokens[$0]) }
      let old = sampled.logProbabilities.isEmpty ? now : sampled.logProbabilities[index].map(Double.init)
      let references = reference.map { reference in
        reference.ranges[index].map { Double(reference.tokens.logProbabilities[$0]) }
      }
      add(
        range, now: now, old: old, reference: references, advantage: sampled.advantages[index],
        weight: weight(of: range.count, sampled))
    }
  }

  /// What the loss of each token of a completion counts in the loss of the batch.
  private func weight(of count: Int, _ sampled: SampledCompletions) -> Double {
    let completions = Double(predictions.ranges.count)
    switch configuration.lossType {
    case .grpo: return 1 / Double(max(1, count)) / completions
    case .bnpo: return 1 / Double(max(1, predictions.tokens.logProbabilities.count))
    case .drGRPO: return 1 / completions / Double(configuration.maxCompletionLength)
    case .dapo: return 1 / max(sampled.tokensPerBatch, .leastNormalMagnitude)
    }
  }

  /// Adds the loss of a completion.
  private mutating func add(
    _ range: Range<Int>, now: [Double], old: [Double], reference: [Double]?, advantage: Double, weight: Double
  ) {
    let logRatios = zip(now, old).map { $0 - $1 }
    let isWhole = configuration.importanceSamplingLevel == .sequence
    let mean = logRatios.reduce(0, +) / Double(max(1, logRatios.count))
    let ratios = logRatios.map { exp(isWhole ? mean : $0) }
    // The derivative of each token's loss by its ratio.
    var slopes: [Double] = []
    for (offset, token) in range.enumerated() {
      let term = clipped(ratios[offset], advantage)
      var (value, slope) = (term.loss, term.slope)
      if let reference {
        let difference = reference[offset] - now[offset]
        let divergence = exp(difference) - difference - 1
        let factor = configuration.correctsDivergence ? ratios[offset] : 1
        divergences[token] = divergence * factor
        value += configuration.beta * divergence * factor
        if configuration.correctsDivergence { slope += configuration.beta * divergence }
        gradients[token] += weight * configuration.beta * factor * (1 - exp(difference))
      }
      loss += weight * value
      slopes.append(slope)
    }
    let common = isWhole ? slopes.reduce(0, +) / Double(max(1, slopes.count)) : 0
    for (offset, token) in range.enumerated() {
      gradients[token] += weight * ratios[offset] * (isWhole ? common : slopes[offset])
    }
    count(isWhole ? [exp(mean)] : ratios, advantage)
  }

  private var low: Double { 1 - configuration.epsilon }
  private var high: Double { 1 + (configuration.epsilonHigh ?? configuration.epsilon) }

  /// The clipped loss of a token with this ratio, and its derivative by the ratio.
  private func clipped(_ ratio: Double, _ advantage: Double) -> (loss: Double, slope: Double) {
    let limited = min(ratio, configuration.delta ?? .infinity)
    let clipped = min(max(ratio, low), high)
    if limited * advantage < clipped * advantage {
      return (-limited * advantage, limited == ratio ? -advantage : 0)
    }
    return (-clipped * advantage, clipped == ratio ? -advantage : 0)
  }

  private mutating func count(_ ratios: [Double], _ advantage: Double) {
    let ratios = ratios.map { min($0, configuration.delta ?? .infinity) }
    var clips = Clips()
    clips.count = Double(ratios.count)
    if advantage < 0 { clips.low = Double(ratios.count { $0 < low }) }
    if advantage > 0 { clips.high = Double(ratios.count { $0 > high }) }
    self.clips.append(clips)
  }

  /// TRL's metrics: means over the batch, each of which counts once.
  var metrics: [String: MetricSum] {
    let entropies = predictions.tokens.entropies
    let tokens = Double(max(1, entropies.count))
    var metrics = ["entropy": MetricSum(entropies.reduce(0) { $0 + Double($1) } / tokens)]
    if configuration.beta != 0 { metrics["kl"] = MetricSum(divergences.reduce(0, +) / tokens) }
    let ratios = max(1, clips.reduce(0) { $0 + $1.count })
    let (low, high) = (clips.reduce(0) { $0 + $1.low }, clips.reduce(0) { $0 + $1.high })
    metrics["clip_ratio/low_mean"] = MetricSum(low / ratios)
    metrics["clip_ratio/high_mean"] = MetricSum(high / ratios)
    metrics["clip_ratio/region_mean"] = MetricSum((low + high) / ratios)
    let shares = clips.filter { $0.count > 0 }
    metrics["clip_ratio/low_min"] = shares.map { $0.low / $0.count }.min().map { MetricSum($0) }
    metrics["clip_ratio/high_max"] = shares.map { $0.high / $0.count }.max().map { MetricSum($0) }
    return metrics
  }
}
