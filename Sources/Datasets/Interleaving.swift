import Diagnostics

/// How several sources are interleaved into one, as `interleave_datasets` of `datasets` does.
public struct Interleaving: Sendable, Hashable, Codable {
  /// When interleaving stops, as the `stopping_strategy` of `interleave_datasets`.
  public enum StoppingStrategy: String, Sendable, CaseIterable, Codable {
    /// When the first source runs out of rows. No row is repeated.
    case firstExhausted = "first_exhausted"
    /// When every source has been read completely. Shorter sources start over.
    case allExhausted = "all_exhausted"
  }

  /// The sampling probability of each source, with a sum of 1; `nil` takes one row of each source in turn.
  public var probabilities: [Double]?
  /// The seed of the draws.
  public var seed: UInt64
  /// Whether to stop at the end of the first source, or once all have been read.
  public var stoppingStrategy: StoppingStrategy

  /// Creates an interleaving; the defaults are those of `interleave_datasets`, with the seed 42.
  public init(
    probabilities: [Double]? = nil, seed: UInt64 = 42, stoppingStrategy: StoppingStrategy = .firstExhausted
  ) {
    self.probabilities = probabilities
    self.seed = seed
    self.stoppingStrategy = stoppingStrategy
  }

  /// Interleaves the rows of `sources`.
  /// - Throws: `SwiftletError` if the probabilities do not fit the sources, or a source is empty.
  public func interleave(_ sources: [any RowSource]) throws(SwiftletError) -> any RowSource {
    let counts = sources.map(\.count)
    if let empty = counts.firstIndex(of: 0) {
      throw SwiftletError.data("source \(empty + 1) has no rows; remove it", at: sources[empty].location(of: 0))
    }
    guard let last = sources.indices.last else { throw SwiftletError.data("there are no sources to interleave") }
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

  /// The source of each row of the result.
  private func draws(_ counts: [Int]) throws(SwiftletError) -> [Int] {
    guard let probabilities else {
      let rounds = (stoppingStrategy == .firstExhausted ? counts.min() : counts.max()) ?? 0
      return (0..<rounds).flatMap { _ in counts.indices }
    }
    let total = probabilities.reduce(0, +)
    guard probabilities.count == counts.count, probabilities.allSatisfy({ $0 > 0 }), abs(total - 1) < 1e-8 else {
      throw SwiftletError.data(
        "the probabilities \(probabilities) do not fit \(counts.count) sources; each source needs one above 0, and "
          + "their sum must be 1")
    }
    var random = NumPyRandom(seed: seed)
    var cumulative: [Double] = []
    for probability in probabilities { cumulative.append((cumulative.last ?? 0) + probability) }
    let sum = cumulative.last ?? 1
    var taken = Array(repeating: 0, count: counts.count)
    var exhausted = 0
    var draws: [Int] = []
    while exhausted < (stoppingStrategy == .firstExhausted ? 1 : counts.count) {
      guard draws.count < 1_000_000 + 1_000 * counts.reduce(0, +) else {
        throw SwiftletError.data("the probability of a source is so small that it would never be exhausted; raise it")
      }
      let draw = random.nextDouble()
      let source = cumulative.firstIndex { draw < $0 / sum } ?? counts.count - 1
      draws.append(source)
      taken[source] += 1
      if taken[source] == counts[source] { exhausted += 1 }
    }
    return draws
  }
}

extension ConcatenatedRows {
  /// Concatenates the first rows of each source so that their numbers are in the ratio of `fractions` and no row is
  /// repeated: TRL's `datasets` mixture with `fraction`.
  /// - Throws: `SwiftletError` unless there is one fraction per source, none is negative and not all are 0.
  public init(_ sources: [any RowSource], fractions: [Double]) throws(SwiftletError) {
    let sum = fractions.reduce(0, +)
    guard fractions.count == sources.count, fractions.allSatisfy({ $0 >= 0 }), sum > 0, sum.isFinite else {
      throw SwiftletError.data(
        "the fractions \(fractions) do not fit \(sources.count) sources; set one for every source, or none")
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
