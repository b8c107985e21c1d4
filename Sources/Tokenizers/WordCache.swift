/// A cache of the tokens of short words, most of which recur in a text.
///
/// A key is the word itself, packed with its length into 128 bits, so different words never collide.
struct WordCache: Sendable {
  /// The longest word to cache, in bytes.
  static let maxWordLength = 15
  private static let slotCount = 1 << 15
  private static let maxIDCount = 1 << 20

  /// A word of at most `maxWordLength` bytes.
  struct Key: Equatable, Sendable {
    var low: UInt64
    var high: UInt64

    @inline(__always)
    init(_ bytes: [UInt8], _ range: Range<Int>) {
      low = 0
      high = UInt64(range.count) << 56
      var shift: UInt64 = 0
      var index = range.lowerBound
      let middle = min(range.upperBound, range.lowerBound &+ 8)
      while index < middle {
        low |= UInt64(bytes[index]) &<< shift
        shift &+= 8
        index &+= 1
      }
      shift = 0
      while index < range.upperBound {
        high |= UInt64(bytes[index]) &<< shift
        shift &+= 8
        index &+= 1
      }
    }

    @inline(__always)
    var slot: Int {
      Int(truncatingIfNeeded: mixed(low ^ high &* 0x9E37_79B9_7F4A_7C15) & UInt64(WordCache.slotCount - 1))
    }
  }

  private struct Slot {
    var low: UInt64 = 0
    var high: UInt64 = 0
    /// The token if there is exactly one, otherwise the start of the tokens in `ids`.
    var value: Int32 = 0
    var count: Int32 = 0
  }

  private var slots: [Slot] = []
  private var ids: [Int32] = []

  /// Appends the tokens of `key` to `output`. Returns `false` if it is not cached.
  @inline(__always)
  func append(_ key: Key, to output: inout [Int32]) -> Bool {
    if slots.isEmpty { return false }
    let slot = slots[key.slot]
    guard slot.low == key.low, slot.high == key.high else { return false }
    if slot.count == 1 {
      output.append(slot.value)
    } else {
      let start = Int(slot.value)
      for index in start..<start &+ Int(slot.count) { output.append(ids[index]) }
    }
    return true
  }

  /// Caches the tokens of `key`, evicting any other word in its slot.
  mutating func insert(_ key: Key, _ tokens: [Int32]) {
    if slots.isEmpty || ids.count > Self.maxIDCount {
      slots = Array(repeating: Slot(), count: Self.slotCount)
      ids.removeAll(keepingCapacity: true)
    }
    var slot = Slot(low: key.low, high: key.high, value: 0, count: Int32(truncatingIfNeeded: tokens.count))
    if tokens.count == 1 {
      slot.value = tokens[0]
    } else {
      slot.value = Int32(truncatingIfNeeded: ids.count)
      ids.append(contentsOf: tokens)
    }
    slots[key.slot] = slot
  }
}
