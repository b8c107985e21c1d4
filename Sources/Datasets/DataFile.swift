import Foundation

/// Opens a data file by its name's ending.
public enum DataFile {
  /// The endings that can be read.
  public static let endings = ["json", "jsonl", "ndjson", "csv", "tsv", "txt"]

  /// The rows of the file at `path`: `.json` (an array of objects, an object of columns, or `{"data": [...]}`),
  /// `.jsonl` or `.ndjson`, `.csv`, `.tsv`, or `.txt` (a row a line, in column `text`).
  /// - Throws: `DataError` when the file is missing, of an unknown kind, or broken as a whole. A fault inside one row
  ///   is thrown when that row is read.
  public static func open(_ path: String) throws(DataError) -> any RowSource {
    let ending = URL(fileURLWithPath: path).pathExtension.lowercased()
    guard endings.contains(ending) else {
      throw DataError(
        "a data file must end in .\(endings.joined(separator: ", .")); rename it if it is one of these",
        at: RowPlace(file: path))
    }
    return try open(FileBytes(path: path), ending: ending)
  }

  static func open(_ bytes: FileBytes, ending: String) throws(DataError) -> any RowSource {
    switch ending {
    case "csv": try CSVRows.open(bytes, separator: UInt8(ascii: ","))
    case "tsv": try CSVRows.open(bytes, separator: UInt8(ascii: "\t"))
    case "txt": try TextRows.open(bytes)
    default: try JSONRows.open(bytes, isLines: ending != "json")
    }
  }
}
