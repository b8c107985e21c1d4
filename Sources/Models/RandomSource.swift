import Essentials

/// SplitMix64 (Steele, Lea and Flood 2014): a random number generator whose entire state is one integer.
public struct RandomSource: RandomNumberGenerator, Sendable {
  /// The entire state. Restoring it repeats the numbers that followed.
  public var state: UInt64

  /// Creates a generator; equal seeds give equal numbers on every machine.
  public init(seed: UInt64) { state = seed }

  /// Advances the state and returns 64 random bits.
  public mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
    return z ^ z >> 31
  }

  /// Returns a number in [0, 1), with 24 random bits.
  public mutating func uniform() -> Float { Float(next() >> 40) / 16_777_216 }

  /// Returns a sample of the standard normal distribution (Box and Muller 1958).
  public mutating func normal() -> Float {
    let radius = (-2 * log(1 - Double(uniform()))).squareRoot()
    return Float(radius * cos(2 * .pi * Double(uniform())))
  }
}
