import Tensors

/// What happened to one row in preparation, for the preparation report.
struct RowReport: Sendable {
  enum Outcome: Sendable {
    case kept
    /// Dropped, because all its labels are masked after truncation.
    case fullyMasked
    /// Dropped, because it has no tokens.
    case empty
    /// Dropped, because it is longer than the limit and would be scored differently without its end.
    case tooLong
  }

  var outcome = Outcome.kept
  /// The name of the row's format.
  let format: String
  /// The number of tokens before truncation.
  var length = 0
  /// Whether the row is longer than the limit.
  var isTooLong = false
  /// How many tokens were cut off here; packing cuts later.
  var truncatedTokens = 0
  /// Whether the model learns to stop at the end of the row.
  var trainsEOS = false
  var startsWithTwoBOS = false
  /// The end of the prompt's text if the tokens of the prompt alone are not a prefix of the row's.
  var lostPrompt: String?
  /// Something else that the report should mention.
  var note: String?

  init(format: String) { self.format = format }

  /// Truncates the example to `max_length`, and empties it if nothing is left to train on.
  mutating func truncate(_ example: inout Example, _ tokenizer: RowTokenizer, _ options: PreparationOptions) {
    length = example.ids.count
    startsWithTwoBOS = tokenizer.bosTokenID.map { example.ids.starts(with: [$0, $0]) } ?? false
    if let limit = options.maxLength, length > limit {
      // Only the packing strategy bfd loses tokens beyond the limit.
      isTooLong = options.packing == nil || options.packing == .bfd
      if options.packing == nil {
        truncatedTokens = length - limit
        example.truncate(to: limit, keeping: options.truncation)
      }
    }
    if example.ids.isEmpty {
      outcome = .empty
    } else if options.packing == nil, example.labels.allSatisfy({ $0 == TokenBatch.ignoredLabel }) {
      outcome = .fullyMasked
      (example.ids, example.labels) = ([], [])
    } else {
      trainsEOS = Self.trainsEOS(example.labels, tokenizer)
    }
  }

  /// Whether the last trained token, not counting white space, is an added token such as EOS or an end of turn.
  private static func trainsEOS(_ labels: [Int32], _ tokenizer: RowTokenizer) -> Bool {
    for label in labels.reversed() where label != TokenBatch.ignoredLabel {
      if tokenizer.isAdded(label) { return true }
      if !tokenizer.decode(label).allSatisfy(\.isWhitespace) { return false }
    }
    return false
  }
}
