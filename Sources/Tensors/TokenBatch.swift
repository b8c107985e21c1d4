/// Sequences of tokens joined end to end, without padding, with the token to predict at each position.
public struct TokenBatch: Sendable, Hashable {
  /// The label of a position whose prediction doesn't count toward the loss, as in PyTorch.
  public static let ignoredLabel: Int32 = -100

  /// Token ids of all sequences, `[tokens]`.
  public var ids: [Int32] = []
  /// The position of each token in its sequence, counted from 0.
  public var positions: [Int32] = []
  /// The id to predict at each token, already shifted; `ignoredLabel` where none is, as at the end of a sequence.
  public var targets: [Int32] = []
  /// The index of each sequence's first token, followed by the number of tokens. A token attends only to its own
  /// sequence. If the first start isn't 0, the tokens before it are a prefix that all sequences share.
  public var sequenceStarts: [Int] = [0]
  /// A number that the dataset gives for each sequence, such as a margin; empty if it gives none.
  public var values: [Float] = []
  /// The reference model's log-probability of each sequence, if computed before training; else empty.
  public var referenceLogProbabilities: [Double] = []
  /// The dataset rows that the tokens come from, for messages.
  public var rows: [Int] = []
  /// How many sequences each item has, if items differ in that; else empty.
  public var itemSizes: [Int] = []
  /// What the batch's completions were sampled with and earned, if the model sampled them; else `nil`.
  public var sampled: SampledCompletions?

  /// Creates a batch without sequences.
  public init() {}

  /// Creates a batch that predicts the next token everywhere.
  public init(_ sequences: [[Int32]]) {
    ids = sequences.flatMap { $0 }
    positions = sequences.flatMap { $0.indices.map(Int32.init) }
    targets = sequences.flatMap { sequence in
      sequence.isEmpty ? [] : sequence.dropFirst() + [Self.ignoredLabel]
    }
    sequenceStarts = sequences.reduce(into: [0]) { $0.append(($0.last ?? 0) + $1.count) }
  }

  /// The number of tokens in each sequence, without a shared prefix.
  public var lengths: [Int] { zip(sequenceStarts.dropFirst(), sequenceStarts).map(-) }

  /// The number of tokens in the longest sequence.
  public var longestSequence: Int { lengths.max() ?? 0 }

  /// The number of predicted tokens: this batch's share of the loss's divisor.
  public var targetCount: Int { targets.count { $0 != Self.ignoredLabel } }

  /// How many sequences each token is part of: all of them in a shared prefix, else one.
  package var sequenceCounts: [Float] {
    let prefix = sequenceStarts.first ?? 0
    return ids.indices.map { $0 < prefix ? Float(sequenceStarts.count - 1) : 1 }
  }

  /// The tokens of the shared prefix and of each sequence, with the length of the sequence up to its last position.
  package var segments: [(tokens: Range<Int>, length: Int)] {
    zip([0] + sequenceStarts, sequenceStarts).map { start, end in
      (start..<end, 1 + Int(positions[start..<end].max() ?? 0))
    }.filter { !$0.tokens.isEmpty }
  }

  // MARK: Shared prefix

  /// The same batch with the tokens that all sequences begin with stored once, up to the first one that predicts.
  ///
  /// Rows rendered by one chat template often begin with the same system message. Its hidden states are the same in
  /// every sequence, and its gradient is the sum over all sequences, so it needs to go through the model only once.
  public func sharingPrefix() -> TokenBatch {
    let ignored = zip(sequenceStarts, sequenceStarts.dropFirst()).map { start, end in
      targets[start..<end].prefix { $0 == Self.ignoredLabel }.count
    }
    return sharingPrefix(upTo: ignored.min() ?? 0).batch
  }

  /// The same batch with at most `limit` shared tokens stored once, and the index of each remaining token in this
  /// batch. Every sequence keeps at least one token of its own.
  package func sharingPrefix(upTo limit: Int) -> (batch: TokenBatch, indices: [Int]) {
    let ranges = zip(sequenceStarts, sequenceStarts.dropFirst()).map { $0..<$1 }
    let shared = sharedPrefixLength(ranges, upTo: limit)
    guard shared > 0 else { return (self, Array(ids.indices)) }
    let indices = Array(0..<shared) + ranges.flatMap { $0.dropFirst(shared) }
    var batch = self
    batch.ids = indices.map { ids[$0] }
    batch.positions = indices.map { positions[$0] }
    batch.targets = indices.map { targets[$0] }
    batch.sequenceStarts = ranges.reduce(into: [shared]) { $0.append(($0.last ?? 0) + $1.count - shared) }
    return (batch, indices)
  }

  private func sharedPrefixLength(_ ranges: [Range<Int>], upTo limit: Int) -> Int {
    guard sequenceStarts.first == 0, ranges.count > 1, let first = ranges.first else { return 0 }
    var shared = min(limit, first.count - 1)
    for range in ranges.dropFirst() {
      let most = max(0, min(shared, range.count - 1))
      let start = range.lowerBound
      shared = (0..<most).first { ids[start + $0] != ids[$0] || positions[start + $0] != positions[$0] } ?? most
    }
    return max(0, shared)
  }
}
