import Checkpoints
import Diagnostics
import Essentials
import OrderedJSON
import Reports

/// The output folder of a training run, read while the run goes on or afterward. `Documentation/Board.md` describes the
/// files.
package struct RunFolder: Sendable {
  /// The path below the watched folder; "." for that folder itself.
  package let id: String
  package let url: URL

  package init(id: String, url: URL) { (self.id, self.url) = (id, url) }

  var name: String { url.standardizedFileURL.lastPathComponent }

  private var journal: URL { url.appendingPathComponent(RunJournal.Name.folder) }

  // MARK: Files

  /// The contents of a JSON file of the run; `nil` if there is none. Links are not followed: a folder from elsewhere
  /// must not lead out of itself.
  func json(_ name: String) -> JSONValue? {
    guard Self.isOwnFile(url.appendingPathComponent(name)),
      let bytes = try? RegularFile.contents(of: url.appendingPathComponent(name), sizeLimit: 64 << 20)
    else { return nil }
    return try? JSONValue(parsing: bytes)
  }

  private func journalJSON(_ name: String) -> JSONValue? { json("\(RunJournal.Name.folder)/\(name)") }

  static func isOwnFile(_ url: URL) -> Bool {
    var status = stat()
    return lstat(url.path, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
  }

  /// What the run last told about itself.
  var facts: JSONValue? { journalJSON(RunJournal.Name.run) }

  /// The settings of the run.
  var arguments: JSONValue? { json("training_args.json") }

  /// The answers of the model, as `questions.json` has them.
  package var answers: JSONValue { json("questions.json") ?? [] }

  /// The first rows with their trained tokens.
  package var rows: JSONValue { journalJSON(RunJournal.Name.rows) ?? [] }

  /// The state of the trainer, of the finished run or its last checkpoint.
  var trainerState: JSONValue? {
    json("trainer_state.json") ?? checkpoints.last.flatMap { json("\($0)/trainer_state.json") }
  }

  /// The names of the checkpoints, in the order of their steps.
  var checkpoints: [String] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: url.path)) ?? []
    return names.compactMap { name in
      name.hasPrefix("checkpoint-") ? Int(name.dropFirst("checkpoint-".count)).map { (step: $0, name: name) } : nil
    }.sorted { $0.step < $1.step }.map(\.name)
  }

  /// The last lines that the run has printed, if a server started it.
  package var printed: String {
    Self.isOwnFile(outputFile) ? RunProgram.tail(of: outputFile, bytes: 64 << 10) : ""
  }

  /// The file for what the run prints, if a server starts it.
  var outputFile: URL { journal.appendingPathComponent(RunJournal.Name.output) }

  /// Writes what is known of a run that a server is about to start, so that it is in lists even if its program ends before it
  /// can tell of itself.
  func announce(_ facts: [(String, JSONValue)] = []) throws {
    try FileManager.default.createDirectory(at: journal, withIntermediateDirectories: true)
    let began = JSONValue.integer(Int(Date().timeIntervalSince1970))
    let all = JSONObject([("status", .string(RunJournal.Status.preparing.rawValue)), ("began", began)] + facts)
    try AtomicFile.write(
      JSONValue.object(all).text() + "\n", to: journal.appendingPathComponent(RunJournal.Name.run))
  }

  // MARK: Status

  /// Whether the process of the run exists.
  package var isRunning: Bool { holder != nil }

  private var holder: pid_t? { ProcessLock.holder(of: journal.appendingPathComponent(RunJournal.Name.lock).path) }

  /// The status for people: the run's own word, unless it was killed before it could say that it ends.
  package var status: String { status(facts) }

  private func status(_ facts: JSONValue?) -> String {
    guard let told = facts?["status"]?.string.flatMap(RunJournal.Status.init) else {
      guard let state = json("trainer_state.json") else { return "interrupted" }
      return (state["global_step"]?.integer ?? 0) >= (state["max_steps"]?.integer ?? 0) ? "complete" : "stopped"
    }
    switch told {
    case .preparing, .training, .finishing:
      // A program that was just started may not have come as far as to hold the lock.
      let isNew = told == .preparing && (facts?["began"]?.integer ?? 0) > Int(Date().timeIntervalSince1970) - 5
      return isNew || isRunning ? told.rawValue : "interrupted"
    case .complete, .stopped, .paused, .failed: return told.rawValue
    }
  }

  /// A line in the list of runs.
  package var summary: JSONValue {
    let facts = facts
    var summary = JSONObject([("id", .string(id)), ("name", .string(name)), ("status", .string(status(facts)))])
    for key in [
      "model", "method", "step", "max_steps", "epoch", "loss", "eval_loss", "tokens_per_second", "memory",
      "peak_memory", "remaining_s", "began", "updated", "error", "process", "host",
    ] { summary[key] = facts?[key] }
    if facts == nil, let state = trainerState {
      let history = state["log_history"]?.array ?? []
      for key in ["max_steps", "epoch"] { summary[key] = state[key] }
      summary["step"] = state["global_step"]
      for key in ["loss", "eval_loss"] { summary[key] = history.last { $0[key] != nil }?[key] }
      summary["model"] = arguments?["model_name_or_path"]
      summary["updated"] = Self.modified(url.appendingPathComponent("trainer_state.json")).map { .integer($0) }
    }
    if summary["method"] == nil { summary["method"] = arguments?["method"] ?? "sft" }
    return .object(summary)
  }

  /// Everything about the run but its log, answers and rows.
  package var details: JSONValue {
    var details = summary.object ?? JSONObject()
    let facts = facts
    details["path"] = .string(url.path)
    for key in ["command", "directory", "recipe", "checkpoint"] { details[key] = facts?[key] }
    details["warnings"] = facts?["warnings"] ?? []
    details["arguments"] = arguments
    details["plan"] = journalJSON(RunJournal.Name.plan)
    details["report"] = json("preparation_report.json")
    details["checkpoints"] = .array(checkpoints.map { .string($0) })
    details["has_result"] = .bool(hasResult)
    details["is_adapter"] = .bool(isAdapter)
    details["can_resume"] = .bool(!isRunning && !checkpoints.isEmpty && facts?["command"] != nil)
    details["has_audit"] = .bool(BoardAudit.exists(in: url))
    details["request"] = request.map { .string($0.rawValue) } ?? .null
    return .object(details)
  }

  static func modified(_ url: URL) -> Int? {
    var status = stat()
    guard stat(url.path, &status) == 0 else { return nil }
    #if canImport(Darwin)
      return status.st_mtimespec.tv_sec
    #else
      return status.st_mtim.tv_sec
    #endif
  }

  // MARK: Result

  var isAdapter: Bool { Self.isOwnFile(url.appendingPathComponent("adapter_config.json")) }

  /// Whether the run has written an adapter or a model.
  package var hasResult: Bool { isAdapter || Self.isOwnFile(url.appendingPathComponent("config.json")) }

  /// The base model as a path or `org/name`; `nil` if nothing tells it.
  package var baseModel: String? {
    if let path = facts?["base"]?.string { return path }
    guard let name = json("adapter_config.json")?["base_model_name_or_path"]?.string else { return nil }
    let beside = URL(fileURLWithPath: name, relativeTo: url).standardizedFileURL.path
    return FileManager.default.fileExists(atPath: beside) ? beside : name
  }

  /// A time that changes when the result does.
  var version: Int { Self.modified(url.appendingPathComponent(isAdapter ? "adapter_config.json" : "config.json")) ?? 0 }

  // MARK: Requests

  private var requestFile: URL { journal.appendingPathComponent(RunJournal.Name.request) }

  private var request: RunJournal.Request? {
    guard isRunning, let text = try? RegularFile.text(of: requestFile, sizeLimit: 100) else { return nil }
    return RunJournal.Request(rawValue: text.trimmed)
  }

  /// Asks the run to pause or stop.
  /// - Throws: `APIError` if it isn't running.
  package func ask(_ request: RunJournal.Request) throws {
    guard isRunning else { throw APIError.conflict("The run isn't running.") }
    try AtomicFile.write(request.rawValue + "\n", to: requestFile)
  }
}

extension RunFolder {
  /// The runs in a folder and the folders below it, the latest first.
  package static func find(in root: URL) -> [RunFolder] {
    all(in: root).map { (run: $0, time: $0.began) }.sorted { ($1.time, $0.run.id) < ($0.time, $1.run.id) }.map(\.run)
  }

  /// The run of this id: one of those that are found, so that no id leads anywhere else.
  static func find(_ id: String, in root: URL) -> RunFolder? { all(in: root).first { $0.id == id } }

  private static func all(in root: URL) -> [RunFolder] {
    var found: [RunFolder] = []
    FolderWalk.visit(root, levels: 4, most: 5000, skipping: RunJournal.Name.folder) { path, names in
      let folder = path.isEmpty ? root : root.appendingPathComponent(path)
      if isRun(folder, names) { found.append(RunFolder(id: path.isEmpty ? "." : path, url: folder)) }
      return true
    }
    return found
  }

  private static func isRun(_ folder: URL, _ names: [String]) -> Bool {
    names.contains("trainer_state.json") || names.contains { $0.hasPrefix("checkpoint-") }
      || names.contains(RunJournal.Name.folder)
        && isOwnFile(folder.appendingPathComponent("\(RunJournal.Name.folder)/\(RunJournal.Name.run)"))
  }

  static func isFolder(_ url: URL) -> Bool {
    var status = stat()
    return lstat(url.path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
  }

  private var began: Int {
    facts?["began"]?.integer ?? Self.modified(url.appendingPathComponent("trainer_state.json")) ?? 0
  }
}
