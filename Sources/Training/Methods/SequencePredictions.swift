import Models
import Tensors

/// What a model predicts in the sequences of a batch.
public struct SequencePredictions {
  /// The predicted tokens of all sequences.
  public let tokens: TokenPredictions
  /// The predicted tokens of each sequence, as a range of those of `tokens`.
  public let ranges: [Range<Int>]
  /// The prompt's tokens of each item, if they were asked for.
  let prompts: [Range<Int>]

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
  ///
  /// Sequences that belong together, such as the two of a pair, go through the model with their common prompt once.
  /// - Parameter statistics: whether to compute the mean logits and the sums of squared probabilities too.
  public func predictions(statistics: Bool = false) -> SequencePredictions {
    predictions(statistics: statistics, includingPrompts: false)
  }

  /// The same with logits divided by `temperature`.
  func predictions(temperature: Float) -> SequencePredictions {
    predictions(statistics: false, includingPrompts: false, temperature: temperature)
  }

  /// The same by the model as it is, without gradients. Call it before `predictions`, when no activations are kept.
  func silentPredictions(temperature: Float = 1) -> SequencePredictions {
    TrainingPass(
      batch: batch, model: model, tape: Tape(on: model.backend, isRecording: false, precision: tape.precision),
      gradientScale: gradientScale, checkpoints: checkpoints, noise: nil, sharesPrefix: sharesPrefix, reference: nil,
      sequencesPerItem: sequencesPerItem
    ).predictions(temperature: temperature)
  }

  /// The same by the reference model.
  public func referencePredictions() -> SequencePredictions { referencePredictions(temperature: 1) }

  func referencePredictions(temperature: Float) -> SequencePredictions {
    reference?.use { silentPredictions(temperature: temperature) } ?? silentPredictions(temperature: temperature)
  }

  /// The pass of the sequences at `place` of each item of `count` sequences.
  func sequences(at place: Int, of count: Int) -> TrainingPass {
    if count == 1 { return self }
    let parts = batch.items(of: 1)
    let chosen = stride(from: place, to: parts.count, by: count)
    var selected = TokenBatch()
    for part in chosen.map({ parts[$0] }) {
      selected.ids += part.ids
      selected.positions += part.positions
      selected.targets += part.targets
      selected.sequenceStarts.append(selected.ids.count)
    }
    if !batch.values.isEmpty { selected.values = chosen.map { batch.values[$0] } }
    return TrainingPass(
      batch: selected, model: model, tape: tape, gradientScale: gradientScale, checkpoints: checkpoints, noise: noise,
      sharesPrefix: sharesPrefix, reference: reference, sequencesPerItem: 1, routerLosses: routerLosses)
  }

  /// What `predictions` returns, on request with the tokens of the prompt of each item's first sequence.
  func predictions(statistics: Bool, includingPrompts: Bool, temperature: Float = 1) -> SequencePredictions {
    let items = batch.items(of: sequencesPerItem)
    var parts = sharesPrefix && !model.configuration.isRecurrent ? items.map { $0.sharingPrefix() } : items
    let prompts = parts.indices.map { includingPrompts ? parts[$0].targetPrompt() : 0 }
    let targets = parts.flatMap(\.targets)
    let found = tape.tokenPredictions(
      hiddenStates(of: parts), head: model.head, targets: targets, logitScale: 1 / temperature,
      softcap: model.configuration.logitSoftcap / temperature, statistics: statistics)
    var next = 0
    func take(_ count: Int) -> Range<Int> {
      defer { next += count }
      return next..<next + count
    }
    var ranges: [Range<Int>] = []
    var promptRanges: [Range<Int>] = []
    for (part, prompt) in zip(parts, prompts) {
      promptRanges.append(take(prompt))
      for (sequence, tokens) in zip(part.sequenceStarts, part.sequenceStarts.dropFirst()).enumerated() {
        // The prompt belongs to the first sequence, and part of it may lie before that.
        let first = sequence == 0 ? 0 : tokens.0
        let count = part.targets[first..<tokens.1].count { $0 != TokenBatch.ignoredLabel }
        ranges.append(take(sequence == 0 ? count - prompt : count))
      }
    }
    return SequencePredictions(tokens: found, ranges: ranges, prompts: promptRanges)
  }
}

extension TokenBatch {
  /// Batches of `count` sequences each, or of as many as the items have.
  func items(of count: Int) -> [TokenBatch] {
    var sizes = itemSizes
    if sizes.isEmpty {
      let sequences = max(0, sequenceStarts.count - 1)
      sizes = stride(from: 0, to: sequences, by: max(1, count)).map { min(max(1, count), sequences - $0) }
    }
    var first = 0
    return sizes.map { size in
      let starts = sequenceStarts[first...first + size]
      let tokens = (starts.first ?? 0)..<(starts.last ?? 0)
      first += size
      var item = TokenBatch()
      item.ids = Array(ids[tokens])
      item.positions = Array(positions[tokens])
      item.targets = Array(targets[tokens])
      item.sequenceStarts = starts.map { $0 - tokens.lowerBound }
      return item
    }
  }

  /// Makes the prompt of the first sequence, and of a prefix before it, predicted.
  /// - Returns: the number of tokens this adds.
  fileprivate mutating func targetPrompt() -> Int {
    guard sequenceStarts.count > 1 else { return 0 }
    var added = 0
    for row in 0..<max(0, sequenceStarts[1] - 1) where targets[row] == Self.ignoredLabel {
      targets[row] = ids[row + 1]
      added += 1
    }
    return added
  }
}
