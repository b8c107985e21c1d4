import Checkpoints
import Diagnostics
import OrderedJSON

/// One row: column names and values in the order of the file.
public typealias Row = JSONObject

/// Rows with random access from any thread.
///
/// Sources of files hold an index, not the rows: 16 bytes per row for a file of any size. Selecting, shuffling,
/// splitting and concatenating only rearrange indices, and rows are mapped when they are read.
public protocol RowSource: Sendable {
  /// The number of rows. Known without reading them.
  var count: Int { get }

  /// The row at `index`.
  /// - Throws: `SwiftletError` with the row's location if the file has no valid row there or a step fails on it.
  func row(at index: Int) throws(SwiftletError) -> Row

  /// The location of the row at `index`, for messages. May read the file again to count lines.
  func location(of index: Int) -> FileLocation

  /// A fingerprint of all rows for cache keys. The default implementation reads every row.
  /// - Throws: `SwiftletError` if they cannot be read.
  func fingerprint() throws(SwiftletError) -> String

  /// Notes on the data as a whole for reports, such as "the .txt file looks like JSON".
  var notes: [String] { get }
}

extension RowSource {
  /// By default there are no notes.
  public var notes: [String] { [] }

  /// Reads all rows into memory. Meant for small sets.
  /// - Throws: the error of the first row that has one.
  public func allRows() throws(SwiftletError) -> [Row] { try rows(0..<count) }

  /// Reads the rows of a range, clamped to the rows that exist.
  /// - Throws: the error of the first row that has one.
  public func rows(_ range: Range<Int>) throws(SwiftletError) -> [Row] {
    let range = range.clamped(to: 0..<count)
    var rows: [Row] = []
    rows.reserveCapacity(range.count)
    for index in range { rows.append(try row(at: index)) }
    return rows
  }

  /// The column names of the first `sample` rows, in order of first appearance.
  /// - Throws: the error of the first row that has one.
  public func columnNames(sample: Int = 100) throws(SwiftletError) -> [String] {
    var names: [String] = []
    var seen: Set<[UInt8]> = []
    for row in try rows(0..<sample) {
      for member in row.members where seen.insert(Array(member.key.utf8)).inserted { names.append(member.key) }
    }
    return names
  }

  /// A fingerprint of the content of all rows.
  public func fingerprint() throws(SwiftletError) -> String { try contentFingerprint() }

  func contentFingerprint() throws(SwiftletError) -> String {
    let parts = try Parallel.map(rows: 0..<count, chunkSize: 256) { chunk throws(SwiftletError) in
      var hash = ContentHash()
      for index in chunk { hash.update(JSONValue.object(try row(at: index)).text(.compact)) }
      return hash.hexadecimal
    }
    return combined(["rows"] + parts)
  }

  func outOfRange(_ index: Int) -> SwiftletError {
    SwiftletError.data("there is no row \(index + 1); the dataset has \(count) rows")
  }
}

/// Combines several fingerprints into one.
func combined(_ parts: [String]) -> String {
  var hash = ContentHash()
  for part in parts { hash.update(part) }
  return hash.hexadecimal
}

/// Rows that are in memory, such as those made from Swift values.
public struct InMemoryRows: RowSource {
  private let stored: [Row]
  private let file: String?

  /// Creates a source of rows; `file` is the name that error messages give them.
  public init(_ rows: [Row], file: String? = nil) {
    stored = rows
    self.file = file
  }

  /// The number of rows that it was created with.
  public var count: Int { stored.count }

  /// The row at `index`.
  /// - Throws: `SwiftletError` if it is out of range.
  public func row(at index: Int) throws(SwiftletError) -> Row {
    guard stored.indices.contains(index) else { throw outOfRange(index) }
    return stored[index]
  }

  /// The file name given on creation, with the row number.
  public func location(of index: Int) -> FileLocation { FileLocation(file: file, row: index + 1) }
}

/// Some rows of another source, in any order.
public struct SelectedRows: RowSource {
  private let base: any RowSource
  private let indices: [Int]

  /// Creates a source of the rows of `base` at `indices`, which may repeat.
  public init(_ base: any RowSource, _ indices: [Int]) {
    self.base = base
    self.indices = indices
  }

  /// The number of selected rows.
  public var count: Int { indices.count }

  /// The selected row at `index`.
  /// - Throws: `SwiftletError` if it is out of range or cannot be read.
  public func row(at index: Int) throws(SwiftletError) -> Row {
    guard indices.indices.contains(index) else { throw outOfRange(index) }
    return try base.row(at: indices[index])
  }

  /// The location of the row in the base source.
  public func location(of index: Int) -> FileLocation {
    indices.indices.contains(index) ? base.location(of: indices[index]) : FileLocation()
  }

  /// A fingerprint of the indices and the base source.
  public func fingerprint() throws(SwiftletError) -> String {
    var hash = ContentHash()
    hash.update(indices)
    return combined(["selected", hash.hexadecimal, try base.fingerprint()])
  }

  /// The notes of the base source.
  public var notes: [String] { base.notes }
}

/// The rows of another source, each transformed when it is read.
public struct MappedRows: RowSource {
  private let base: any RowSource
  private let identity: String?
  private let transform: @Sendable (Row) throws(SwiftletError) -> Row

  /// Creates a source that transforms the rows of `base`. Errors of `transform` get the row's location.
  /// - Parameter identity: text that identifies `transform` in cache keys. Without it, the fingerprint is computed from
  ///   all transformed rows.
  public init(
    _ base: any RowSource, identity: String? = nil, _ transform: @escaping @Sendable (Row) throws(SwiftletError) -> Row
  ) {
    self.base = base
    self.identity = identity
    self.transform = transform
  }

  /// The number of rows, which is that of the base source.
  public var count: Int { base.count }

  /// The transformed row at `index`.
  /// - Throws: `SwiftletError` if it cannot be read or transformed.
  public func row(at index: Int) throws(SwiftletError) -> Row {
    let row = try base.row(at: index)
    do {
      return try transform(row)
    } catch {
      throw error.located(at: base.location(of: index))
    }
  }

  /// The location of the row in the base source.
  public func location(of index: Int) -> FileLocation { base.location(of: index) }

  /// A fingerprint of the transform's identity and the base source; without an identity, of the transformed rows.
  public func fingerprint() throws(SwiftletError) -> String {
    guard let identity else { return try contentFingerprint() }
    return combined(["mapped", identity, try base.fingerprint()])
  }

  /// The notes of the base source.
  public var notes: [String] { base.notes }
}

/// The rows of several sources, one source after the other.
public struct ConcatenatedRows: RowSource {
  private let parts: [any RowSource]
  private let ends: [Int]

  /// Creates a source of all rows of the first part, then all rows of the second, and so on.
  public init(_ parts: [any RowSource]) {
    self.parts = parts
    var total = 0
    ends = parts.map { part in
      total += part.count
      return total
    }
  }

  /// The number of rows in all parts.
  public var count: Int { ends.last ?? 0 }

  private func locate(_ index: Int) -> (part: any RowSource, index: Int)? {
    guard index >= 0, let part = ends.firstIndex(where: { index < $0 }) else { return nil }
    return (parts[part], part == 0 ? index : index - ends[part - 1])
  }

  /// The row at `index`, counted over all parts.
  /// - Throws: `SwiftletError` if it is out of range or cannot be read.
  public func row(at index: Int) throws(SwiftletError) -> Row {
    guard let place = locate(index) else { throw outOfRange(index) }
    return try place.part.row(at: place.index)
  }

  /// The location of the row in its part.
  public func location(of index: Int) -> FileLocation {
    guard let place = locate(index) else { return FileLocation() }
    return place.part.location(of: place.index)
  }

  /// A fingerprint of all parts.
  public func fingerprint() throws(SwiftletError) -> String {
    var prints = ["concatenated"]
    for part in parts { prints.append(try part.fingerprint()) }
    return combined(prints)
  }

  /// The notes of all parts.
  public var notes: [String] { parts.flatMap(\.notes) }
}
