import Datasets
import Models
import Tensors

extension Transformer {
  /// Whether training may share beginnings: not where each sequence has noise or a dropout mask of its own.
  func sharesPrefix(_ configuration: TrainingConfiguration) -> Bool {
    canSharePrefix && configuration.neftuneNoiseAlpha == nil
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
        let unpredicted = labels.dropFirst().prefix { $0 == TokenBatch.ignoredLabel }.count
        let begin = ids.numbers(piece.prefix(min(unpredicted, piece.count - 1, shared?.count ?? .max)))
        let both = shared.map { zip($0, begin).prefix { $0 == $1 }.map(\.0) } ?? begin
        if both.isEmpty { return 0 }
        shared = both
      }
    }
    return shared?.count ?? 0
  }
}
