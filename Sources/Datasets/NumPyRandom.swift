/// NumPy's default random generator, PCG64 (O'Neill's PCG XSL RR 128/64) seeded with `SeedSequence`. The same seed
/// gives the same shuffles as in `datasets`.
public struct NumPyRandom: Sendable {
  private var state: (high: UInt64, low: UInt64) = (0, 0)
  private let increment: (high: UInt64, low: UInt64)
  /// The unused half of a 64-bit draw.
  private var leftover: UInt32?

  /// Creates the generator of `numpy.random.default_rng(seed)`.
  public init(seed: UInt64) {
    let words = SeedSequence.words(8, seed: seed)
    func pair(_ index: Int) -> UInt64 { UInt64(words[2 * index]) | UInt64(words[2 * index + 1]) << 32 }
    let sequence = (high: pair(2), low: pair(3))
    increment = (sequence.high << 1 | sequence.low >> 63, sequence.low << 1 | 1)
    advance()
    state = Self.sum(state, (pair(0), pair(1)))
    advance()
  }

  private static func sum(
    _ a: (high: UInt64, low: UInt64), _ b: (high: UInt64, low: UInt64)
  ) -> (high: UInt64, low: UInt64) {
    let low = a.low.addingReportingOverflow(b.low)
    return (a.high &+ b.high &+ (low.overflow ? 1 : 0), low.partialValue)
  }

  private mutating func advance() {
    let multiplier: (high: UInt64, low: UInt64) = (0x2360_ED05_1FC6_5DA4, 0x4385_DF64_9FCC_F645)
    let low = state.low.multipliedFullWidth(by: multiplier.low)
    let high = low.high &+ state.low &* multiplier.high &+ state.high &* multiplier.low
    state = Self.sum((high, low.low), increment)
  }

  /// The next 64 random bits.
  public mutating func next64() -> UInt64 {
    advance()
    let mixed = state.high ^ state.low
    let turn = state.high >> 58
    return mixed >> turn | mixed << ((64 - turn) & 63)
  }

  /// The next 32 random bits: the lower half of a 64-bit draw, then its upper half.
  public mutating func next32() -> UInt32 {
    if let word = leftover {
      leftover = nil
      return word
    }
    let word = next64()
    leftover = UInt32(truncatingIfNeeded: word >> 32)
    return UInt32(truncatingIfNeeded: word)
  }

  /// The next number in [0, 1), as `Generator.random()` returns it.
  public mutating func nextDouble() -> Double { Double(next64() >> 11) * 0x1p-53 }

  /// A uniform integer from 0 through `last`, by rejection sampling.
  private mutating func next(through last: UInt32) -> UInt32 {
    let mask = last == 0 ? 0 : UInt32.max >> last.leadingZeroBitCount
    while true {
      let draw = next32() & mask
      if draw <= last { return draw }
    }
  }

  /// The permutation of `0..<count` that `Generator.permutation(count)` returns, for counts below 2^32.
  public mutating func permutation(_ count: Int) -> [Int] {
    var order = Array(0..<max(0, count))
    for index in order.indices.dropFirst().reversed() {
      order.swapAt(index, Int(next(through: UInt32(clamping: index))))
    }
    return order
  }
}

/// NumPy's `SeedSequence`, which expands a seed to the state of a generator.
private enum SeedSequence {
  static func words(_ count: Int, seed: UInt64) -> [UInt32] {
    let pool = mixedPool(seed: seed)
    var constant: UInt32 = 0x8B51_F9DD
    return (0..<count).map { index in
      var word = pool[index % pool.count] ^ constant
      constant &*= 0x58F3_8DED
      word &*= constant
      return word ^ word >> 16
    }
  }

  private static func mixedPool(seed: UInt64) -> [UInt32] {
    var constant: UInt32 = 0x43B0_D7E5
    func scrambled(_ value: UInt32) -> UInt32 {
      var value = value ^ constant
      constant &*= 0x931E_8875
      value &*= constant
      return value ^ value >> 16
    }
    let entropy = [UInt32(truncatingIfNeeded: seed), UInt32(truncatingIfNeeded: seed >> 32), 0, 0]
    var pool = entropy.map(scrambled)
    for source in pool.indices {
      for target in pool.indices where target != source {
        let mixed = 0xCA01_F9DD &* pool[target] &- 0x4973_F715 &* scrambled(pool[source])
        pool[target] = mixed ^ mixed >> 16
      }
    }
    return pool
  }
}
