/// A 128-bit fingerprint of what is fed to it: MurmurHash3's x64 variant (Appleby 2011), seed 0.
///
/// Tells changed data from unchanged; it does not withstand someone who wants two data sets to look the same.
package struct ContentHash: Sendable {
  private var first: UInt64 = 0
  private var second: UInt64 = 0
  private var count: UInt64 = 0
  private var tail: [UInt8] = []

  package init() {}

  /// Feeds bytes.
  package mutating func update(_ bytes: some Sequence<UInt8>) {
    for byte in bytes {
      tail.append(byte)
      if tail.count == 16 {
        mix(Self.word(tail[0..<8]), Self.word(tail[8..<16]))
        tail.removeAll(keepingCapacity: true)
      }
      count &+= 1
    }
  }

  /// Feeds a text and its length, so that texts one after the other cannot be taken for others.
  package mutating func update(_ text: String) {
    update("\(text.utf8.count):".utf8)
    update(text.utf8)
  }

  /// The fingerprint of everything fed so far, as 32 hexadecimal digits.
  package var hexadecimal: String {
    var (a, b) = (first, second)
    if !tail.isEmpty {
      b ^= Self.scrambled(Self.word(tail.dropFirst(8)), Self.secondFactor, 33, Self.firstFactor)
      a ^= Self.scrambled(Self.word(tail.prefix(8)), Self.firstFactor, 31, Self.secondFactor)
    }
    a ^= count
    b ^= count
    a &+= b
    b &+= a
    a = Self.finished(a)
    b = Self.finished(b)
    a &+= b
    b &+= a
    return [a, b].map { word in
      let digits = String(word, radix: 16)
      return String(repeating: "0", count: 16 - digits.count) + digits
    }.joined()
  }

  private static let firstFactor: UInt64 = 0x87C3_7B91_1142_53D5
  private static let secondFactor: UInt64 = 0x4CF5_AD43_2745_937F

  private mutating func mix(_ a: UInt64, _ b: UInt64) {
    first ^= Self.scrambled(a, Self.firstFactor, 31, Self.secondFactor)
    first = (Self.rotated(first, 27) &+ second) &* 5 &+ 0x52DC_E729
    second ^= Self.scrambled(b, Self.secondFactor, 33, Self.firstFactor)
    second = (Self.rotated(second, 31) &+ first) &* 5 &+ 0x3849_5AB5
  }

  /// Up to eight bytes, the lowest first.
  private static func word(_ bytes: some Sequence<UInt8>) -> UInt64 {
    var word: UInt64 = 0
    var shift: UInt64 = 0
    for byte in bytes {
      word |= UInt64(byte) << shift
      shift += 8
    }
    return word
  }

  private static func rotated(_ word: UInt64, _ turn: UInt64) -> UInt64 { word << turn | word >> (64 - turn) }

  private static func scrambled(_ word: UInt64, _ factor: UInt64, _ turn: UInt64, _ other: UInt64) -> UInt64 {
    rotated(word &* factor, turn) &* other
  }

  private static func finished(_ word: UInt64) -> UInt64 {
    var word = word
    word ^= word >> 33
    word &*= 0xFF51_AFD7_ED55_8CCD
    word ^= word >> 33
    word &*= 0xC4CE_B9FE_1A85_EC53
    return word ^ word >> 33
  }
}
