import Datasets

/// The signatures of many rows, and the pairs among them that are probably similar.
struct SignatureIndex: Sendable {
  /// Three bins each: sets with similarity 0.7 share a band with probability 0.9998, with 0.2 in 16% of cases.
  private static let bandSize = 3
  private static let bandCount = MinHash.binCount / bandSize

  /// The bins of all signatures, one after the other.
  private var bins: [UInt32] = []
  /// The number of each signature's row, ascending.
  private(set) var numbers: [Int] = []

  mutating func append(_ signature: MinHash, number: Int) {
    bins += signature.bins
    numbers.append(number)
  }

  /// The share of equal bins of two signatures, which estimates the similarity of their sets.
  func estimate(_ a: Int, _ b: Int) -> Double {
    let (first, second) = (a * MinHash.binCount, b * MinHash.binCount)
    var equal = 0
    for bin in 0..<MinHash.binCount where bins[first + bin] == bins[second + bin] { equal += 1 }
    return Double(equal) / Double(MinHash.binCount)
  }

  /// The maximum number of rows that a row is compared with in a bucket.
  private static let comparisons = 8

  /// Pairs of positions in `numbers`, the smaller first, that share a band and whose estimate is at least `estimate`.
  ///
  /// In a bucket of many rows each is paired with the first few and with its neighbor, which suffices to connect
  /// groups.
  func candidates(estimate least: Double, isNeeded: @Sendable (Int, Int) -> Bool) -> [(Int, Int)] {
    let lists = Parallel.map(0..<Self.bandCount) { band in pairs(band: band, least, isNeeded) }
    var keys = Set<UInt64>()
    for list in lists { keys.formUnion(list) }
    return keys.sorted().map { (Int($0 >> 32), Int($0 & 0xFFFF_FFFF)) }
  }

  private func pairs(band: Int, _ least: Double, _ isNeeded: (Int, Int) -> Bool) -> [UInt64] {
    // The hash in the upper half, so that sorting brings equal ones together, in the order of rows.
    var entries = [UInt64]()
    entries.reserveCapacity(numbers.count)
    for position in numbers.indices {
      var hash = UInt64(band)
      for bin in 0..<Self.bandSize {
        let value = bins[position * MinHash.binCount + band * Self.bandSize + bin]
        hash = TextUnits.mix(hash &* 0x9E37_79B9_7F4A_7C15 &+ UInt64(value))
      }
      entries.append(hash & 0xFFFF_FFFF_0000_0000 | UInt64(position))
    }
    entries.sort()
    var found: [UInt64] = []
    func consider(_ first: UInt64, _ second: UInt64) {
      let (a, b) = (Int(first & 0xFFFF_FFFF), Int(second & 0xFFFF_FFFF))
      if isNeeded(a, b), estimate(a, b) >= least { found.append(UInt64(a) << 32 | UInt64(b)) }
    }
    var start = 0
    while start < entries.count {
      var end = start + 1
      while end < entries.count, entries[end] >> 32 == entries[start] >> 32 { end += 1 }
      for index in start + 1..<end {
        let leaders = start..<min(index, start + Self.comparisons)
        for other in leaders { consider(entries[other], entries[index]) }
        if index - 1 >= leaders.upperBound { consider(entries[index - 1], entries[index]) }
      }
      start = end
    }
    return found
  }
}

/// Groups of connected numbers.
struct ConnectedGroups {
  private var parents: [Int: Int] = [:]

  /// The smallest number of the group of `number`.
  mutating func root(_ number: Int) -> Int {
    var root = number
    while let parent = parents[root], parent != root { root = parent }
    var current = number
    while let parent = parents[current], parent != root {
      parents[current] = root
      current = parent
    }
    return root
  }

  mutating func connect(_ a: Int, _ b: Int) {
    let (x, y) = (root(a), root(b))
    parents[max(x, y)] = min(x, y)
    parents[min(x, y)] = min(x, y)
  }

  /// The groups of at least two numbers, ascending.
  mutating func groups() -> [[Int]] {
    var members: [Int: [Int]] = [:]
    for number in parents.keys.sorted() { members[root(number), default: []].append(number) }
    return members.values.filter { $0.count > 1 }.sorted { $0[0] < $1[0] }
  }
}
