/// The tokens of one word during BPE, with the number of bytes that each covers.
struct Symbols: Sendable {
  private(set) var ids: [Int32] = []
  /// The bytes that each token covers, including bytes skipped before it.
  private(set) var lengths: [Int32] = []
  private var skipped: Int32 = 0

  // Scratch space: the rank and result of merging each symbol with its right neighbor, and links between symbols.
  private var ranks: [UInt32] = []
  private var results: [Int32] = []
  private var previous: [Int32] = []
  private var next: [Int32] = []
  private var queue = MergeQueue()

  /// Longer words use a priority queue, because scanning for the best merge takes quadratic time.
  private static let maxScannedCount = 80

  var count: Int { ids.count }
  var lastID: Int32? { ids.last }

  mutating func removeAll() {
    // Releases the memory of a very long word.
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

  /// Skips bytes that no token covers. They count toward the next token.
  mutating func skip(_ length: Int) { skipped &+= Int32(truncatingIfNeeded: length) }

  mutating func lengthenLast(by length: Int) { lengths[lengths.count - 1] &+= Int32(truncatingIfNeeded: length) }

  /// Merges adjacent tokens until no pair in `merges` remains.
  mutating func merge(with merges: MergeTable) {
    if ids.count < 2 { return }
    if ids.count <= Self.maxScannedCount { mergeByScanning(merges) } else { mergeByQueue(merges) }
  }

  private mutating func mergeByScanning(_ merges: MergeTable) {
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
      var lowest = MergeTable.noMerge
      for index in 0..<count - 1 where ranks[index] < lowest {
        lowest = ranks[index]
        best = index
      }
      if lowest == MergeTable.noMerge { break }
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

  private mutating func mergeByQueue(_ merges: MergeTable) {
    let count = ids.count
    previous = (0..<count).map { Int32(truncatingIfNeeded: $0 - 1) }
    next = (0..<count).map { Int32(truncatingIfNeeded: $0 + 1) }
    queue.removeAll()
    for index in 0..<count - 1 {
      let rank = merges.merge(ids[index], ids[index + 1]).rank
      if rank != MergeTable.noMerge { queue.append(rank: rank, position: index) }
    }
    queue.order()
    while let (rank, position) = queue.popLowest() {
      let right = Int(next[position])
      // A token merged into its left neighbor has length 0; others may have changed since they were queued.
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
        if rank != MergeTable.noMerge { queue.push(rank: rank, position: position) }
      }
      let before = Int(previous[position])
      if before >= 0 {
        let rank = merges.merge(ids[before], id).rank
        if rank != MergeTable.noMerge { queue.push(rank: rank, position: before) }
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

/// A binary heap of candidate merges, ordered by rank and then by position.
struct MergeQueue: Sendable {
  private var heap: [UInt64] = []

  mutating func removeAll() { heap.removeAll(keepingCapacity: true) }

  @inline(__always)
  private static func key(_ rank: UInt32, _ position: Int) -> UInt64 {
    UInt64(rank) << 32 | UInt64(UInt32(truncatingIfNeeded: position))
  }

  /// Adds an entry without restoring the heap order; call `order()` afterwards.
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
