/// One-permutation MinHash (Li, Owen and Zhang 2012) with optimal densification (Shrivastava 2017): of two sets, the
/// share of equal bins estimates their Jaccard similarity.
struct MinHash: Sendable {
  /// The number of bins; a power of two.
  static let binCount = 64

  /// The minimum hash of each bin.
  let bins: [UInt32]

  /// - Parameter shingles: the set's hashes, well mixed; not empty. Repetitions do not matter.
  init(_ shingles: [UInt64]) {
    var bins = [UInt32](repeating: 0, count: Self.binCount)
    var filled: UInt64 = 0
    for shingle in shingles {
      let bin = Int(shingle >> 58)
      let value = UInt32(truncatingIfNeeded: shingle)
      if filled & (1 << bin) == 0 || value < bins[bin] { bins[bin] = value }
      filled |= 1 << bin
    }
    if filled != 0, filled != .max { Self.densify(&bins, filled) }
    self.bins = bins
  }

  /// Fills each empty bin from one that is chosen by the bin's number alone, so that equal sets choose the same one.
  private static func densify(_ bins: inout [UInt32], _ filled: UInt64) {
    for bin in bins.indices where filled & (1 << bin) == 0 {
      var attempt: UInt64 = 1
      var source = bin
      while filled & (1 << source) == 0 {
        source = Int(TextUnits.mix(UInt64(bin) << 32 | attempt) >> 58)
        attempt += 1
      }
      bins[bin] = bins[source]
    }
  }
}

/// The Jaccard similarity of two sets: the size of the intersection over that of the union.
func jaccardSimilarity(_ a: Set<UInt64>, _ b: Set<UInt64>) -> Double {
  let (small, large) = a.count < b.count ? (a, b) : (b, a)
  let common = small.reduce(0) { $0 + (large.contains($1) ? 1 : 0) }
  return Double(common) / Double(max(1, a.count + b.count - common))
}
