/// An array of byte strings in contiguous storage.
struct ByteStrings: Sendable {
  private(set) var bytes: [UInt8] = []
  private var ends: [UInt32] = []

  var count: Int { ends.count }

  mutating func reserve(count: Int, bytes size: Int) {
    ends.reserveCapacity(count)
    bytes.reserveCapacity(size)
  }

  mutating func append(_ string: some Sequence<UInt8>) {
    bytes.append(contentsOf: string)
    ends.append(UInt32(truncatingIfNeeded: bytes.count))
  }

  /// The range of string `index` in `bytes`.
  @inline(__always)
  func range(_ index: Int) -> Range<Int> {
    Int(index == 0 ? 0 : ends[index - 1])..<Int(ends[index])
  }

  subscript(index: Int) -> ArraySlice<UInt8> { bytes[range(index)] }

  func text(_ index: Int) -> String { String(decoding: self[index], as: UTF8.self) }
}

/// A hash index from byte strings to their indices. (`String` keys would merge canonically equivalent tokens.)
///
/// An open-addressing table of indices into `strings`. Among equal strings, the last one is found.
struct ByteStringIndex: Sendable {
  private var slots: [Int32]
  private let mask: Int

  /// An index of the strings that `isIncluded` accepts.
  init(_ strings: ByteStrings, where isIncluded: (Int) -> Bool = { _ in true }) {
    var capacity = 16
    while capacity < strings.count * 2 { capacity *= 2 }
    mask = capacity - 1
    slots = [Int32](repeating: -1, count: capacity)
    for index in 0..<strings.count where isIncluded(index) {
      let range = strings.range(index)
      var slot = Self.hash(strings.bytes, range) & mask
      while slots[slot] >= 0, !Self.equal(strings, Int(slots[slot]), strings.bytes, range) { slot = (slot + 1) & mask }
      slots[slot] = Int32(truncatingIfNeeded: index)
    }
  }

  /// The index of the string equal to `bytes[range]`, or `nil`.
  func index(of bytes: [UInt8], _ range: Range<Int>, in strings: ByteStrings) -> Int? {
    var slot = Self.hash(bytes, range) & mask
    while true {
      let index = Int(slots[slot])
      if index < 0 { return nil }
      if Self.equal(strings, index, bytes, range) { return index }
      slot = (slot + 1) & mask
    }
  }

  /// The index of the string `key`, or `nil`.
  func index(of key: [UInt8], in strings: ByteStrings) -> Int? { index(of: key, 0..<key.count, in: strings) }

  private static func equal(_ strings: ByteStrings, _ index: Int, _ bytes: [UInt8], _ range: Range<Int>) -> Bool {
    let own = strings.range(index)
    guard own.count == range.count else { return false }
    for offset in 0..<range.count
    where strings.bytes[own.lowerBound &+ offset] != bytes[range.lowerBound &+ offset] { return false }
    return true
  }

  private static func hash(_ bytes: [UInt8], _ range: Range<Int>) -> Int {
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    for index in range { hash = (hash ^ UInt64(bytes[index])) &* 0x100_0000_01B3 }
    return Int(truncatingIfNeeded: mixed(hash))
  }
}

/// Mixes the bits of `number` (part of MurmurHash3's finalizer) for a table indexed by the low bits.
@inline(__always)
func mixed(_ number: UInt64) -> UInt64 {
  var hash = number
  hash = (hash ^ hash >> 33) &* 0xFF51_AFD7_ED55_8CCD
  return hash ^ hash >> 33
}
