import Diagnostics

/// Several sources as one, as `interleave_datasets` of `datasets` mixes them.
public struct Interleaving: Sendable, Hashable {
  /// When a mixture ends.
  public enum Stop: String, Sendable, CaseIterable {
    /// As soon as one source has no rows left: nothing is repeated.
    case firstExhausted = "first_exhausted"
    /// As soon as every source has been gone through: shorter ones start over.
    case allExhausted = "all_exhausted"
  }

  /// The probability of each source, adding up to 1; `nil` to take one row of each in turn.
  public var shares: [Double]?
  /// The seed of the draws.
  public var seed: UInt64
  /// When the mixture ends.
  public var stop: Stop

  /// A mixture of these parts.
  public init(shares: [Double]? = nil, seed: UInt64 = 42, stop: Stop = .firstExhausted) {
    self.shares = shares
    self.seed = seed
    self.stop = stop
  }

  /// The rows of `sources`, mixed.
  /// - Throws: `SwiftletError` when the shares do not fit the sources, or one of them is empty.
  public func mix(_ sources: [any RowSource]) throws(SwiftletError) -> any RowSource {
    let counts = sources.map(\.count)
    if let empty = counts.firstIndex(of: 0) {
      throw SwiftletError.data(
        "source \(empty + 1) of the mixture has no rows; leave it out", at: sources[empty].location(of: 0))
    }
    guard let last = sources.indices.last else { throw SwiftletError.data("a mixture needs sources") }
    var offsets = [0]
    for count in counts[..<last] { offsets.append(offsets.last.map { $0 + count } ?? 0) }
    let draws = try draws(counts)
    var taken = Array(repeating: 0, count: counts.count)
    let indices = draws.map { source in
      defer { taken[source] += 1 }
      return offsets[source] + taken[source] % counts[source]
    }
    return SelectedRows(ConcatenatedRows(sources), indices)
  }

  /// The source of each row of the mixture.
  private func draws(_ counts: [Int]) throws(SwiftletError) -> [Int] {
    guard let shares else {
      let rounds = (stop == .firstExhausted ? counts.min() : counts.max()) ?? 0
      return (0..<rounds).flatMap { _ in counts.indices }
    }
    let total = shares.reduce(0, +)
    guard shares.count == counts.count, shares.allSatisfy({ $0 > 0 }), abs(total - 1) < 1e-8 else {
      throw SwiftletError.data(
        "the shares \(shares) do not fit \(counts.count) sources; give each a share above 0, adding up to 1")
    }
    var random = NumPyRandom(seed: seed)
    var cumulative: [Double] = []
    for share in shares { cumulative.append((cumulative.last ?? 0) + share) }
    let whole = cumulative.last ?? 1
    var taken = Array(repeating: 0, count: counts.count)
    var exhausted = 0
    var draws: [Int] = []
    while exhausted < (stop == .firstExhausted ? 1 : counts.count) {
      guard draws.count < 1_000_000 + 1_000 * counts.reduce(0, +) else {
        throw SwiftletError.data("the share of a source is so small that the mixture would not end; raise it")
      }
      let draw = random.nextDouble()
      let source = cumulative.firstIndex { draw < $0 / whole } ?? counts.count - 1
      draws.append(source)
      taken[source] += 1
      if taken[source] == counts[source] { exhausted += 1 }
    }
    return draws
  }
}

extension ConcatenatedRows {
  /// Sources end to end, each cut to its first rows so that they stand in the proportion of `fractions`, and none is
  /// repeated: TRL's mixture of `datasets` with `fraction`.
  /// - Throws: `SwiftletError` unless there is a fraction for each source, not negative and not all 0.
  public init(_ sources: [any RowSource], fractions: [Double]) throws(SwiftletError) {
    let sum = fractions.reduce(0, +)
    guard fractions.count == sources.count, fractions.allSatisfy({ $0 >= 0 }), sum > 0, sum.isFinite else {
      throw SwiftletError.data(
        "the fractions \(fractions) do not fit \(sources.count) sources; give each source one, or none")
    }
    let weights = fractions.map { $0 / sum }
    let total = zip(sources, weights).filter { $1 > 0 }.map { Double($0.count) / $1 }.min() ?? 0
    self.init(
      zip(sources, weights).map { source, weight in
        let count = Int((weight * total).rounded(.toNearestOrEven))
        return SelectedRows(source, Array(0..<max(0, min(count, source.count))))
      })
  }
}
