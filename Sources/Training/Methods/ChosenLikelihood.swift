import Tensors

/// The mean negative log-likelihood of the preferred sequences of a batch, over all of their tokens.
struct ChosenLikelihood {
  /// The mean, in nats.
  let mean: Double
  private let tokens: [Range<Int>]
  private let count: Int

  /// - Parameter includesPrompts: whether the tokens of the prompts count too.
  init(_ predictions: SequencePredictions, includesPrompts: Bool = false) {
    tokens = predictions.chosen.map { predictions.ranges[$0] } + (includesPrompts ? predictions.prompts : [])
    count = tokens.reduce(0) { $0 + $1.count }
    let sum = tokens.joined().reduce(0) { $0 + Double(predictions.tokens.logProbabilities[$1]) }
    mean = -sum / Double(max(1, count))
  }

  /// Adds the derivatives of the mean, times `weight`, to those by each token's log-probability.
  func addGradients(to gradients: inout [Double], weight: Double) {
    for token in tokens.joined() { gradients[token] -= weight / Double(max(1, count)) }
  }
}

extension SequencePredictions {
  /// The mean log-probability of each sequence's tokens.
  var meanLogProbabilities: [Double] {
    zip(logProbabilities, ranges).map { $0 / Double(max(1, $1.count)) }
  }

  /// The derivatives by each token's log-probability, from those by each completion's.
  /// - Parameter perToken: whether the latter are by the mean over the tokens, rather than the sum.
  func tokenGradients(_ gradients: PairGradients, perToken: Bool) -> [Double] {
    var result = [Double](repeating: 0, count: tokens.logProbabilities.count)
    for (sequence, range) in ranges.enumerated() {
      let gradient = sequence % 2 == 0 ? gradients.chosen[sequence / 2] : gradients.rejected[sequence / 2]
      for token in range { result[token] = perToken ? gradient / Double(range.count) : gradient }
    }
    return result
  }
}
