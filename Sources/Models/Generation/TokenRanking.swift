import Essentials
import Tensors

/// A token and its probability relative to the most likely one.
package struct RankedToken {
  package var id: Int32
  /// The logit divided by the temperature.
  package var logit: Float
  package var weight: Double
}

/// Ranks the most likely tokens without sorting the vocabulary: it sorts only tokens within some distance of the
/// largest logit, and doubles that distance until there are enough.
package struct TokenRanking {
  private let logits: [Float]
  private let temperature: Float
  /// The largest logit, divided by the temperature.
  package let highest: Float
  /// The tokens ranked so far.
  private var ranked: [RankedToken] = []
  private var distance: Float = 3

  /// Ranks no tokens yet.
  /// - Returns: `nil` if the largest logit divided by the temperature isn't finite.
  package init?(_ logits: [Float], temperature: Float) {
    self.logits = logits
    self.temperature = temperature
    highest = LogitScan.largest(logits) / temperature
    guard highest.isFinite else { return nil }
  }

  /// The sum of the weights of all tokens.
  package var total: Double { LogitScan.exponentialSum(logits, temperature: temperature, highest: highest) }

  /// The `count` most likely tokens and, as in transformers, those as likely as the last of them.
  package mutating func mostLikely(_ count: Int) -> [RankedToken] {
    while ranked.count < count, extend() {}
    guard ranked.count > count else { return ranked }
    let lowest = ranked[count - 1].logit
    return Array(ranked.prefix { $0.logit >= lowest })
  }

  /// The most likely tokens whose weights add up to more than `mass`, and perhaps some more; all if they don't.
  package mutating func covering(_ mass: Double) -> [RankedToken] {
    while ranked.reduce(0, { $0 + $1.weight }) <= mass, extend() {}
    return ranked
  }

  /// All tokens with at least `weight`, and perhaps some more.
  package mutating func atLeast(_ weight: Float) -> [RankedToken] {
    while ranked.isEmpty || exp(-distance) >= weight, extend() {}
    return ranked
  }

  /// Ranks more tokens; returns whether there were any left to rank.
  private mutating func extend() -> Bool {
    guard distance < .infinity else { return false }
    // Beyond a distance of 104, weights are zero in float32.
    distance = distance < 52 ? 2 * distance : .infinity
    let tokens = LogitScan.tokens(
      logits, atLeast: distance < .infinity ? (highest - distance) * temperature : -.infinity)
    ranked = tokens.map { id in
      let logit = logits[Int(id)] / temperature
      return RankedToken(id: id, logit: logit, weight: Double(exp(logit - highest)))
    }
    ranked.sort { $0.logit == $1.logit ? $0.id < $1.id : $0.logit > $1.logit }
    return true
  }
}
