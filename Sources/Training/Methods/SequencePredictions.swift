import Models
import Tensors

/// What a model predicts in the sequences of a batch.
public struct SequencePredictions {
  /// The predicted tokens of all sequences.
  public let tokens: TokenPredictions
  /// The predicted tokens of each sequence, as a range of those of `tokens`.
  public let ranges: [Range<Int>]

  /// The log-probability of each sequence's predicted tokens.
  public var logProbabilities: [Double] { sums { _, _ in 1 } }

  /// A weighted sum of the log-probabilities of each sequence's tokens.
  /// - Parameter weight: given a sequence and one of its predicted tokens, counted from 0.
  func sums(weight: (_ sequence: Int, _ token: Int) -> Double) -> [Double] {
    ranges.enumerated().map { sequence, range in
      range.reduce(0) { $0 + weight(sequence, $1 - range.lowerBound) * Double(tokens.logProbabilities[$1]) }
    }
  }

  /// A metric over the predicted tokens of the sequences with these indices.
  func mean(of values: [Float], in sequences: some Sequence<Int>) -> MetricSum {
    sequences.reduce(MetricSum(0, weight: 0)) { sum, sequence in
      MetricSum(
        sum.sum + ranges[sequence].reduce(0) { $0 + Double(values[$1]) },
        weight: sum.weight + Double(ranges[sequence].count))
    }
  }
}

/// A loss that compares the trained model with a reference.
protocol ReferenceLoss: TrainingLoss {
  /// The reference's log-probability of each sequence of a batch.
  func referenceLogProbabilities(_ pass: TrainingPass) -> [Double]
}

extension TrainingPass {
  /// Runs the batch through the model, and computes the log-probability of each predicted token. To train, set
  /// `tokens.gradients` to the derivatives of the loss, multiplied by `gradientScale`.
  /// - Parameter statistics: whether to compute the mean logits and the sums of squared probabilities too.
  ///
  /// Sequences that belong together, such as the two of a pair, go through the model with their common prompt once.
  public func predictions(statistics: Bool = false) -> SequencePredictions {
    predictions(on: tape, noise: noise, statistics: statistics)
  }

  /// The same by the reference model, without gradients. Call it before `predictions`, when no activations are kept.
  public func referencePredictions() -> SequencePredictions {
    let silent = Tape(on: model.backend, isRecording: false, precision: tape.precision)
    let body = { predictions(on: silent, noise: nil, statistics: false) }
    return reference?.use(body) ?? body()
  }

  private func predictions(on tape: Tape, noise: NEFTuneNoise?, statistics: Bool) -> SequencePredictions {
    let parts = sharesPrefix ? batch.items(of: sequencesPerItem).map { $0.sharingPrefix() } : [batch]
    let targets = parts.flatMap(\.targets)
    let hidden = model.hiddenStates(
      parts, on: tape, checkpointed: checkpoints?.layers(tokens: targets.count) ?? [], noise: noise)
    let found = tape.tokenPredictions(
      hidden, head: model.head, targets: targets, softcap: model.configuration.logitSoftcap, statistics: statistics)
    var ranges: [Range<Int>] = []
    for part in parts {
      for (first, end) in zip(part.sequenceStarts, part.sequenceStarts.dropFirst()) {
        let start = ranges.last?.upperBound ?? 0
        ranges.append(start..<start + part.targets[first..<end].count { $0 != TokenBatch.ignoredLabel })
      }
    }
    return SequencePredictions(tokens: found, ranges: ranges)
  }
}

extension TokenBatch {
  /// Batches of `count` sequences each.
  func items(of count: Int) -> [TokenBatch] {
    stride(from: 0, to: sequenceStarts.count - 1, by: max(1, count)).map { first in
      let starts = sequenceStarts[first...min(first + max(1, count), sequenceStarts.count - 1)]
      let tokens = (starts.first ?? 0)..<(starts.last ?? 0)
      var item = TokenBatch()
      item.ids = Array(ids[tokens])
      item.positions = Array(positions[tokens])
      item.targets = Array(targets[tokens])
      item.sequenceStarts = starts.map { $0 - tokens.lowerBound }
      return item
    }
  }
}
