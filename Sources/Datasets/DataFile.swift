import Foundation

/// Opens data sets from files, folders and SQL queries.
public enum DataFile {
  /// The endings of files that can be read; all but `parquet` also followed by `.gz` or `.zst`.
  public static let endings = ["json", "jsonl", "ndjson", "csv", "tsv", "txt", "parquet"]

  /// The rows of the file or folder at `path`.
  ///
  /// A file is `.json` (an array of objects, an object of columns, or `{"data": [...]}`), `.jsonl` or `.ndjson`, `.csv`,
  /// `.tsv`, `.txt` (a row a line, in column `text`), each also compressed as `.gz` or `.zst`, or `.parquet`, which needs
  /// the DuckDB command line. Of a folder the files of `split` are read, found by their names as `datasets` finds them.
  /// - Parameters:
  ///   - path: a file or a folder.
  ///   - split: `train`, `test`, ... where `path` is a folder; may name a part in brackets, as `train[:100]` or
  ///     `train[10%:20%]`.
  ///   - files: the files of the folder to read, instead of those of the split.
  /// - Throws: `DataError` when a file is missing, of an unknown kind, or broken as a whole, or the program it needs is
  ///   missing. A fault inside one row is thrown when that row is read.
  public static func open(
    _ path: String, split: String = "train", files: [String] = []
  ) throws(DataError) -> any RowSource {
    let (name, slice) = try SplitSlice.parse(split)
    var isFolder: ObjCBool = false
    let exists = FileManager.default.fileExists(atPath: path, isDirectory: &isFolder)
    var parts: [any RowSource] = []
    if exists, isFolder.boolValue {
      let folder = URL(fileURLWithPath: path)
      let paths =
        files.isEmpty
        ? try DataFolder.files(of: name, in: path) : files.map { folder.appendingPathComponent($0).path }
      for path in paths { parts.append(try openFile(path)) }
    } else {
      parts.append(try openFile(path))
    }
    let rows: any RowSource = parts.count == 1 ? parts[0] : JoinedRows(parts)
    guard let slice else { return rows }
    return SelectedRows(rows, Array(slice.range(of: rows.count)))
  }

  /// The rows that DuckDB answers an SQL query with, such as `SELECT zh, yue FROM 'pairs.parquet' WHERE n > 3`.
  /// - Throws: `DataError` when DuckDB is missing or refuses the query.
  public static func query(_ sql: String) throws(DataError) -> any RowSource {
    let statement = sql.trimmingCharacters(in: CharacterSet(charactersIn: "; \n\t\r"))
    return try ExternalProgram.query(statement, source: "the SQL query")
  }

  /// How a file holds its rows.
  struct Format: Sendable, Hashable {
    /// One of `endings`.
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
      return endings.contains(kind) && kind != "parquet" ? Format(kind: kind, compression: ending) : nil
    }
    return endings.contains(ending) ? Format(kind: ending) : nil
  }

  private static func openFile(_ path: String) throws(DataError) -> any RowSource {
    guard let format = format(of: path) else {
      throw DataError(
        "a data file must end in .\(endings.joined(separator: ", .")); rename it if it is one of these",
        at: RowPlace(file: path))
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
