import Diagnostics
import Datasets
import Foundation

/// Rows to train or evaluate on. Changing them gives other rows and leaves these as they are; nothing is read before it
/// is needed.
///
/// ```swift
/// let (train, test) = try Dataset("sentences.csv")
///   .renamingColumns(["sentence": "prompt", "translation": "completion"])
///   .shuffled(seed: 42)
///   .split(testSize: 0.1, seed: 42)
/// ```
public struct Dataset: Sendable {
  /// The rows.
  public let rows: any RowSource

  /// These rows.
  public init(_ rows: any RowSource) { self.rows = rows }

  /// The rows of a file, or of a folder's files of a split; see `DataFile.open`.
  /// - Throws: `SwiftletError` for what cannot be read.
  public init(_ path: String, split: String = "train") throws(SwiftletError) {
    rows = try DataFile.open(path, split: split)
  }

  /// The number of rows.
  public var count: Int { rows.count }

  /// The rows after a step of those that recipes have.
  /// - Throws: `SwiftletError` where the step does not fit; what is wrong with one row is thrown when it is read.
  public func applying(_ step: RowStep) throws(SwiftletError) -> Dataset { Dataset(try rows.applying(step)) }

  /// The first rows.
  public func first(_ count: Int) throws(SwiftletError) -> Dataset { try applying(.select(0..<max(0, count))) }

  /// The rows in another order: that of `datasets`' `shuffle(seed=...)`.
  public func shuffled(seed: UInt64) throws(SwiftletError) -> Dataset { try applying(.shuffle(seed: seed)) }

  /// The rows with other names for columns, old ones before new ones.
  public func renamingColumns(_ names: KeyValuePairs<String, String>) throws(SwiftletError) -> Dataset {
    try applying(.renameColumns(names.map { RowStep.Renaming($0.key, $0.value) }))
  }

  /// The rows without these columns.
  public func removingColumns(_ names: String...) throws(SwiftletError) -> Dataset {
    try applying(.removeColumns(names))
  }

  /// The rows with a column of text more, made by a pattern in which `{name}` stands for a column, `{a.b}` for a member
  /// of one.
  public func addingText(_ column: String, _ pattern: String) throws(SwiftletError) -> Dataset {
    try applying(.template(column: column, TextPattern(pattern)))
  }

  /// The rows with a column of messages, each of a role and a pattern.
  public func addingMessages(
    _ column: String, _ patterns: KeyValuePairs<String, String>
  ) throws(SwiftletError) -> Dataset {
    var messages: [MessagePattern] = []
    for (role, pattern) in patterns { messages.append(.init(role: role, content: try TextPattern(pattern))) }
    return try applying(.messages(column: column, messages))
  }

  /// Two sets of these rows, the second with this share of them, as `datasets`' `train_test_split` cuts them.
  public func split(testSize: Double, seed: UInt64) throws(SwiftletError) -> (train: Dataset, test: Dataset) {
    func part(_ part: Split.Part) throws(SwiftletError) -> Dataset {
      try applying(.split(Split(testSize: .fraction(testSize), seed: seed, part: part)))
    }
    return (try part(.train), try part(.test))
  }
}
