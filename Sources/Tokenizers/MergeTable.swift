/// BPE merges by token id: an open-addressing table from a pair of ids to the merge's rank and resulting id.
struct MergeTable: Sendable {
  private struct Slot {
    var pair: UInt64
    var rank: UInt32
    var id: Int32
  }

  /// The rank of a pair that does not merge.
  static let noMerge = UInt32.max
  private static let free = UInt64.max

  private var slots: [Slot]
  private var mask: Int

  /// An empty table for up to `capacity` pairs.
  init(capacity: Int) {
    var size = 16
    while size < capacity * 2 { size *= 2 }
    slots = Array(repeating: Slot(pair: Self.free, rank: Self.noMerge, id: -1), count: size)
    mask = size - 1
  }

  @inline(__always)
  private static func key(_ left: Int32, _ right: Int32) -> UInt64 {
    UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
  }

  /// The slot that holds `key`, or the free slot where it belongs.
  @inline(__always)
  private func slot(of key: UInt64) -> Int {
    var slot = Int(truncatingIfNeeded: mixed(key)) & mask
    while slots[slot].pair != key, slots[slot].pair != Self.free { slot = (slot &+ 1) & mask }
    return slot
  }

  /// The pairs in rank order.
  var pairs: [(left: Int32, right: Int32, id: Int32)] {
    slots.filter { $0.pair != Self.free }.sorted { ($0.rank, $0.pair) < ($1.rank, $1.pair) }.map {
      (Int32(bitPattern: UInt32($0.pair >> 32)), Int32(bitPattern: UInt32(truncatingIfNeeded: $0.pair)), $0.id)
    }
  }

  /// Sets or replaces the merge of a pair. The table must not exceed its capacity.
  mutating func set(_ left: Int32, _ right: Int32, rank: UInt32, id: Int32) {
    let key = Self.key(left, right)
    slots[slot(of: key)] = Slot(pair: key, rank: rank, id: id)
  }

  /// The rank and resulting id of a pair. Lower ranks merge first; the rank is `noMerge` if the pair does not merge.
  @inline(__always)
  func merge(_ left: Int32, _ right: Int32) -> (rank: UInt32, id: Int32) {
    let found = slots[slot(of: Self.key(left, right))]
    return (found.rank, found.id)
  }
}
