import Foundation

/// Opens data sets from files and folders.
public enum DataFile {
  /// The endings of files that can be read.
  public static let endings = ["json", "jsonl", "ndjson", "csv", "tsv", "txt"]

  /// The rows of the file or folder at `path`.
  ///
  /// A file is `.json` (an array of objects, an object of columns, or `{"data": [...]}`), `.jsonl` or `.ndjson`, `.csv`,
  /// `.tsv`, or `.txt` (a row a line, in column `text`). Of a folder the files of `split` are read, found by their
  /// names as `datasets` finds them.
  /// - Parameters:
  ///   - path: a file or a folder.
  ///   - split: `train`, `test`, ... where `path` is a folder; may name a part in brackets, as `train[:100]` or
  ///     `train[10%:20%]`.
  ///   - files: the files of the folder to read, instead of those of the split.
  /// - Throws: `DataError` when a file is missing, of an unknown kind, or broken as a whole. A fault inside one row is
  ///   thrown when that row is read.
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

  /// What kind of rows a file holds, by its name's ending; `nil` for none that can be read.
  static func format(of name: String) -> String? {
    let ending = URL(fileURLWithPath: name).pathExtension.lowercased()
    return endings.contains(ending) ? ending : nil
  }

  private static func openFile(_ path: String) throws(DataError) -> any RowSource {
    guard let format = format(of: path) else {
      throw DataError(
        "a data file must end in .\(endings.joined(separator: ", .")); rename it if it is one of these",
        at: RowPlace(file: path))
    }
    let bytes = try FileBytes(path: path)
    switch format {
    case "csv": return try CSVRows.open(bytes, separator: UInt8(ascii: ","))
    case "tsv": return try CSVRows.open(bytes, separator: UInt8(ascii: "\t"))
    case "txt": return try TextRows.open(bytes)
    default: return try JSONRows.open(bytes, isLines: format != "json")
    }
  }
}

/// The part of a split that brackets name: `[:100]`, `[100:200]`, `[50%:]`, `[-100:]`.
struct SplitSlice: Sendable, Hashable {
  private enum Bound: Hashable {
    case row(Int)
    case percent(Int)
  }
  private var from: Bound?
  private var to: Bound?

  /// The split's name and its slice, if it has one.
  /// - Throws: `DataError` when the brackets are not understood.
  static func parse(_ split: String) throws(DataError) -> (name: String, slice: SplitSlice?) {
    guard let open = split.firstIndex(of: "[") else { return (split, nil) }
    let name = String(split[..<open])
    let bounds = split[open...].dropFirst().dropLast().split(separator: ":", omittingEmptySubsequences: false)
    guard split.hasSuffix("]"), bounds.count == 2 else { throw unclear(split) }
    return (name, SplitSlice(from: try bound(bounds[0], split), to: try bound(bounds[1], split)))
  }

  private static func bound(_ text: Substring, _ split: String) throws(DataError) -> Bound? {
    if text.isEmpty { return nil }
    let isPercent = text.hasSuffix("%")
    guard let number = Int(isPercent ? text.dropLast() : text), !isPercent || (-100...100).contains(number) else {
      throw unclear(split)
    }
    return isPercent ? .percent(number) : .row(number)
  }

  private static func unclear(_ split: String) -> DataError {
    DataError("the split \"\(split)\" is not understood; write train, train[:100] or train[10%:20%]")
  }

  func range(of count: Int) -> Range<Int> {
    func row(_ bound: Bound?, _ missing: Int) -> Int {
      let number: Int
      switch bound {
      case nil: return missing
      case .row(let row): number = row
      case .percent(let percent): number = Int((Double(percent) * Double(count) / 100).rounded(.toNearestOrEven))
      }
      return max(0, min(count, number < 0 ? number + count : number))
    }
    let start = row(from, 0)
    return start..<max(start, row(to, count))
  }
}
