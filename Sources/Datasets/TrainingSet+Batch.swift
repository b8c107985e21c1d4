import Tensors

extension TrainingSet {
  /// The batch of the items at these indices, in this order. Indices out of range are ignored.
  public func batch(_ indices: some Sequence<Int>) -> TokenBatch {
    var batch = TokenBatch()
    for index in indices where items.indices.contains(index) {
      for pieces in sequences(items[index]) {
        let sequence = pieces.flatMap { ids.numbers($0) }
        if sequence.isEmpty { continue }
        batch.ids += sequence
        batch.positions += 0..<Int32(clamping: sequence.count)
        batch.targets += pieces.flatMap { labels.numbers($0) }.dropFirst()
        batch.targets.append(TokenBatch.ignoredLabel)
        batch.sequenceStarts.append(batch.ids.count)
        for piece in pieces { batch.rows += rows(touching: piece) }
        if let offset = pieces.first?.lowerBound, !values.isEmpty || !referenceLogProbabilities.isEmpty {
          let document = document(at: offset)
          if !values.isEmpty { batch.values.append(values[document]) }
          if !referenceLogProbabilities.isEmpty {
            batch.referenceLogProbabilities.append(referenceLogProbabilities[document])
          }
        }
      }
    }
    return batch
  }
}
