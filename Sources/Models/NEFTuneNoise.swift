/// Uniform noise on the embeddings during training (NEFTune, Jain et al. 2023, arXiv:2310.05914).
public struct NEFTuneNoise: Sendable {
  /// The strength: the noise on a sequence of L tokens is at most alpha / √(L · hidden size).
  public var alpha: Double
  /// The seed; equal seeds give equal noise.
  public var seed: UInt64

  /// Creates noise of this strength.
  public init(alpha: Double, seed: UInt64) {
    self.alpha = alpha
    self.seed = seed
  }

  /// Noise for sequences of these lengths joined end to end, `[tokens * hiddenSize]`. There is no padding, so each
  /// sequence has its own length L.
  func values(lengths: [Int], hiddenSize: Int) -> [Float] {
    var random = RandomSource(seed: seed)
    return lengths.flatMap { length -> [Float] in
      let bound = Float(alpha / (Double(length) * Double(hiddenSize)).squareRoot())
      return (0..<length * hiddenSize).map { _ in (2 * random.uniform() - 1) * bound }
    }
  }
}
