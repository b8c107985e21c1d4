import ChatTemplates
import Datasets
import Diagnostics
import Essentials
import Hub
import OrderedJSON
import Reports
import Swiftlet

/// The models that a page offers: those in the cache, and those in the watched folder.
struct ModelList {
  let names: [String]

  init(_ root: URL) {
    let survey = try? CacheSurvey(environment: ProcessInfo.processInfo.environment)
    let cached = (survey?.repositories ?? []).filter { !$0.isDataset && $0.byteCount > 0 }.map(\.name).sorted()
    let files = FolderWalk.paths(below: root) { folder, names in
      var found = names.filter { $0.lowercased().hasSuffix(".gguf") }.map { folder.isEmpty ? $0 : folder + "/" + $0 }
      if !folder.isEmpty, names.contains("config.json"), names.contains(where: { $0.hasSuffix(".safetensors") }) {
        found.append(folder)
      }
      return found
    }
    self.names = cached + files
  }
}

/// The data files in the watched folder.
struct DataList {
  static let uploadable = ["jsonl", "json", "csv", "tsv", "txt", "ndjson", "parquet"]

  let root: URL
  let names: [String]

  init(_ root: URL) {
    self.root = root
    names = FolderWalk.paths(below: root) { folder, names in
      // The folders of runs and models have JSON files that are no data.
      let isOther = names.contains {
        ["config.json", "adapter_config.json", "board", "trainer_state.json"].contains($0)
      }
      let isJournal =
        folder.split(separator: "/").last.map(String.init) == RunJournal.Name.folder
        && [RunJournal.Name.run, RunJournal.Name.audit].contains { names.contains($0) }
      guard folder.isEmpty || !isOther, !isJournal else { return [] }
      return names.filter(Self.isData).map { folder.isEmpty ? $0 : folder + "/" + $0 }
    }
  }

  static func isData(_ name: String) -> Bool {
    var name = name.lowercased()
    for ending in [".gz", ".zst"] where name.hasSuffix(ending) { name.removeLast(ending.count) }
    return uploadable.contains { name.hasSuffix("." + $0) }
  }

  private static let shownRows = 10
  private static let shownText = 2000

  /// The first rows of a file of the list as a table.
  /// - Throws: `APIError` for another name, or `SwiftletError` for a file that can't be read.
  func table(of name: String) throws -> JSONValue {
    guard names.contains(name) else { throw APIError.notFound("There is no such data file.") }
    let rows = try DataFile.open(root.appendingPathComponent(name).path)
    let columns = Array(try rows.columnNames().prefix(100))
    let cells = try rows.rows(0..<Self.shownRows).map { row -> JSONValue in
      .array(
        columns.map { column in
          let value = row[column] ?? .null
          let text = value.isNull ? "" : value.string ?? value.text()
          return .string(String(text.unicodeScalars.prefix(Self.shownText).map(Character.init)))
        })
    }
    let first = rows.count > 0 ? try rows.row(at: 0) : Row()
    let conversations = columns.filter {
      first[$0]?.array?.first?["role"] != nil || first[$0]?.array?.first?["from"] != nil
    }
    return [
      "columns": .array(columns.map { .string($0) }), "count": .integer(rows.count), "rows": .array(cells),
      "conversations": .array(conversations.map { .string($0) }),
    ]
  }
}

/// The programs in the watched folder that can reward completions. A page can name no others, and can add none: what it
/// uploads is data, which is never started.
struct ProgramList {
  let names: [String]

  init(_ root: URL) {
    names = FolderWalk.paths(below: root) { folder, names in
      names.map { folder.isEmpty ? $0 : folder + "/" + $0 }.filter { name in
        let place = root.appendingPathComponent(name)
        return Self.isWord(name) && !DataList.isData(name) && RunFolder.isOwnFile(place)
          && FileManager.default.isExecutableFile(atPath: place.path)
      }
    }
  }

  /// Whether a command line has the path as one word.
  private static func isWord(_ path: String) -> Bool {
    !path.contains { $0.isWhitespace || $0 == "'" || $0 == "\"" }
  }
}

/// Looks through folders, a few levels deep, without following links.
enum FolderWalk {
  private static let mostPaths = 2000

  /// What `select` returns for a folder, given its path below `root` and the names in it, of all folders.
  static func paths(below root: URL, _ select: (String, [String]) -> [String]) -> [String] {
    var found: [String] = []
    visit(root, levels: 3, most: 2000) { path, names in
      found += select(path, names).filter { name in
        let place = root.appendingPathComponent(name)
        return RunFolder.isOwnFile(place) || RunFolder.isFolder(place)
      }
      return found.count < mostPaths
    }
    return found.sorted()
  }

  /// Calls `body` with the path of each folder below `root`, which is empty for `root` itself, and the names in it. Hidden
  /// names are left out, and checkpoints are not entered.
  /// - Parameters:
  ///   - levels: how deep to go.
  ///   - most: how many folders to look at: a home directory can have millions.
  ///   - skipped: the name of folders that are not entered either.
  ///   - body: returns whether to go on.
  static func visit(
    _ root: URL, levels: Int, most: Int, skipping skipped: String? = nil,
    _ body: (_ path: String, _ names: [String]) -> Bool
  ) {
    var folders = [(path: "", levels: levels)]
    var seen = 0
    while let (path, levels) = folders.popLast(), seen < most {
      seen += 1
      let folder = path.isEmpty ? root : root.appendingPathComponent(path)
      let names = ((try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? [])
        .filter { !$0.hasPrefix(".") }
      guard body(path, names) else { return }
      guard levels > 0 else { continue }
      for name in names
      where !name.hasPrefix("checkpoint-") && name != skipped && RunFolder.isFolder(folder.appendingPathComponent(name))
      {
        folders.append((path.isEmpty ? name : path + "/" + name, levels - 1))
      }
    }
  }
}
