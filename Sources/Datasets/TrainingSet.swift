import Checkpoints
import Tensors

/// A tokenized dataset in flat arrays: documents, and how they are divided into items.
///
/// A document is one row's tokens. An item is one element of a batch: a document or, with packing, several pieces of
/// documents. Items are ranges of the documents' tokens, so packing copies nothing.
public struct TrainingSet: Sendable {
  /// The token ids of all documents, concatenated.
  public internal(set) var ids: TokenArray = []
  /// One label per token: the id itself, or `TokenBatch.ignoredLabel` if the token is masked. Not shifted.
  public internal(set) var labels: TokenArray = []
  /// The offset of each document's first token, and `ids.count` at the end.
  public internal(set) var documentStarts: [Int] = [0]
  /// The index of each document's row in the source.
  public internal(set) var rows: [Int] = []
  /// The pieces of each item, as ranges of `ids`.
  public internal(set) var items: [[Range<Int>]] = []
  /// A number of each document, such as a margin; empty if the rows give none.
  public internal(set) var values: [Float] = []
  /// The reference model's log-probability of each document's trained tokens; empty if it was not computed.
  package var referenceLogProbabilities: [Double] = []
  /// Whether the pieces of an item form one sequence, as with wrapped packing. Otherwise each piece is a sequence, and
  /// attention does not cross from one to another.
  public internal(set) var joinsPieces = false

  /// The range of all ids and labels, not counting masked labels; `nil` if there are none.
  public internal(set) var idBounds: ClosedRange<Int32>?

  /// The loss mask: one bit per token, set if its label is not masked.
  var lossMask = LossMask()

  /// Creates a set without documents; `Preparation` fills one.
  public init() {}

  /// The number of documents, each the tokens of one row.
  public var documentCount: Int { rows.count }

  /// The number of tokens in all items. There is no padding.
  public var tokenCount: Int { items.reduce(0) { $0 + $1.reduce(0) { $0 + $1.count } } }

  /// The document at `index`; `nil` if there is none.
  public func example(_ index: Int) -> Example? {
    guard rows.indices.contains(index) else { return nil }
    let range = documentStarts[index]..<documentStarts[index + 1]
    return Example(ids: ids.numbers(range), labels: labels.numbers(range), row: rows[index])
  }

  /// The sequences of an item, each as its pieces.
  package func sequences(_ item: [Range<Int>]) -> [[Range<Int>]] { joinsPieces ? [item] : item.map { [$0] } }

  /// How many tokens of a sequence are predicted and count in the loss: the trained tokens except the first of the
  /// sequence, which nothing predicts.
  package func targetCount(_ sequence: [Range<Int>]) -> Int {
    let first = sequence.first.map { lossMask.count(in: $0.prefix(1)) } ?? 0
    return sequence.reduce(0) { $0 + lossMask.count(in: $1) } - first
  }

  /// A hash of the tokens, the labels and the items.
  package func fingerprint() -> String {
    var hash = ContentHash()
    hash.update(documentStarts)
    for start in stride(from: 0, to: ids.count, by: 1 << 16) {
      let range = start..<min(ids.count, start + 1 << 16)
      hash.update(ids.numbers(range))
      hash.update(labels.numbers(range))
    }
    hash.update([joinsPieces ? 1 : 0])
    for item in items { hash.update(item.flatMap { [$0.lowerBound, $0.upperBound] }) }
    return hash.hexadecimal
  }

  /// Adds a document as an item of its own.
  package mutating func append(_ example: Example) { append([example]) }

  /// Adds documents that form one item.
  package mutating func append(_ examples: [Example]) {
    appendDocuments(examples)
    for example in examples {
      ids.append(example.ids)
      labels.append(example.labels)
    }
  }

  /// Adds documents that form one item, without their tokens, which the caller stores.
  mutating func appendDocuments(_ examples: [Example]) {
    let first = rows.count
    for example in examples { appendDocument(example) }
    items.append((first..<rows.count).map { documentStarts[$0]..<documentStarts[$0 + 1] })
  }

  private mutating func appendDocument(_ example: Example) {
    let start = documentStarts[documentStarts.count - 1]
    documentStarts.append(start + example.ids.count)
    rows.append(example.row)
    if let value = example.value { values.append(value) }
    lossMask.append(example.labels)
    let labels = example.labels.lazy.filter { $0 != TokenBatch.ignoredLabel }
    for bound in [example.ids.min(), example.ids.max(), labels.min(), labels.max()].compactMap(\.self) {
      idBounds = min(bound, idBounds?.lowerBound ?? bound)...max(bound, idBounds?.upperBound ?? bound)
    }
  }

  /// The source rows of the documents that overlap `range` of `ids`.
  func rows(touching range: Range<Int>) -> ArraySlice<Int> {
    guard !rows.isEmpty, !range.isEmpty else { return [] }
    return rows[document(at: range.lowerBound)...document(at: range.upperBound - 1)]
  }

  /// The index of the document with the token at an offset of `ids`.
  package func document(at offset: Int) -> Int {
    var low = 0
    var high = rows.count
    while high - low > 1 {
      let middle = (low + high) / 2
      if documentStarts[middle] <= offset { low = middle } else { high = middle }
    }
    return low
  }
}
