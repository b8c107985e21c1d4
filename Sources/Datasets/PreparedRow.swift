import Tensors

/// One row ready to be trained on, and what a report counts of it.
struct PreparedRow: Sendable {
  /// What became of the row.
  enum Fate: Sendable { case kept, masked, empty }

  /// The tokens that are left; none unless the row is kept.
  private(set) var ids: [Int32]
  private(set) var labels: [Int32]
  private(set) var fate = Fate.kept
  let form: String
  /// Tokens before anything was cut.
  let length: Int
  /// Whether the row is longer than the limit, and how many tokens were cut off here; packing cuts later.
  private(set) var isTooLong = false
  private(set) var truncatedTokens = 0
  private(set) var trainsStop = false
  let beginsTwice: Bool
  let lostPrompt: String?
  let note: String?

  /// Cuts an encoded row and drops it if nothing is left to train on.
  init(_ row: RowEncoder.Encoded, _ encoder: RowEncoder) {
    (ids, labels) = (row.ids, row.labels)
    (form, lostPrompt, note) = (row.form, row.lostPrompt, row.note)
    length = row.ids.count
    beginsTwice = encoder.tokenizer.bosTokenID.map { row.ids.starts(with: [$0, $0]) } ?? false
    let options = encoder.options
    if let limit = options.maxLength, length > limit {
      // What packing does not cut away is not lost.
      isTooLong = options.packing == nil || options.packing == .bfd
      if options.packing == nil { cut(to: limit, keeping: options.truncation) }
    }
    if ids.isEmpty {
      fate = .empty
    } else if options.packing == nil, labels.allSatisfy({ $0 == TokenBatch.ignoredLabel }) {
      fate = .masked
      (ids, labels) = ([], [])
    } else {
      trainsStop = Self.trainsStop(labels, encoder.tokenizer)
    }
  }

  private mutating func cut(to limit: Int, keeping end: PreparationOptions.Truncation) {
    truncatedTokens = length - limit
    ids = Array(end == .keepStart ? ids.prefix(limit) : ids.suffix(limit))
    labels = Array(end == .keepStart ? labels.prefix(limit) : labels.suffix(limit))
  }

  /// Whether the last token trained on, blanks aside, is an added one: a turn's or a text's end and no content.
  private static func trainsStop(_ labels: [Int32], _ tokenizer: RowTokenizer) -> Bool {
    for label in labels.reversed() where label != TokenBatch.ignoredLabel {
      if tokenizer.isAdded(label) { return true }
      if !tokenizer.decode(label).allSatisfy(\.isWhitespace) { return false }
    }
    return false
  }
}
