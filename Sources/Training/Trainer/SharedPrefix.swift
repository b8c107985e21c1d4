import Datasets
import Models
import Tensors

extension Transformer {
  /// Whether training may compute a shared prefix once: not if each sequence has its own noise or dropout mask.
  func sharesPrefix(_ configuration: TrainingConfiguration) -> Bool {
    canSharePrefix && configuration.neftuneNoiseAlpha == nil
      && (configuration.disablesDropout || !linearLayers.contains { ($0.lora?.dropout ?? 0) > 0 })
  }
}

extension TrainingSet {
  /// The length of what the sequences of an item have in common before the first predicted token.
  func commonPrompt(_ item: [Range<Int>]) -> Int {
    guard let first = item.first, item.count > 1 else { return 0 }
    let ids = item.map { self.ids.numbers($0) }
    let labels = item.map { self.labels.numbers($0) }
    let longest = (ids.map(\.count).min() ?? 1) - 1
    let shared = (0..<longest).first { index in
      ids.contains { $0[index] != ids[0][index] } || labels.contains { $0[index + 1] != TokenBatch.ignoredLabel }
    }
    return first.isEmpty ? 0 : shared ?? max(0, longest)
  }

  /// The length of the prefix that all sequences share and in which nothing is predicted. Of a large set, only ten
  /// thousand evenly spaced items are compared, because the tokens may be in a file.
  package func sharedPrefix() -> Int {
    var shared: [Int32]?
    for number in stride(from: 0, to: items.count, by: max(1, items.count / 10_000)) {
      for pieces in sequences(items[number]) {
        guard let piece = pieces.first(where: { !$0.isEmpty }) else { continue }
        // Neither the last token nor the one before the first predicted token can be shared.
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
