/// Some items of a training set joined into ragged arrays, without padding.
public struct Batch: Sendable, Hashable {
  /// T token ids, the sequences joined.
  public var ids: [Int32] = []
  /// T positions, counted from 0 in every sequence.
  public var positions: [Int32] = []
  /// T ids that each position must predict, already shifted; -100 where nothing is trained, as at each sequence's end.
  public var targets: [Int32] = []
  /// The offset of each sequence; one more entry than sequences, the last is T.
  public var sequenceStarts: [Int] = [0]
  /// The source rows, for messages.
  public var rows: [Int] = []
  /// How many targets are not -100: this batch's share in the divisor of the loss.
  public var targetCount = 0

  /// An empty batch.
  public init() {}

  /// The length of the longest sequence.
  public var longestSequence: Int {
    zip(sequenceStarts.dropFirst(), sequenceStarts).reduce(0) { max($0, $1.0 - $1.1) }
  }
}

extension TrainingSet {
  /// The batch of the items with these numbers, in this order; numbers that no item has are passed over.
  public func batch(_ numbers: some Sequence<Int>) -> Batch {
    var batch = Batch()
    for number in numbers where items.indices.contains(number) {
      for pieces in sequences(items[number]) {
        let sequence = pieces.flatMap { ids.numbers($0) }
        if sequence.isEmpty { continue }
        batch.ids += sequence
        batch.positions += 0..<Int32(clamping: sequence.count)
        batch.targets += pieces.flatMap { labels.numbers($0) }.dropFirst()
        batch.targets.append(Example.ignoredLabel)
        batch.sequenceStarts.append(batch.ids.count)
        for piece in pieces { batch.rows += rows(touching: piece) }
      }
    }
    batch.targetCount = batch.targets.reduce(0) { $0 + ($1 == Example.ignoredLabel ? 0 : 1) }
    return batch
  }
}
