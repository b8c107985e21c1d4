import Foundation

/// SplitMix64 (Steele, Lea and Flood 2014): a small generator whose whole state is one number.
public struct RandomSource: RandomNumberGenerator, Sendable {
  /// The state, to save and restore.
  public var state: UInt64

  /// A generator that starts from `seed`.
  public init(seed: UInt64) { state = seed }

  /// The next 64 bits.
  public mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
    return z ^ z >> 31
  }

  /// A number in [0, 1).
  public mutating func uniform() -> Float { Float(next() >> 40) / 16_777_216 }

  /// A number of the standard normal distribution, of two uniform ones (Box and Muller 1958).
  public mutating func normal() -> Float {
    let radius = (-2 * log(1 - Double(uniform()))).squareRoot()
    return Float(radius * cos(2 * .pi * Double(uniform())))
  }
}
