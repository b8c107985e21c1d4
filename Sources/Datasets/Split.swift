import Diagnostics

/// A set cut in two, as `Dataset.train_test_split` of `datasets` does.
public struct Split: Sendable, Hashable {
  /// How many rows.
  public enum Size: Sendable, Hashable {
    /// This many.
    case rows(Int)
    /// This share of all, between 0 and 1.
    case fraction(Double)
  }
  /// Which of the two parts.
  public enum Part: String, Sendable, CaseIterable {
    case train, test
  }

  /// The size of the test part.
  public var testSize: Size
  /// The seed of the permutation, or `nil` to cut in order: the first rows train, the last test.
  public var seed: UInt64?
  /// The part that is asked for.
  public var part: Part

  /// A split of these parts.
  public init(testSize: Size, seed: UInt64?, part: Part) {
    self.testSize = testSize
    self.seed = seed
    self.part = part
  }

  /// The numbers of the rows of both parts, of `count` rows.
  /// - Throws: `SwiftletError` when a part would be empty.
  public func indices(count: Int) throws(SwiftletError) -> (train: [Int], test: [Int]) {
    let tests: Int
    switch testSize {
    case .rows(let rows): tests = rows
    case .fraction(let fraction):
      guard fraction > 0, fraction < 1 else { throw SwiftletError.data("test_size \(fraction) is not between 0 and 1") }
      tests = Int((fraction * Double(count)).rounded(.up))
    }
    guard tests > 0, tests < count else {
      throw SwiftletError.data(
        "a split of \(count) rows with test_size \(tests) leaves a part empty; choose another size")
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
