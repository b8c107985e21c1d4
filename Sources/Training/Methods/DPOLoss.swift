import Essentials
import Tensors

/// Direct preference optimization: the loss over pairs of a preferred and a rejected completion, relative to the model
/// before training.
public struct DPOLoss: TrainingLoss, ReferenceLoss {
  private let configuration: DPOConfiguration

  /// A loss with these settings.
  public init(_ configuration: DPOConfiguration = DPOConfiguration()) { self.configuration = configuration }

  /// The number of pairs.
  public func weight(of batch: TokenBatch) -> Int { batch.pairCount }

  /// TRL's names.
  public var metricNames: [String] { SequencePredictions.preferenceMetricNames }

  /// As in training.
  public func validate(_ pass: TrainingPass) -> LossSums { compute(pass) }

  /// Computes the loss of a batch whose sequences are pairs, the preferred completion first.
  public func compute(_ pass: TrainingPass) -> LossSums {
    let reference =
      pass.batch.referenceLogProbabilities.isEmpty
      ? referenceLogProbabilities(pass) : pass.batch.referenceLogProbabilities
    let predictions = pass.predictions(statistics: true)
    let batch = PairBatch(predictions, reference: reference, configuration)
    let gradients = batch.gradients()
    predictions.tokens.gradients = batch.tokenGradients(gradients).map { Float($0) * pass.gradientScale }
    var sums = LossSums()
    sums.loss = gradients.loss
    sums.count = batch.pairs.count
    sums.metrics = batch.metrics()
    return sums
  }

  /// The reference's log-probability of each sequence.
  func referenceLogProbabilities(_ pass: TrainingPass) -> [Double] {
    let predictions = pass.referencePredictions()
    return predictions.sums(weight: TokenWeights(predictions, configuration).weight)
  }
}

extension TokenBatch {
  /// The number of pairs of sequences.
  var pairCount: Int { max(0, sequenceStarts.count - 1) / 2 }
}

/// The weights of the tokens of each sequence: below 1 beyond the length of the pair's shorter one, if
/// `lengthDesensitization` asks for it.
private struct TokenWeights {
  private let lengths: [Int]
  private let tail: Double?

  init(_ predictions: SequencePredictions, _ configuration: DPOConfiguration) {
    lengths = predictions.ranges.map(\.count)
    tail = configuration.lengthDesensitization
  }

  func weight(_ sequence: Int, _ token: Int) -> Double {
    guard let tail else { return 1 }
    let other = sequence ^ 1
    return token < min(lengths[sequence], lengths[other]) ? 1 : tail
  }
}

/// The pairs of a batch with their log-probabilities.
private struct PairBatch {
  struct Pair {
    /// Log-probabilities under the trained model.
    var chosen: Double, rejected: Double
    /// Log-probabilities under the reference.
    var referenceChosen: Double, referenceRejected: Double
    /// Predicted tokens.
    var chosenLength: Double, rejectedLength: Double

    var chosenLogRatio: Double { chosen - referenceChosen }
    var rejectedLogRatio: Double { rejected - referenceRejected }
  }

  let pairs: [Pair]
  private let predictions: SequencePredictions
  private let weights: TokenWeights
  private let configuration: DPOConfiguration

  init(_ predictions: SequencePredictions, reference: [Double], _ configuration: DPOConfiguration) {
    self.predictions = predictions
    self.configuration = configuration
    weights = TokenWeights(predictions, configuration)
    let sums = predictions.sums(weight: weights.weight)
    let lengths = predictions.ranges.map { Double($0.count) }
    pairs = stride(from: 0, to: sums.count - 1, by: 2).map {
      Pair(
        chosen: sums[$0], rejected: sums[$0 + 1], referenceChosen: reference[$0], referenceRejected: reference[$0 + 1],
        chosenLength: lengths[$0], rejectedLength: lengths[$0 + 1])
    }
  }

  // MARK: Loss

  func gradients() -> PairGradients {
    var gradients = PairGradients(pairs: pairs.count)
    for (index, type) in configuration.lossTypes.enumerated() {
      let weight = configuration.lossWeights?[index] ?? 1
      switch type {
      case .aot: addTransport(to: &gradients, weight)
      case .aotUnpaired: addUnpairedTransport(to: &gradients, weight)
      case .sft: addLikelihood(to: &gradients, weight)
      default:
        for (index, pair) in pairs.enumerated() {
          gradients.add(loss(type, pair), times: weight * policyWeight(index), pair: index)
        }
      }
    }
    return gradients
  }

  private func loss(_ type: DPOConfiguration.LossType, _ pair: Pair) -> Dual {
    configuration.loss(
      type, ScoredCompletion(logRatio: Dual(value: pair.chosenLogRatio, chosen: 1), length: pair.chosenLength),
      ScoredCompletion(logRatio: Dual(value: pair.rejectedLogRatio, rejected: 1), length: pair.rejectedLength))
  }

  /// The n-th smallest log-ratio of the model against the n-th smallest of the reference.
  private func addTransport(to gradients: inout PairGradients, _ weight: Double) {
    let order = pairs.indices.sorted { (pairs[$0].difference, $0) < (pairs[$1].difference, $1) }
    let references = pairs.map(\.referenceDifference).sorted()
    for (pair, reference) in zip(order, references) {
      let difference = Dual(value: pairs[pair].difference - reference, chosen: 1, rejected: -1)
      gradients.add(configuration.transportLoss(difference), times: weight, pair: pair)
    }
  }

  /// The n-th smallest log-ratio of the chosen completions against the n-th smallest of the rejected ones.
  private func addUnpairedTransport(to gradients: inout PairGradients, _ weight: Double) {
    let first = pairs.indices.sorted { (pairs[$0].chosenLogRatio, $0) < (pairs[$1].chosenLogRatio, $1) }
    let second = pairs.indices.sorted { (pairs[$0].rejectedLogRatio, $0) < (pairs[$1].rejectedLogRatio, $1) }
    for (chosen, rejected) in zip(first, second) {
      let value = pairs[chosen].chosenLogRatio - pairs[rejected].rejectedLogRatio
      gradients.add(
        configuration.transportLoss(Dual(value: value, chosen: 1, rejected: -1)), times: weight, chosen: chosen,
        rejected: rejected)
    }
  }

  /// The mean over all chosen tokens of the batch counts for each pair. It is of whole sequences whatever
  /// `lengthDesensitization` is, so its gradient is added in `tokenGradients`.
  private func addLikelihood(to gradients: inout PairGradients, _ weight: Double) {
    let likelihood = ChosenLikelihood(predictions)
    for index in pairs.indices {
      gradients.add(Dual(value: likelihood.mean), times: weight * policyWeight(index), pair: index)
    }
  }

  /// The product of the mean probabilities of both completions under the model, relative to what the model would give
  /// tokens drawn from itself; a constant.
  private func policyWeight(_ pair: Int) -> Double {
    guard configuration.usesWeighting else { return 1 }
    let tokens = predictions.tokens
    return exp(
      [2 * pair, 2 * pair + 1].reduce(0) { sum, sequence in
        let range = predictions.ranges[sequence]
        let aligned = range.reduce(0.0) { $0 + Double(tokens.logProbabilities[$1]) - Double(tokens.logSquareSums[$1]) }
        return sum + aligned / Double(max(1, range.count))
      })
  }

  /// The derivative by the log-probability of each predicted token.
  func tokenGradients(_ gradients: PairGradients) -> [Double] {
    var result = predictions.tokenGradients(gradients, perToken: false)
    for (sequence, range) in predictions.ranges.enumerated() {
      for token in range { result[token] *= weights.weight(sequence, token - range.lowerBound) }
    }
    for (index, type) in configuration.lossTypes.enumerated() where type == .sft {
      let weight = pairs.indices.reduce(0) { $0 + policyWeight($1) } * (configuration.lossWeights?[index] ?? 1)
      ChosenLikelihood(predictions).addGradients(to: &result, weight: weight)
    }
    return result
  }

  /// TRL's metrics.
  func metrics() -> [String: MetricSum] {
    predictions.preferenceMetrics(
      chosen: pairs.map(\.chosen), rejected: pairs.map(\.rejected),
      chosenRewards: pairs.map { configuration.beta * $0.chosenLogRatio },
      rejectedRewards: pairs.map { configuration.beta * $0.rejectedLogRatio })
  }
}

extension PairBatch.Pair {
  fileprivate var difference: Double { chosen - rejected }
  fileprivate var referenceDifference: Double { referenceChosen - referenceRejected }
}
