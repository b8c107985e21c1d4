import Tensors

/// The tokens of one row with their labels.
public struct Example: Sendable, Hashable {
  /// The token ids of the row, without padding.
  public var ids: [Int32]
  /// One label per id: the id itself, or `TokenBatch.ignoredLabel` if the token is not trained. Not shifted.
  public var labels: [Int32]
  /// The index of the row in its source.
  public var row: Int
  /// A number that the row gives, such as a margin.
  public var value: Float?

  /// Creates an example; `labels` must be as long as `ids`.
  public init(ids: [Int32], labels: [Int32], row: Int) {
    self.ids = ids
    self.labels = labels
    self.row = row
  }

  /// Masks the labels at the indices for which `isMasked` is true.
  mutating func maskLabels(where isMasked: (Int) -> Bool) {
    for index in labels.indices where isMasked(index) { labels[index] = TokenBatch.ignoredLabel }
  }

  mutating func truncate(to limit: Int, keeping end: PreparationOptions.Truncation) {
    ids = Array(end == .keepStart ? ids.prefix(limit) : ids.suffix(limit))
    labels = Array(end == .keepStart ? labels.prefix(limit) : labels.suffix(limit))
  }

  /// This example's prompt with another's completion: the tokens from its first label on.
  func with(completionOf other: Example) -> Example {
    func prompt(_ example: Example) -> Int {
      example.labels.firstIndex { $0 != TokenBatch.ignoredLabel } ?? example.ids.count
    }
    let completion = other.ids[prompt(other)...]
    var result = self
    result.ids = Array(ids[..<prompt(self)] + completion)
    result.labels = Array(labels[..<prompt(self)] + completion)
    return result
  }
}
