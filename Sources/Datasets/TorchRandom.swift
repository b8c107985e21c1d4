/// PyTorch's CPU generator, MT19937 (Matsumoto and Nishimura 1998). The same seed gives the same permutations as
/// PyTorch's samplers.
public struct TorchRandom: Sendable {
  private var state: [UInt32]
  private var position: Int

  /// Creates the generator of `torch.Generator().manual_seed(seed)`, which uses the lower 32 bits of the seed.
  public init(seed: UInt64) {
    var words = [UInt32(truncatingIfNeeded: seed)]
    words.reserveCapacity(624)
    for index in 1..<624 {
      let last = words[index - 1]
      words.append(1_812_433_253 &* (last ^ last >> 30) &+ UInt32(index))
    }
    state = words
    position = 624
  }

  /// The next 32 random bits.
  public mutating func next32() -> UInt32 {
    if position == 624 { refill() }
    var word = state[position]
    position += 1
    word ^= word >> 11
    word ^= word << 7 & 0x9D2C_5680
    word ^= word << 15 & 0xEFC6_0000
    return word ^ word >> 18
  }

  private mutating func refill() {
    for index in 0..<624 {
      let joined = state[index] & 0x8000_0000 | state[(index + 1) % 624] & 0x7FFF_FFFF
      state[index] = state[(index + 397) % 624] ^ joined >> 1 ^ (joined & 1 == 0 ? 0 : 0x9908_B0DF)
    }
    position = 0
  }

  /// The permutation that `torch.randperm(count)` returns, for counts below 2^32 / 20.
  public mutating func permutation(_ count: Int) -> [Int] {
    var order = Array(0..<max(0, count))
    for index in order.indices.dropLast() {
      order.swapAt(index, index + Int(next32()) % (count - index))
    }
    return order
  }
}
