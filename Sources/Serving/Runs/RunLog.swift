import Essentials
import OrderedJSON
import Reports

/// The log of a run, read piece by piece while it grows.
struct RunLog {
  /// Entries as in `log_history` of `trainer_state.json`.
  var entries: [JSONValue]
  /// Where to go on: the file, and a place in it.
  var cursor: String
  /// Whether the reader must forget the entries that it has, because the log began anew.
  var isReset: Bool
  /// Whether more can be read at once.
  var hasMore: Bool

  private static let pieceBytes = 2 << 20

  /// Reads on from a cursor; `nil` or another text starts from the beginning.
  init(of run: RunFolder, after cursor: String?) {
    let files = ["\(RunJournal.Name.folder)/\(RunJournal.Name.log)", "log.jsonl"]
    for name in files {
      let url = run.url.appendingPathComponent(name)
      if RunFolder.isOwnFile(url), let log = RunLog(lines: url.path, after: cursor) {
        self = log
        return
      }
    }
    // Of a run of another program, or of an earlier version: nothing grows here but with checkpoints.
    let history = run.trainerState?["log_history"]?.array ?? []
    let here = "history:\(history.count)"
    self.init(
      entries: here == cursor ? [] : history, cursor: here, isReset: here != cursor && cursor != nil, hasMore: false)
  }

  private init(entries: [JSONValue], cursor: String, isReset: Bool, hasMore: Bool) {
    (self.entries, self.cursor, self.isReset, self.hasMore) = (entries, cursor, isReset, hasMore)
  }

  /// Reads a file with an entry per line. It is another file after the run was resumed.
  private init?(lines path: String, after cursor: String?) {
    guard let file = try? OpenFile(path) else { return nil }
    var status = stat()
    guard fstat(file.descriptor, &status) == 0 else { return nil }
    let identity = "\(status.st_ino)"
    let parts = (cursor ?? "").split(separator: ":")
    var offset = parts.count == 2 && parts[0] == identity ? Int(parts[1]) ?? 0 : 0
    if !(0...Int(status.st_size)).contains(offset) { offset = 0 }
    isReset = cursor != nil && offset == 0
    guard (try? file.seek(to: offset)) != nil, let data = try? file.read(upTo: Self.pieceBytes) else { return nil }
    // The last line may not be complete yet.
    let end = data.lastIndex(of: UInt8(ascii: "\n")).map { data.distance(from: data.startIndex, to: $0) + 1 } ?? 0
    entries = data.prefix(end).split(separator: UInt8(ascii: "\n")).compactMap { try? JSONValue(parsing: $0) }
    self.cursor = "\(identity):\(offset + end)"
    hasMore = end > 0 && offset + end < Int(status.st_size)
  }

  var json: JSONValue {
    ["entries": .array(entries), "cursor": .string(cursor), "reset": .bool(isReset), "more": .bool(hasMore)]
  }
}
