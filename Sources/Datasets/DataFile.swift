import Diagnostics
import Essentials

/// Opens datasets from files, folders and SQL queries.
public enum DataFile {
  /// The file extensions that can be read. All but `parquet` can be followed by `.gz` or `.zst`.
  public static let fileExtensions = ["json", "jsonl", "ndjson", "csv", "tsv", "txt", "parquet"]

  /// Opens a file or folder.
  ///
  /// Files are `.json` (an array of objects, an object of columns, or `{"data": [...]}`), `.jsonl` or `.ndjson`,
  /// `.csv`, `.tsv` and `.txt` (one row per line, with the column `text`), all of them also compressed as `.gz` or
  /// `.zst`; and `.parquet`, which needs the DuckDB command line. The files of a split in a folder are found by their
  /// names, as `datasets` finds them.
  /// - Parameters:
  ///   - path: a file or a folder.
  ///   - split: `train`, `test`, ..., with an optional slice such as `train[:100]` or `train[10%:20%]`; `+`
  ///     concatenates several. A single file has only the split `train`.
  ///   - files: the files of each split, or patterns for them, relative to the folder. By default they are found by
  ///     name.
  /// - Throws: `SwiftletError` if a file is missing, of an unknown type or damaged as a whole, or a program it needs is
  ///   missing. Errors in single rows are thrown when they are read.
  public static func open(
    _ path: String, split: String = "train", files: [String: [String]] = [:]
  ) throws(SwiftletError) -> any RowSource {
    var parts: [any RowSource] = []
    for part in split.split(separator: "+") {
      let (name, slice) = try SplitSlice.parse(part.trimmed)
      let rows = try openSplit(name, of: path, files)
      parts.append(slice.map { SelectedRows(rows, Array($0.range(of: rows.count))) } ?? rows)
    }
    guard let first = parts.first else { throw SwiftletError.data("the split is empty; use a name such as train") }
    return parts.count == 1 ? first : ConcatenatedRows(parts)
  }

  private static func openSplit(
    _ name: String, of path: String, _ files: [String: [String]]
  ) throws(SwiftletError) -> any RowSource {
    guard FileManager.default.isFolder(path) else {
      let rows = try openFile(path)
      if name != "train" {
        throw SwiftletError.data(
          "this is a single file, which has only the split train, not \(name.quotedExcerpt); use a folder that has the "
            + "split, or split off rows with test_split_size", at: FileLocation(file: path))
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

  /// The result of an SQL query that DuckDB executes, such as `SELECT zh, yue FROM 'pairs.parquet' WHERE n > 3`.
  /// - Parameter folder: another folder in which relative paths of the query are looked up.
  /// - Throws: `SwiftletError` if DuckDB is missing or rejects the query.
  public static func query(_ sql: String, folder: String? = nil) throws(SwiftletError) -> any RowSource {
    let statement = sql.trimmed { $0 == ";" || $0.isWhitespace }
    return try ExternalProgram.query(statement, source: "the SQL query", folder: folder)
  }

  /// The format of a data file.
  struct Format: Sendable, Hashable {
    /// One of `fileExtensions`.
    var kind: String
    /// `gz` or `zst`, if the file is compressed.
    var compression: String?
  }

  /// The format of a file by its name; `nil` if it cannot be read.
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
        "the name of a data file must end in .\(fileExtensions.joined(separator: ", .")); rename the file if it has one of "
          + "these formats",
        at: FileLocation(file: path))
    }
    // Also opened if another program reads it, to report problems with the path in one way.
    var bytes = try FileBytes(path: path)
    if format.kind == "parquet" {
      return try ExternalProgram.query("SELECT * FROM read_parquet('\(ExternalProgram.quoted(path))')", source: path)
    }
    if let compression = format.compression {
      bytes = try Compression(compression).decompressed(bytes)
    }
    switch format.kind {
    case "csv": return try CSVRows.open(bytes, separator: UInt8(ascii: ","))
    case "tsv": return try CSVRows.open(bytes, separator: UInt8(ascii: "\t"))
    case "txt": return try TextRows.open(bytes)
    default: return try JSONRows.open(bytes, isLines: format.kind != "json")
    }
  }
}
