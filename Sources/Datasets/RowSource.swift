import Diagnostics
import Checkpoints
import OrderedJSON

/// One row: column names and values in the order of the file.
public typealias Row = JSONObject

/// Rows that can be asked for by number, as often as needed, from any thread.
///
/// A source holds an index rather than its rows: a file of any size costs 16 bytes a row, and selecting, shuffling,
/// splitting and joining only move numbers. What a step changes in a row it changes when the row is asked for.
public protocol RowSource: Sendable {
  /// The number of rows.
  var count: Int { get }

  /// The row of number `index`, counted from 0.
  /// - Throws: `SwiftletError` naming the place if the file does not hold a row there or a step cannot be applied.
  func row(at index: Int) throws(SwiftletError) -> Row

  /// Where the row of number `index` came from, for messages. May reread the file to count its lines.
  func location(of index: Int) -> FileLocation

  /// What tells these rows from any others, read from the data themselves. Without an implementation, all rows are read.
  /// - Throws: `SwiftletError` if they cannot be read.
  func fingerprint() throws(SwiftletError) -> String
}

extension RowSource {
  /// All rows, in memory: for small sets and previews.
  /// - Throws: the first row's error.
  public func allRows() throws(SwiftletError) -> [Row] { try rows(0..<count) }

  /// The rows of a range of numbers, cut to those there are.
  /// - Throws: the first row's error.
  public func rows(_ range: Range<Int>) throws(SwiftletError) -> [Row] {
    let range = range.clamped(to: 0..<count)
    var rows: [Row] = []
    rows.reserveCapacity(range.count)
    for index in range { rows.append(try row(at: index)) }
    return rows
  }

  /// The column names of the first `sample` rows, in order of appearance.
  /// - Throws: the first row's error.
  public func columnNames(sample: Int = 100) throws(SwiftletError) -> [String] {
    var seen = Row()
    for row in try rows(0..<sample) {
      for member in row.members { seen[member.key] = .null }
    }
    return seen.keys
  }

  /// What the content of all rows tells from others.
  public func fingerprint() throws(SwiftletError) -> String { try contentFingerprint() }

  fileprivate func contentFingerprint() throws(SwiftletError) -> String {
    let parts = try OrderedWork.map(rows: 0..<count, stretch: 256) { stretch throws(SwiftletError) in
      var hash = ContentHash()
      for index in stretch { hash.update(JSONValue.object(try row(at: index)).text(.compact)) }
      return hash.hexadecimal
    }
    return combined(["rows"] + parts)
  }

  func outOfRange(_ index: Int) -> SwiftletError {
    SwiftletError.data("row number \(index) is asked for, but there are \(count) rows")
  }
}

/// One fingerprint of several texts.
func combined(_ parts: [String]) -> String {
  var hash = ContentHash()
  for part in parts { hash.update(part) }
  return hash.hexadecimal
}

/// Rows held in memory.
public struct InMemoryRows: RowSource {
  private let stored: [Row]
  private let file: String?

  /// These rows; `file` names their origin in messages.
  public init(_ rows: [Row], file: String? = nil) {
    stored = rows
    self.file = file
  }

  /// The number of rows.
  public var count: Int { stored.count }

  /// The row of number `index`; see `RowSource`.
  public func row(at index: Int) throws(SwiftletError) -> Row {
    guard stored.indices.contains(index) else { throw outOfRange(index) }
    return stored[index]
  }

  /// Where the row of number `index` came from.
  public func location(of index: Int) -> FileLocation { FileLocation(file: file, row: index + 1) }
}

/// Some rows of another source, in an order of their own.
public struct SelectedRows: RowSource {
  private let base: any RowSource
  private let indices: [Int]

  /// The rows of `base` with these numbers; numbers may repeat.
  public init(_ base: any RowSource, _ indices: [Int]) {
    self.base = base
    self.indices = indices
  }

  /// The number of rows.
  public var count: Int { indices.count }

  /// The row of number `index`; see `RowSource`.
  public func row(at index: Int) throws(SwiftletError) -> Row {
    guard indices.indices.contains(index) else { throw outOfRange(index) }
    return try base.row(at: indices[index])
  }

  /// Where the row of number `index` came from.
  public func location(of index: Int) -> FileLocation {
    indices.indices.contains(index) ? base.location(of: indices[index]) : FileLocation()
  }

  /// The numbers, and what tells the other source from others.
  public func fingerprint() throws(SwiftletError) -> String {
    var hash = ContentHash()
    hash.update(indices)
    return combined(["selected", hash.hexadecimal, try base.fingerprint()])
  }
}

/// The rows of another source, each changed when it is asked for.
public struct MappedRows: RowSource {
  private let base: any RowSource
  private let identity: String?
  private let change: @Sendable (Row) throws(SwiftletError) -> Row

  /// The rows of `base` as `change` makes them; its errors are given the row's place.
  /// - Parameter identity: what tells `change` from any other change, where something does.
  public init(
    _ base: any RowSource, identity: String? = nil, _ change: @escaping @Sendable (Row) throws(SwiftletError) -> Row
  ) {
    self.base = base
    self.identity = identity
    self.change = change
  }

  /// The number of rows.
  public var count: Int { base.count }

  /// The row of number `index`; see `RowSource`.
  public func row(at index: Int) throws(SwiftletError) -> Row {
    let row = try base.row(at: index)
    do {
      return try change(row)
    } catch {
      throw error.located(at: base.location(of: index))
    }
  }

  /// Where the row of number `index` came from.
  public func location(of index: Int) -> FileLocation { base.location(of: index) }

  /// What tells the change and the other source from others; without an identity of the change, all changed rows.
  public func fingerprint() throws(SwiftletError) -> String {
    guard let identity else { return try contentFingerprint() }
    return combined(["mapped", identity, try base.fingerprint()])
  }
}

/// Several sources end to end.
public struct ConcatenatedRows: RowSource {
  private let parts: [any RowSource]
  private let ends: [Int]

  /// All rows of the first part, then all of the second, and so on.
  public init(_ parts: [any RowSource]) {
    self.parts = parts
    var total = 0
    ends = parts.map { part in
      total += part.count
      return total
    }
  }

  /// The number of rows.
  public var count: Int { ends.last ?? 0 }

  /// The part that holds row `index` and the row's number there.
  private func locate(_ index: Int) -> (part: any RowSource, index: Int)? {
    guard index >= 0, let part = ends.firstIndex(where: { index < $0 }) else { return nil }
    return (parts[part], part == 0 ? index : index - ends[part - 1])
  }

  /// The row of number `index`; see `RowSource`.
  public func row(at index: Int) throws(SwiftletError) -> Row {
    guard let place = locate(index) else { throw outOfRange(index) }
    return try place.part.row(at: place.index)
  }

  /// Where the row of number `index` came from.
  public func location(of index: Int) -> FileLocation {
    guard let place = locate(index) else { return FileLocation() }
    return place.part.location(of: place.index)
  }

  /// What tells all parts from others.
  public func fingerprint() throws(SwiftletError) -> String {
    var prints = ["joined"]
    for part in parts { prints.append(try part.fingerprint()) }
    return combined(prints)
  }
}
