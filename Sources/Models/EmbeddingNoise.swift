/// Uniform noise on embeddings in training (NEFTune, arXiv:2310.05914).
public struct EmbeddingNoise: Sendable {
  /// The noise on a sequence of L tokens lies within ±alpha / √(L · hiddenSize).
  public var alpha: Double
  /// The same seed draws the same noise.
  public var seed: UInt64

  /// Noise of this strength.
  public init(alpha: Double, seed: UInt64) {
    self.alpha = alpha
    self.seed = seed
  }

  /// Noise for sequences joined end to end, `hiddenSize` values a token. L is each sequence's own length: nothing is padded.
  func values(lengths: [Int], hiddenSize: Int) -> [Float] {
    var random = RandomSource(seed: seed)
    return lengths.flatMap { length -> [Float] in
      let bound = Float(alpha / (Double(length) * Double(hiddenSize)).squareRoot())
      return (0..<length * hiddenSize).map { _ in (2 * random.uniform() - 1) * bound }
    }
  }
}
