import Foundation

/// Finds the files of a split in a folder, as `datasets.load_dataset` does: by the names of folders, else by the names
/// of files, else every file is for training.
enum DataFolder {
  private static let keywords: [(split: String, words: [String])] = [
    ("train", ["train", "training"]),
    ("validation", ["validation", "valid", "dev", "val"]),
    ("test", ["test", "testing", "eval", "evaluation"]),
  ]
  /// Files that hold something about the rows, not rows.
  private static let ignored = ["config.json", "dataset_info.json", "dataset_infos.json", "dataset_dict.json"]

  /// The paths of the files of `split` under `folder`, in order of their names.
  /// - Throws: `DataError` when there are none, naming the splits that there are.
  static func files(of split: String, in folder: String) throws(DataError) -> [String] {
    let names = dataFiles(in: folder)
    if names.isEmpty {
      throw DataError(
        "the folder holds no data files; they end in .\(DataFile.endings.joined(separator: ", ."))",
        at: RowPlace(file: folder))
    }
    func paths(_ names: [String]) -> [String] {
      names.map { URL(fileURLWithPath: folder).appendingPathComponent($0).path }
    }
    let own = names.filter { isShard($0, of: split) }
    if !own.isEmpty { return paths(own) }

    let levels: [(String) -> [String]] = [
      { $0.split(separator: "/").dropLast().map(String.init) }, { [String($0.split(separator: "/").last ?? "")] },
    ]
    for parts in levels {
      var found: [(split: String, names: [String])] = []
      for (candidate, words) in keywords {
        let matching = names.filter { name in parts(name).contains { part in words.contains { holds(part, word: $0) } }
        }
        if !matching.isEmpty { found.append((candidate, matching)) }
      }
      if found.isEmpty { continue }
      if let match = found.first(where: { group in group.split == split || isSynonym(split, of: group.split) }) {
        return paths(match.names)
      }
      throw missing(split, have: found.map(\.split), in: folder)
    }
    if isSynonym(split, of: "train") { return paths(names) }
    throw missing(split, have: ["train"], in: folder)
  }

  private static func missing(_ split: String, have: [String], in folder: String) -> DataError {
    DataError("there is no split \"\(split)\"; there is \(have.joined(separator: ", "))", at: RowPlace(file: folder))
  }

  private static func isSynonym(_ word: String, of split: String) -> Bool {
    keywords.contains { $0.split == split && $0.words.contains(word) }
  }

  /// The names of the data files under `folder`, relative to it.
  private static func dataFiles(in folder: String) -> [String] {
    guard let names = FileManager.default.enumerator(atPath: folder) else { return [] }
    var files: [String] = []
    for case let name as String in names {
      let parts = name.split(separator: "/")
      guard let last = parts.last.map(String.init), !parts.contains(where: { $0.hasPrefix(".") }) else { continue }
      if DataFile.format(of: last) != nil, !ignored.contains(last) { files.append(name) }
    }
    return files.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
  }

  /// Whether a file is `split.jsonl` or a shard as `split-00000-of-00003.parquet`, whatever the split's name.
  private static func isShard(_ name: String, of split: String) -> Bool {
    let file = String(name.split(separator: "/").last ?? "")
    guard file.hasPrefix(split) else { return false }
    let rest = file.dropFirst(split.count)
    return rest.first == "." || rest.wholeMatch(of: /-\d{5}-of-\d{5}.*\..*/) != nil
  }

  /// Whether `word` stands in `text` between separators.
  private static func holds(_ text: String, word: String) -> Bool {
    let separators = "-._ 0123456789"
    var rest = text.lowercased()[...]
    while let range = rest.range(of: word) {
      let before =
        range.lowerBound == rest.startIndex || separators.contains(rest[rest.index(before: range.lowerBound)])
      let after = range.upperBound == rest.endIndex || separators.contains(rest[range.upperBound])
      if before, after { return true }
      rest = rest[rest.index(after: range.lowerBound)...]
    }
    return false
  }
}
