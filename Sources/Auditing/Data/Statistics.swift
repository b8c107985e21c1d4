import Essentials

/// The center and spread of many values that a few outliers do not affect: median, and median absolute deviation.
struct RobustScale {
  let median: Double
  /// 1.4826 times the median absolute deviation, which is the standard deviation of a normal distribution.
  let deviation: Double

  /// - Parameter least: the deviation if that of the values is smaller.
  /// - Returns: `nil` without values.
  init?(_ values: [Double], least: Double) {
    guard let median = Self.median(values) else { return nil }
    self.median = median
    deviation = max(least, 1.4826 * (Self.median(values.map { abs($0 - median) }) ?? 0))
  }

  /// How many deviations a value is above the median.
  func score(_ value: Double) -> Double { (value - median) / deviation }

  private static func median(_ values: [Double]) -> Double? {
    if values.isEmpty { return nil }
    let sorted = values.sorted()
    let middle = sorted.count / 2
    return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
  }
}

/// How many rows have each of a few values.
struct Shares<Value: RawRepresentable & Hashable> where Value.RawValue == UInt8 {
  private(set) var counts: [Value: Int] = [:]
  private(set) var total = 0

  mutating func add(_ value: Value) {
    counts[value, default: 0] += 1
    total += 1
  }

  /// The share of a value, from 0 to 1.
  subscript(value: Value) -> Double { total == 0 ? 0 : Double(counts[value] ?? 0) / Double(total) }

  /// The most frequent value.
  var mode: Value? {
    counts.max { ($0.value, $1.key.rawValue) < ($1.value, $0.key.rawValue) }?.key
  }

  /// The most frequent value if it has at least this share.
  func dominant(_ least: Double) -> Value? { mode.flatMap { self[$0] >= least ? $0 : nil } }
}
