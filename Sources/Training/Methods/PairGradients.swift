/// The losses of a batch of pairs, and their derivatives by each completion's log-probability.
struct PairGradients {
  /// The sum of the losses over the pairs.
  private(set) var loss = 0.0
  /// By the log-probability of each pair's chosen completion.
  private(set) var chosen: [Double]
  /// By the log-probability of each pair's rejected completion.
  private(set) var rejected: [Double]

  init(pairs: Int) {
    chosen = Array(repeating: 0, count: pairs)
    rejected = chosen
  }

  /// Adds a loss of the chosen completion of pair `first` and the rejected one of pair `second`.
  mutating func add(_ term: Dual, times weight: Double, chosen first: Int, rejected second: Int) {
    loss += weight * term.value
    chosen[first] += weight * term.chosen
    rejected[second] += weight * term.rejected
  }

  /// Adds a loss of pair `index`.
  mutating func add(_ term: Dual, times weight: Double, pair index: Int) {
    add(term, times: weight, chosen: index, rejected: index)
  }
}
