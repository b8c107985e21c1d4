import Tensors

extension TrainingSet {
  /// The batch of the items with these numbers, in this order; numbers that no item has are passed over.
  public func batch(_ numbers: some Sequence<Int>) -> TokenBatch {
    var batch = TokenBatch()
    for number in numbers where items.indices.contains(number) {
      for pieces in sequences(items[number]) {
        let sequence = pieces.flatMap { ids.numbers($0) }
        if sequence.isEmpty { continue }
        batch.ids += sequence
        batch.positions += 0..<Int32(clamping: sequence.count)
        batch.targets += pieces.flatMap { labels.numbers($0) }.dropFirst()
        batch.targets.append(TokenBatch.ignoredLabel)
        batch.sequenceStarts.append(batch.ids.count)
        for piece in pieces { batch.rows += rows(touching: piece) }
      }
    }
    return batch
  }
}
