import Tensors

/// Tokenized documents and how they are cut into training items, all in flat arrays.
///
/// A document is one row's tokens. An item is what counts as one example of a batch: one document, or several pieces of
/// documents when packed. Items only point into the documents, so packing copies nothing.
public struct TrainingSet: Sendable {
  /// The token ids of all documents, joined.
  public internal(set) var ids: TokenColumn = []
  /// As long as `ids`: the id itself where the token is trained on, -100 where it is masked. Not shifted.
  public internal(set) var labels: TokenColumn = []
  /// The offset of each document's first token; one more entry than documents, the last is `ids.count`.
  public internal(set) var documentStarts: [Int] = [0]
  /// The source row of each document.
  public internal(set) var rows: [Int] = []
  /// The pieces of each item, as ranges of `ids`.
  public internal(set) var items: [[Range<Int>]] = []
  /// Whether the pieces of an item are one sequence, as in wrapped packing. Else each is a sequence of its own:
  /// attention stays inside it.
  public internal(set) var joinsPieces = false

  /// The least and the greatest of all ids and labels but masked ones; `nil` where there are none.
  public internal(set) var idBounds: ClosedRange<Int32>?

  /// Which tokens are trained on, as `labels` says.
  var trained = TrainedBits()

  /// An empty set.
  public init() {}

  /// The number of documents.
  public var documentCount: Int { rows.count }

  /// The tokens of all items, padding never among them.
  public var tokenCount: Int { items.reduce(0) { $0 + $1.reduce(0) { $0 + $1.count } } }

  /// The document of number `index`.
  public func example(_ index: Int) -> Example? {
    guard rows.indices.contains(index) else { return nil }
    let range = documentStarts[index]..<documentStarts[index + 1]
    return Example(ids: ids.numbers(range), labels: labels.numbers(range), row: rows[index])
  }

  /// The sequences of an item, each the pieces that are joined in it.
  package func sequences(_ item: [Range<Int>]) -> [[Range<Int>]] { joinsPieces ? [item] : item.map { [$0] } }

  /// How many tokens of a sequence are predicted and count in the loss: all that are trained on but its first.
  package func targetCount(_ sequence: [Range<Int>]) -> Int {
    let first = sequence.first.map { trained.trained(in: $0.prefix(1)) } ?? 0
    return sequence.reduce(0) { $0 + trained.trained(in: $1) } - first
  }

  /// Adds a document, and an item that holds it alone.
  package mutating func append(_ example: Example) {
    appendDocument(example)
    ids.append(example.ids)
    labels.append(example.labels)
  }

  /// Adds a document whose tokens are written elsewhere, and an item that holds it alone.
  mutating func appendDocument(_ example: Example) {
    let start = documentStarts[documentStarts.count - 1]
    items.append([start..<start + example.ids.count])
    documentStarts.append(start + example.ids.count)
    rows.append(example.row)
    trained.append(example.labels)
    let labels = example.labels.lazy.filter { $0 != TokenBatch.ignoredLabel }
    for bound in [example.ids.min(), example.ids.max(), labels.min(), labels.max()].compactMap(\.self) {
      idBounds = min(bound, idBounds?.lowerBound ?? bound)...max(bound, idBounds?.upperBound ?? bound)
    }
  }

  /// The source rows of the documents that `range` of `ids` touches.
  func rows(touching range: Range<Int>) -> ArraySlice<Int> {
    // The last document that starts at or before an offset, among those that are not empty.
    func document(at offset: Int) -> Int {
      var low = 0
      var high = rows.count
      while high - low > 1 {
        let middle = (low + high) / 2
        if documentStarts[middle] <= offset { low = middle } else { high = middle }
      }
      return low
    }
    guard !rows.isEmpty, !range.isEmpty else { return [] }
    return rows[document(at: range.lowerBound)...document(at: range.upperBound - 1)]
  }
}

/// One row as the model is trained on it.
public struct Example: Sendable, Hashable {
  /// Token ids.
  public var ids: [Int32]
  /// As long as `ids`: the id itself, or -100 where the token is masked. Not shifted.
  public var labels: [Int32]
  /// The number of the row in its source, counted from 0.
  public var row: Int

  /// An example of these parts.
  public init(ids: [Int32], labels: [Int32], row: Int) {
    self.ids = ids
    self.labels = labels
    self.row = row
  }
}
