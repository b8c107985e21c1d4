/// The tokens of one word while they merge, with how many bytes of the word each takes.
struct Symbols: Sendable {
  private(set) var ids: [Int32] = []
  /// Bytes of the word, including bytes dropped before the token.
  private(set) var lengths: [Int32] = []
  private var skipped: Int32 = 0

  // What the merges need beside: ranks and results of the merge of each symbol with its right neighbour.
  private var ranks: [UInt32] = []
  private var results: [Int32] = []
  private var previous: [Int32] = []
  private var next: [Int32] = []
  private var queue = MergeQueue()

  /// Words of more symbols than this merge by a queue, as looking through all for the best merge is quadratic.
  private static let longestScanned = 80

  var count: Int { ids.count }
  var lastID: Int32? { ids.last }

  mutating func removeAll() {
    // A very long word must not pin its memory for good.
    let keeps = ids.capacity < 1 << 20
    ids.removeAll(keepingCapacity: keeps)
    lengths.removeAll(keepingCapacity: keeps)
    skipped = 0
  }

  @inline(__always)
  mutating func append(_ id: Int32, length: Int) {
    ids.append(id)
    lengths.append(Int32(truncatingIfNeeded: length) &+ skipped)
    skipped = 0
  }

  /// Passes over bytes that no token stands for.
  mutating func skip(_ length: Int) { skipped &+= Int32(truncatingIfNeeded: length) }

  mutating func lengthenLast(by length: Int) { lengths[lengths.count - 1] &+= Int32(truncatingIfNeeded: length) }

  /// Merges neighbours until no pair in `merges` is left.
  mutating func merge(by merges: PairTable) {
    if ids.count < 2 { return }
    if ids.count <= Self.longestScanned { mergeByScanning(merges) } else { mergeByQueue(merges) }
  }

  private mutating func mergeByScanning(_ merges: PairTable) {
    var count = ids.count
    ranks.removeAll(keepingCapacity: true)
    results.removeAll(keepingCapacity: true)
    for index in 0..<count - 1 {
      let (rank, id) = merges.merge(ids[index], ids[index + 1])
      ranks.append(rank)
      results.append(id)
    }
    while count > 1 {
      var best = 0
      var lowest = PairTable.never
      for index in 0..<count - 1 where ranks[index] < lowest {
        lowest = ranks[index]
        best = index
      }
      if lowest == PairTable.never { break }
      ids[best] = results[best]
      lengths[best] &+= lengths[best + 1]
      count -= 1
      var index = best + 1
      while index < count {
        ids[index] = ids[index + 1]
        lengths[index] = lengths[index + 1]
        if index < count - 1 {
          ranks[index] = ranks[index + 1]
          results[index] = results[index + 1]
        }
        index += 1
      }
      if best > 0 { (ranks[best - 1], results[best - 1]) = merges.merge(ids[best - 1], ids[best]) }
      if best < count - 1 { (ranks[best], results[best]) = merges.merge(ids[best], ids[best + 1]) }
    }
    ids.removeLast(ids.count - count)
    lengths.removeLast(lengths.count - count)
  }

  private mutating func mergeByQueue(_ merges: PairTable) {
    let count = ids.count
    previous = (0..<count).map { Int32(truncatingIfNeeded: $0 - 1) }
    next = (0..<count).map { Int32(truncatingIfNeeded: $0 + 1) }
    queue.removeAll()
    for index in 0..<count - 1 {
      let rank = merges.merge(ids[index], ids[index + 1]).rank
      if rank != PairTable.never { queue.append(rank: rank, position: index) }
    }
    queue.order()
    while let (rank, position) = queue.popLowest() {
      let right = Int(next[position])
      // A token that was merged into its left neighbour has length 0; others may have changed since they queued.
      guard lengths[position] > 0, right < count else { continue }
      let (current, id) = merges.merge(ids[position], ids[right])
      guard current == rank else { continue }
      ids[position] = id
      lengths[position] &+= lengths[right]
      lengths[right] = 0
      let after = Int(next[right])
      next[position] = Int32(truncatingIfNeeded: after)
      if after < count {
        previous[after] = Int32(truncatingIfNeeded: position)
        let rank = merges.merge(id, ids[after]).rank
        if rank != PairTable.never { queue.push(rank: rank, position: position) }
      }
      let before = Int(previous[position])
      if before >= 0 {
        let rank = merges.merge(ids[before], id).rank
        if rank != PairTable.never { queue.push(rank: rank, position: before) }
      }
    }
    var kept = 0
    for index in 0..<count where lengths[index] > 0 {
      ids[kept] = ids[index]
      lengths[kept] = lengths[index]
      kept += 1
    }
    ids.removeLast(count - kept)
    lengths.removeLast(count - kept)
    if count > 1 << 16 {
      previous = []
      next = []
      queue = MergeQueue()
    }
  }
}

/// A binary heap of merges that may be due, the lowest rank first, of equal ranks the leftmost.
struct MergeQueue: Sendable {
  private var heap: [UInt64] = []

  mutating func removeAll() { heap.removeAll(keepingCapacity: true) }

  @inline(__always)
  private static func key(_ rank: UInt32, _ position: Int) -> UInt64 {
    UInt64(rank) << 32 | UInt64(UInt32(truncatingIfNeeded: position))
  }

  /// Adds without keeping the order of the heap; `order()` restores it.
  mutating func append(rank: UInt32, position: Int) { heap.append(Self.key(rank, position)) }

  mutating func order() {
    var index = heap.count / 2
    while index > 0 {
      index -= 1
      sink(index)
    }
  }

  mutating func push(rank: UInt32, position: Int) {
    let key = Self.key(rank, position)
    heap.append(key)
    var index = heap.count - 1
    while index > 0 {
      let parent = (index - 1) / 2
      if heap[parent] <= key { break }
      heap[index] = heap[parent]
      index = parent
    }
    heap[index] = key
  }

  mutating func popLowest() -> (rank: UInt32, position: Int)? {
    guard let lowest = heap.first, let last = heap.popLast() else { return nil }
    if !heap.isEmpty {
      heap[0] = last
      sink(0)
    }
    return (UInt32(lowest >> 32), Int(lowest & 0xFFFF_FFFF))
  }

  private mutating func sink(_ start: Int) {
    let key = heap[start]
    var index = start
    while true {
      var child = 2 * index + 1
      if child >= heap.count { break }
      if child + 1 < heap.count, heap[child + 1] < heap[child] { child += 1 }
      if heap[child] >= key { break }
      heap[index] = heap[child]
      index = child
    }
    heap[index] = key
  }
}
