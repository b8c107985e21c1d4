import Datasets
import Models

extension Batch {
  /// The batch as the transformer takes it, and the id that each of its rows must predict.
  ///
  /// Rows of the same chat template mostly begin alike: with the same system message. What all sequences of a batch begin
  /// with, as far as nothing is predicted in it, can go through the model once: its states are the same in all of them,
  /// and its gradient is the sum of what they give it.
  package func laidOut(sharingPrefix: Bool) -> (tokens: RaggedTokens, targets: [Int32]) {
    let tokens = RaggedTokens(ids: ids, positions: positions, starts: sequenceStarts)
    guard sharingPrefix else { return (tokens, targets) }
    let unpredicted = zip(sequenceStarts, sequenceStarts.dropFirst()).map { start, end in
      targets[start..<end].prefix { $0 == Example.ignoredLabel }.count
    }
    let (shared, rows) = tokens.sharingPrefix(upTo: unpredicted.min() ?? 0)
    return (shared, rows.map { targets[$0] })
  }
}

extension Transformer {
  /// Whether training may share beginnings: not where each sequence has noise or a dropout mask of its own.
  func sharesPrefix(_ arguments: TrainingArguments) -> Bool {
    canSharePrefix && arguments.neftuneNoiseAlpha == nil
      && !linearLayers.contains { ($0.lora?.dropout ?? 0) > 0 }
  }
}

extension TrainingSet {
  /// How many tokens all sequences begin with, as far as nothing is predicted in them; what any of their batches can
  /// share at least. Of large sets some thousand items tell, evenly spaced, for the tokens may lie in a file.
  package func sharedPrefix() -> Int {
    var shared: [Int32]?
    for number in stride(from: 0, to: items.count, by: max(1, items.count / 10_000)) {
      for pieces in sequences(items[number]) {
        guard let piece = pieces.first(where: { !$0.isEmpty }) else { continue }
        // The last token is the sequence's own, and so is the one before the first that is predicted.
        let labels = labels.numbers(piece.prefix(min(piece.count, (shared?.count ?? piece.count) + 2)))
        let unpredicted = labels.dropFirst().prefix { $0 == Example.ignoredLabel }.count
        let begin = ids.numbers(piece.prefix(min(unpredicted, piece.count - 1, shared?.count ?? .max)))
        let both = shared.map { zip($0, begin).prefix { $0 == $1 }.map(\.0) } ?? begin
        if both.isEmpty { return 0 }
        shared = both
      }
    }
    return shared?.count ?? 0
  }
}
