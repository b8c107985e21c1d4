import Diagnostics

/// A split into training and test rows, as `Dataset.train_test_split` of `datasets` makes it.
public struct Split: Sendable, Hashable, Codable {
  /// The size of the test part, absolute or relative.
  public enum Size: Sendable, Hashable, Codable {
    /// An absolute number of rows.
    case rows(Int)
    /// A fraction of all rows, between 0 and 1.
    case fraction(Double)
  }
  /// One of the two parts.
  public enum Part: String, Sendable, CaseIterable, Codable {
    /// The rows that are left for training, and the `testSize` rows set aside.
    case train, test
  }

  /// The size of the test part.
  public var testSize: Size
  /// The seed of the permutation; `nil` to keep the order, with the test rows at the end.
  public var seed: UInt64?
  /// The part that the step keeps.
  public var part: Part

  /// Creates a split; equal sizes and seeds give parts that complement each other.
  public init(testSize: Size, seed: UInt64?, part: Part) {
    self.testSize = testSize
    self.seed = seed
    self.part = part
  }

  /// The row indices of both parts for a dataset of `count` rows.
  /// - Throws: `SwiftletError` when a part would be empty.
  public func indices(count: Int) throws(SwiftletError) -> (train: [Int], test: [Int]) {
    let tests: Int
    switch testSize {
    case .rows(let rows): tests = rows
    case .fraction(let fraction):
      guard fraction > 0, fraction < 1 else {
        throw SwiftletError.data("test_size must be between 0 and 1 (got \(fraction))")
      }
      tests = Int((fraction * Double(count)).rounded(.up))
    }
    guard tests > 0, tests < count else {
      throw SwiftletError.data(
        "a split of \(count) rows with test_size \(tests) leaves one part empty; choose another size")
    }
    guard let seed else { return (Array(0..<count - tests), Array(count - tests..<count)) }
    var random = NumPyRandom(seed: seed)
    let order = random.permutation(count)
    return (Array(order[tests...]), Array(order[..<tests]))
  }

  func part(of rows: any RowSource) throws(SwiftletError) -> SelectedRows {
    let indices = try indices(count: rows.count)
    return SelectedRows(rows, part == .train ? indices.train : indices.test)
  }
}
