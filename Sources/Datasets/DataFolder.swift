import Diagnostics
import Essentials

/// Finds the files of a split in a folder as `datasets.load_dataset` does: by the names of subfolders, else by the
/// names of files; if neither names a split, all files are training data.
enum DataFolder {
  private static let keywords: [(split: String, words: [String])] = [
    ("train", ["train", "training"]),
    ("validation", ["validation", "valid", "dev", "val"]),
    ("test", ["test", "testing", "eval", "evaluation"]),
  ]
  /// Metadata files, which have no rows.
  private static let ignored = ["config.json", "dataset_info.json", "dataset_infos.json", "dataset_dict.json"]

  /// More files than a dataset has; a folder with so many is probably a home folder.
  private static let maximumFiles = 100_000

  /// The paths of the files of `split` in `folder`, sorted by name.
  /// - Throws: `SwiftletError` with the splits that exist if there are none.
  static func files(of split: String, in folder: String) throws(SwiftletError) -> [String] {
    let names = try dataFiles(in: folder)
    if names.isEmpty {
      throw SwiftletError.data(
        "the folder has no data files; their names end in .\(DataFile.fileExtensions.joined(separator: ", ."))",
        at: FileLocation(file: folder))
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

  static func missing(_ split: String, have: [String], in folder: String) -> SwiftletError {
    SwiftletError.data(
      "there is no split \(split.quotedExcerpt); the splits are "
        + have.prefix(20).map { $0.escapedLine(limit: 100) }.joined(separator: ", "), at: FileLocation(file: folder))
  }

  private static func isSynonym(_ word: String, of split: String) -> Bool {
    keywords.contains { $0.split == split && $0.words.contains(word) }
  }

  /// The paths of the data files in `folder` that match patterns such as `data/train-*.parquet`. `*` and `?` match
  /// characters of one name, `**` matches any path.
  /// - Throws: `SwiftletError` if a pattern matches no file.
  static func files(matching patterns: [String], in folder: String) throws(SwiftletError) -> [String] {
    var paths: [String] = []
    for pattern in patterns {
      let whole = pattern.hasPrefix("/") ? pattern : URL(fileURLWithPath: folder).appendingPathComponent(pattern).path
      guard pattern.contains(where: { "*?[".contains($0) }) else {
        paths.append(whole)
        continue
      }
      // Searches only the folder that the pattern starts with.
      let parts = whole.split(separator: "/", omittingEmptySubsequences: false)
      let plain = parts.prefix { part in !part.contains { "*?[".contains($0) } }
      let base = plain.joined(separator: "/")
      let rest = parts.dropFirst(plain.count).joined(separator: "/")
      let flags = rest.contains("**") ? 0 : FNM_PATHNAME
      let found = try dataFiles(in: base).filter { fnmatch(rest, $0, flags) == 0 }
      if found.isEmpty {
        throw SwiftletError.data(
          "no data file matches the pattern \(pattern.quotedExcerpt); check the pattern", at: FileLocation(file: folder)
        )
      }
      paths += found.map { base + "/" + $0 }
    }
    return paths
  }

  /// The paths of the data files in `folder`, relative to it.
  private static func dataFiles(in folder: String) throws(SwiftletError) -> [String] {
    guard URL(fileURLWithPath: folder).standardized.path != "/" else {
      throw SwiftletError.data(
        "this is the root folder; name the folder with the dataset", at: FileLocation(file: folder))
    }
    var files: [String] = []
    var seen = 0
    try FileManager.default.forEachPath(in: folder) { name throws(SwiftletError) in
      seen += 1
      guard seen <= maximumFiles else {
        throw SwiftletError.data(
          "the folder has more than \(maximumFiles) files; name the folder with the dataset",
          at: FileLocation(file: folder))
      }
      let parts = name.split(separator: "/")
      guard let last = parts.last.map(String.init), !parts.contains(where: { $0.hasPrefix(".") }) else { return }
      if DataFile.format(of: last) != nil, !ignored.contains(last) { files.append(name) }
    }
    return files.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
  }

  /// Whether a file is named `split.jsonl` or is a shard such as `split-00000-of-00003.parquet`.
  private static func isShard(_ name: String, of split: String) -> Bool {
    let file = String(name.split(separator: "/").last ?? "")
    guard file.hasPrefix(split) else { return false }
    let rest = file.dropFirst(split.count)
    return rest.first == "." || rest.wholeMatch(of: /-\d{5}-of-\d{5}.*\..*/) != nil
  }

  /// Whether `text` has `word` between separators.
  private static func holds(_ text: String, word: String) -> Bool {
    let separators = "-._ 0123456789"
    var rest = text.lowercased()[...]
    while let range = rest.firstRange(of: word) {
      let before =
        range.lowerBound == rest.startIndex || separators.contains(rest[rest.index(before: range.lowerBound)])
      let after = range.upperBound == rest.endIndex || separators.contains(rest[range.upperBound])
      if before, after { return true }
      rest = rest[rest.index(after: range.lowerBound)...]
    }
    return false
  }
}
