import ChatTemplates
import Datasets
import Diagnostics
import Essentials
import OrderedJSON
import Recipes
import Synchronization

/// Rows to train or evaluate on. Operations such as `map` and `filter` return another dataset and read nothing yet: the
/// rows are read on the model's thread when training needs them, and mistakes in them are reported then.
///
/// ```swift
/// let (train, test) = try await Dataset(hub: "dvgodoy/yoda_sentences")
///   .map { [.user($0["sentence"]), .assistant($0["translation_extra"])] }
///   .shuffled(seed: 42)
///   .split(testSize: 0.1, seed: 42)
/// ```
public struct Dataset: Sendable {
  /// The path or `org/name` that the rows come from; `nil` for rows in memory.
  public let name: String?
  private let source: LazyRows

  /// Opens the rows on first use.
  private final class LazyRows: Sendable {
    private let opened = Mutex<(any RowSource)?>(nil)
    private let open: @Sendable () throws(SwiftletError) -> any RowSource

    init(_ open: @escaping @Sendable () throws(SwiftletError) -> any RowSource) { self.open = open }

    func rows() throws(SwiftletError) -> any RowSource {
      if let rows = opened.withLock({ $0 }) { return rows }
      let rows = try open()
      opened.withLock { $0 = rows }
      return rows
    }
  }

  private init(name: String?, _ open: @escaping @Sendable () throws(SwiftletError) -> any RowSource) {
    self.name = name
    source = LazyRows(open)
  }

  private func changed(
    _ change: @escaping @Sendable (any RowSource) throws(SwiftletError) -> any RowSource
  ) -> Dataset {
    let source = source
    return Dataset(name: name) { () throws(SwiftletError) in try change(source.rows()) }
  }

  /// The rows, read as far as needed. Blocks.
  package func resolve() throws(SwiftletError) -> any RowSource { try source.rows() }

  // MARK: Sources

  /// The rows of a file (JSON, JSON Lines, CSV, Parquet or text), or of a split in a folder of files.
  /// - Parameters:
  ///   - path: the file or folder.
  ///   - split: the split, or part of one, as in `train[:80%]`.
  ///   - configuration: the configuration (subset) of a folder, as its `README.md` describes it.
  public init(_ path: String, split: String = "train", configuration: String? = nil) {
    self.init(name: path) { () throws(SwiftletError) in
      try RecipeRows.open(DatasetSource(path: path, name: configuration, split: split))
    }
  }

  /// The rows of a dataset on the Hugging Face Hub, downloaded into the shared cache unless it is there already.
  /// - Parameters:
  ///   - name: `org/name`.
  ///   - configuration: the configuration (subset).
  ///   - split: the split, or part of one, as in `train[:80%]`.
  /// - Throws: `SwiftletError` if the download fails.
  public init(hub name: String, configuration: String? = nil, split: String = "train") async throws {
    try await self.init(
      hub: name, configuration: configuration, split: split, environment: ProcessInfo.processInfo.environment)
  }

  /// - Parameter environment: has the variables that set the hub's address and cache.
  package init(
    hub name: String, configuration: String? = nil, split: String = "train", environment: [String: String]
  ) async throws {
    let path = try await DatasetLocation.find(name, environment: environment)
    self.init(name: name) { () throws(SwiftletError) in
      try RecipeRows.open(DatasetSource(path: path, name: configuration, split: split))
    }
  }

  /// Rows in memory, each a dictionary from column to value.
  ///
  /// ```swift
  /// let data = Dataset([["prompt": "2 + 2 = ", "completion": "4"], ["prompt": "3 + 3 = ", "completion": "6"]])
  /// ```
  public init(_ rows: [[String: JSONValue]]) {
    let rows = rows.map { row in JSONObject(row.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }) }
    self.init(name: nil) { () throws(SwiftletError) in InMemoryRows(rows) }
  }

  /// Rows in memory, made of Swift values: each property is a column.
  /// - Throws: an encoding error, or `SwiftletError` if a value does not encode as an object.
  public init(encoding values: some Sequence<some Encodable>) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    var rows: [Row] = []
    for value in values {
      guard let row = try JSONValue(parsing: encoder.encode(value)).object else {
        throw SwiftletError.data("a row must have named properties (got \(type(of: value)))")
      }
      rows.append(row)
    }
    let encoded = rows
    self.init(name: nil) { () throws(SwiftletError) in InMemoryRows(encoded) }
  }

  /// Conversations in memory, one per row.
  public init(conversations: [[Message]]) {
    let rows = conversations.map { JSONObject([("messages", .array($0.map(\.json)))]) }
    self.init(name: nil) { () throws(SwiftletError) in InMemoryRows(rows) }
  }

  // MARK: Changing rows

  /// Turns each row into a conversation, which becomes the column `messages`.
  public func map(_ transform: @escaping @Sendable (DatasetRow) throws -> [Message]) -> Dataset {
    mapRows { JSONObject([("messages", .array(try transform($0).map(\.json)))]) }
  }

  /// Turns each row into text, which becomes the column `text`.
  public func map(_ transform: @escaping @Sendable (DatasetRow) throws -> String) -> Dataset {
    mapRows { JSONObject([("text", .string(try transform($0)))]) }
  }

  /// Turns each row into another, given as a dictionary from column to value.
  public func map(_ transform: @escaping @Sendable (DatasetRow) throws -> [String: JSONValue]) -> Dataset {
    mapRows { row in JSONObject(try transform(row).sorted { $0.key < $1.key }.map { ($0.key, $0.value) }) }
  }

  private func mapRows(_ transform: @escaping @Sendable (DatasetRow) throws -> JSONObject) -> Dataset {
    changed { (rows) throws(SwiftletError) in
      MappedRows(rows) { (row) throws(SwiftletError) in try DatasetRow.reading(row, transform) }
    }
  }

  /// Keeps the rows for which a condition holds.
  public func filter(_ isIncluded: @escaping @Sendable (DatasetRow) throws -> Bool) -> Dataset {
    changed { (rows) throws(SwiftletError) in
      var kept: [Int] = []
      for index in 0..<rows.count {
        let row = try rows.row(at: index)
        do throws(SwiftletError) {
          if try DatasetRow.reading(row, isIncluded) { kept.append(index) }
        } catch {
          throw error.located(at: rows.location(of: index))
        }
      }
      return SelectedRows(rows, kept)
    }
  }

  /// Applies one of the steps that recipes have, such as a template.
  public func applying(_ step: RowStep) -> Dataset {
    changed { (rows) throws(SwiftletError) in try rows.applying(step) }
  }

  /// The first rows, or all if there are fewer.
  public func prefix(_ count: Int) -> Dataset { applying(.select(0..<max(0, count))) }

  /// The rows in the order of `datasets`' `shuffle(seed:)`.
  public func shuffled(seed: UInt64) -> Dataset { applying(.shuffle(seed: seed)) }

  /// The rows with other column names, as pairs of old and new.
  public func renamingColumns(_ names: KeyValuePairs<String, String>) -> Dataset {
    applying(.renameColumns(names.map { RowStep.Renaming($0.key, $0.value) }))
  }

  /// The rows without these columns.
  public func removingColumns(_ names: String...) -> Dataset { applying(.removeColumns(names)) }

  /// These rows, then those of another dataset.
  public func concatenated(with other: Dataset) -> Dataset {
    let (first, second) = (source, other.source)
    return Dataset(name: name == other.name ? name : nil) { () throws(SwiftletError) in
      ConcatenatedRows([try first.rows(), try second.rows()])
    }
  }

  /// Splits the rows at random, as `datasets`' `train_test_split` does.
  /// - Parameters:
  ///   - testSize: the share of the rows in the second dataset.
  ///   - seed: the seed of the split.
  public func split(testSize: Double, seed: UInt64) -> (train: Dataset, test: Dataset) {
    func part(_ part: Split.Part) -> Dataset {
      applying(.split(Split(testSize: .fraction(testSize), seed: seed, part: part)))
    }
    return (part(.train), part(.test))
  }

  // MARK: Reading

  /// The number of rows.
  /// - Throws: `SwiftletError` if the rows cannot be read.
  public var count: Int {
    get async throws { try await BlockingWork.run { [source] in try source.rows().count } }
  }

  /// Reads the first rows.
  /// - Throws: `SwiftletError` if one of them cannot be read.
  public func rows(_ count: Int = .max) async throws -> [Row] {
    try await BlockingWork.run { [source] in
      let rows = try source.rows()
      return try rows.rows(0..<min(count, rows.count))
    }
  }
}

/// A row that is being mapped or filtered.
public struct DatasetRow {
  /// The row as a JSON object, with its columns in order.
  public let json: Row
  private let failure: Failure

  /// A missing column is reported after the closure that asked for it.
  private final class Failure { var error: SwiftletError? }

  /// The text in a column, or in a member of one, as in `translation.en`. Numbers become text. A row without the column
  /// fails with an error that names it.
  public subscript(column: String) -> String {
    guard let value = value(of: column) else {
      if failure.error == nil {
        failure.error = SwiftletError.data(
          "there is no column \"\(column)\"; the columns are \(json.keys.joined(separator: ", "))")
      }
      return ""
    }
    return value.string ?? value.text()
  }

  /// The value in a column, or in a member of one; `nil` if there is none or it is null.
  public func value(of column: String) -> JSONValue? {
    if let value = json[column] { return value.isNull ? nil : value }
    var value: JSONValue? = .object(json)
    for part in column.split(separator: ".", omittingEmptySubsequences: false) { value = value?[String(part)] }
    return value?.isNull == true ? nil : value
  }

  static func reading<Value>(
    _ row: Row, _ body: (DatasetRow) throws -> Value
  ) throws(SwiftletError) -> Value {
    let failure = Failure()
    do {
      let value = try body(DatasetRow(json: row, failure: failure))
      if let error = failure.error { throw error }
      return value
    } catch let error as SwiftletError {
      throw error
    } catch {
      throw SwiftletError.data("\(error)")
    }
  }
}
