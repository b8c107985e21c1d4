import Checkpoints
import Diagnostics
import Essentials
import OrderedJSON
import Reports

/// What `swiftlet audit` wrote into the folder of a run, whether or not that run was started: a summary and the findings, a
/// line each.
struct BoardAudit {
  /// The path of the folder below the watched one; "." for that one itself.
  let id: String
  let folder: URL

  /// The most findings in one answer.
  private static let pageSize = 50
  private static let sizeLimit = 512 << 20
  private static let summaryLimit = 1 << 20

  private var file: URL { Self.file(in: folder) }

  private static func file(in folder: URL) -> URL {
    folder.appendingPathComponent(RunJournal.Name.folder).appendingPathComponent(RunJournal.Name.audit)
  }

  /// Whether there is an audit in the folder of a run. Links are not followed.
  static func exists(in folder: URL) -> Bool {
    RunFolder.isFolder(folder.appendingPathComponent(RunJournal.Name.folder)) && RunFolder.isOwnFile(file(in: folder))
  }

  /// The audits in a folder and the folders below it, the latest first.
  static func find(in root: URL) -> [BoardAudit] {
    all(in: root).map { (audit: $0, time: $0.modified) }.sorted { ($1.time, $0.audit.id) < ($0.time, $1.audit.id) }
      .map(\.audit)
  }

  /// The audit of this id: one of those that are found, so that no id leads anywhere else.
  static func find(_ id: String, in root: URL) -> BoardAudit? { all(in: root).first { $0.id == id } }

  private static func all(in root: URL) -> [BoardAudit] {
    var found: [BoardAudit] = []
    FolderWalk.visit(root, levels: 4, most: 5000, skipping: RunJournal.Name.folder) { path, names in
      let folder = path.isEmpty ? root : root.appendingPathComponent(path)
      if names.contains(RunJournal.Name.folder), exists(in: folder) {
        found.append(BoardAudit(id: path.isEmpty ? "." : path, folder: folder))
      }
      return true
    }
    return found
  }

  private var modified: Int { RunFolder.modified(file) ?? 0 }

  /// Its summary, for the list of audits.
  var summary: JSONValue {
    let data = (try? OpenFile(file.path).read(upTo: Self.summaryLimit)) ?? Data()
    let line = data.prefix { $0 != UInt8(ascii: "\n") }
    var summary = (try? JSONValue(parsing: line))?.object ?? JSONObject()
    summary["id"] = .string(id)
    summary["name"] = .string(folder.standardizedFileURL.lastPathComponent)
    summary["updated"] = .integer(modified)
    return .object(summary)
  }

  /// The summary, and some of the findings.
  /// - Parameters:
  ///   - kind: the kind of findings; `nil` for all.
  ///   - start: the number of findings to skip.
  /// - Throws: `SwiftletError` if the file can't be read.
  func page(of kind: String?, from start: Int) throws -> JSONValue {
    let lines = try RegularFile.contents(of: file, sizeLimit: Self.sizeLimit).split(separator: UInt8(ascii: "\n"))
    var (skipped, findings) = (0, [JSONValue]())
    var hasMore = false
    for line in lines.dropFirst() {
      if kind == nil, skipped < start {
        skipped += 1
        continue
      }
      guard let finding = try? JSONValue(parsing: line), kind == nil || finding["kind"]?.string == kind else {
        continue
      }
      if skipped < start {
        skipped += 1
        continue
      }
      hasMore = findings.count == Self.pageSize
      if hasMore { break }
      findings.append(finding)
    }
    return ["summary": summary, "findings": .array(findings), "more": .bool(hasMore)]
  }
}
