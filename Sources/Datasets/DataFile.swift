import Diagnostics
import Foundation

/// Opens data sets from files, folders and SQL queries.
public enum DataFile {
  /// The endings of files that can be read; all but `parquet` also followed by `.gz` or `.zst`.
  public static let fileExtensions = ["json", "jsonl", "ndjson", "csv", "tsv", "txt", "parquet"]

  /// The rows of the file or folder at `path`.
  ///
  /// A file is `.json` (an array of objects, an object of columns, or `{"data": [...]}`), `.jsonl` or `.ndjson`, `.csv`,
  /// `.tsv`, `.txt` (a row a line, in column `text`), each also compressed as `.gz` or `.zst`, or `.parquet`, which needs
  /// the DuckDB command line. Of a folder the files of `split` are read, found by their names as `datasets` finds them.
  /// - Parameters:
  ///   - path: a file or a folder.
  ///   - split: `train`, `test`, ...; may name a part in brackets, as `train[:100]` or `train[10%:20%]`, and several
  ///     parts joined by `+`. A single file is the split `train`.
  ///   - files: the files of each split, or patterns for them, relative to the folder; without any they are found by
  ///     their names.
  /// - Throws: `SwiftletError` when a file is missing, of an unknown kind, or broken as a whole, or the program it needs is
  ///   missing. A fault inside one row is thrown when that row is read.
  public static func open(
    _ path: String, split: String = "train", files: [String: [String]] = [:]
  ) throws(SwiftletError) -> any RowSource {
    var parts: [any RowSource] = []
    for part in split.split(separator: "+") {
      let (name, slice) = try SplitSlice.parse(part.trimmingCharacters(in: .whitespaces))
      let rows = try openSplit(name, of: path, files)
      parts.append(slice.map { SelectedRows(rows, Array($0.range(of: rows.count))) } ?? rows)
    }
    guard let first = parts.first else { throw SwiftletError.data("the split is empty; name one, such as train") }
    return parts.count == 1 ? first : ConcatenatedRows(parts)
  }

  private static func openSplit(
    _ name: String, of path: String, _ files: [String: [String]]
  ) throws(SwiftletError) -> any RowSource {
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), isFolder.boolValue else {
      let rows = try openFile(path)
      if name != "train" {
        throw SwiftletError.data(
          "this is one file, and its only split is train, not \(name); name a folder that has the split, or hold rows "
            + "out with test_split_size", at: FileLocation(file: path))
      }
      return rows
    }
    let paths: [String]
    if files.isEmpty {
      paths = try DataFolder.files(of: name, in: path)
    } else if let patterns = files[name] {
      paths = try DataFolder.files(matching: patterns, in: path)
    } else {
      throw DataFolder.missing(name, have: files.keys.sorted(), in: path)
    }
    var parts: [any RowSource] = []
    for path in paths { parts.append(try openFile(path)) }
    return parts.count == 1 ? parts[0] : ConcatenatedRows(parts)
  }

  /// The rows that DuckDB answers an SQL query with, such as `SELECT zh, yue FROM 'pairs.parquet' WHERE n > 3`.
  /// - Parameter folder: where files that the query names by a relative path are sought too.
  /// - Throws: `SwiftletError` when DuckDB is missing or refuses the query.
  public static func query(_ sql: String, folder: String? = nil) throws(SwiftletError) -> any RowSource {
    let statement = sql.trimmingCharacters(in: CharacterSet(charactersIn: "; \n\t\r"))
    return try ExternalProgram.query(statement, source: "the SQL query", folder: folder)
  }

  /// How a file holds its rows.
  struct Format: Sendable, Hashable {
    /// One of `fileExtensions`.
    var kind: String
    /// What it has to be unpacked with first.
    var compression: String?
  }

  /// The format of a file by its name; `nil` for none that can be read.
  static func format(of name: String) -> Format? {
    let url = URL(fileURLWithPath: name)
    let ending = url.pathExtension.lowercased()
    if ending == "gz" || ending == "zst" {
      let kind = url.deletingPathExtension().pathExtension.lowercased()
      return fileExtensions.contains(kind) && kind != "parquet" ? Format(kind: kind, compression: ending) : nil
    }
    return fileExtensions.contains(ending) ? Format(kind: ending) : nil
  }

  private static func openFile(_ path: String) throws(SwiftletError) -> any RowSource {
    guard let format = format(of: path) else {
      throw SwiftletError.data(
        "a data file must end in .\(fileExtensions.joined(separator: ", .")); rename it if it is one of these",
        at: FileLocation(file: path))
    }
    // Opened even if another program reads it, for one way of saying what is wrong with a path.
    var bytes = try FileBytes(path: path)
    if format.kind == "parquet" {
      return try ExternalProgram.query("SELECT * FROM read_parquet('\(ExternalProgram.quoted(path))')", source: path)
    }
    if let compression = format.compression {
      let program = compression == "gz" ? ExternalProgram.gzip : .zstandard
      bytes = try program.bytes(from: path) { _ in ["-dc", "--", path] }
    }
    switch format.kind {
    case "csv": return try CSVRows.open(bytes, separator: UInt8(ascii: ","))
    case "tsv": return try CSVRows.open(bytes, separator: UInt8(ascii: "\t"))
    case "txt": return try TextRows.open(bytes)
    default: return try JSONRows.open(bytes, isLines: format.kind != "json")
    }
  }
}
