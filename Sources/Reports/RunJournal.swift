import Checkpoints
import Diagnostics
import Essentials
import OrderedJSON
import Training

/// What a run writes for those who watch it: small files in the folder `board` of its output folder, which
/// `Documentation/Board.md` describes. A run never waits for a reader, and never fails because a file can't be written.
package final class RunJournal: TrainerCallback {
  /// The state of a run.
  package enum Status: String, Sendable {
    /// Opens the model and prepares the rows.
    case preparing
    case training
    /// Saves the result, and asks and evaluates the model.
    case finishing
    case complete
    /// Ended early as if complete.
    case stopped
    /// Ended with a checkpoint to resume from.
    case paused
    case failed
  }

  /// What a watcher can ask of a run, by a file.
  package enum Request: String, Sendable {
    /// Save a checkpoint and end.
    case pause
    /// End as if complete.
    case stop
  }

  /// The names of the files.
  package enum Name {
    package static let folder = "board"
    package static let run = "run.json"
    package static let log = "log.jsonl"
    package static let plan = "plan.json"
    package static let rows = "rows.json"
    package static let request = "request"
    package static let output = "output.txt"
    package static let lock = "lock"
    /// Written by `swiftlet audit`, and not by the run.
    package static let audit = "audit.jsonl"
  }

  private let folder: URL
  private let requestPath: String
  /// Held until the process ends.
  private let lock: ProcessLock?
  private var facts: JSONObject
  private var warnings: [String] = []
  private var log: GrowingFile?
  private let clock = ContinuousClock()
  private var lastWrite: ContinuousClock.Instant?
  private var begin: ContinuousClock.Instant
  /// At the last log.
  private var last: (tokens: Int, instant: ContinuousClock.Instant)?
  private var firstStep = 0

  /// Begins the journal of a run that opens its model next; `nil` if nothing can be written to its folder.
  /// - Parameters:
  ///   - output: the output folder of the run.
  ///   - command: the arguments of `swiftlet` that started it.
  ///   - facts: what else to tell from the start.
  package init?(output: URL, command: [String], facts: JSONObject = JSONObject()) {
    let folder = output.appendingPathComponent(Name.folder)
    guard (try? FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)) != nil else {
      return nil
    }
    self.folder = folder
    requestPath = folder.appendingPathComponent(Name.request).path
    begin = clock.now
    lock = ProcessLock(folder.appendingPathComponent(Name.lock).path)
    let process = ProcessInfo.processInfo
    self.facts = JSONObject([
      ("status", .string(Status.preparing.rawValue)), ("process", .integer(Int(process.processIdentifier))),
      ("host", .string(process.hostName)), ("began", .integer(Self.now)), ("updated", .integer(Self.now)),
      ("command", .array(command.map { .string($0) })),
      ("directory", .string(FileManager.default.currentDirectoryPath)),
    ])
    for member in facts.members { self.facts[member.key] = member.value }
    // Left over by a run that was killed.
    unlink(requestPath)
    for name in (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
    where name.hasPrefix(".swiftlet-") { unlink(folder.appendingPathComponent(name).path) }
    write()
  }

  /// Seconds since 1970.
  private static var now: Int { Int(Date().timeIntervalSince1970) }

  // MARK: What a run tells

  /// Adds sentences to the warnings.
  package func warn(_ sentences: [String]) {
    let new = sentences.filter { !warnings.contains($0) }
    guard !new.isEmpty else { return }
    warnings += new
    facts["warnings"] = .array(warnings.map { .string($0) })
    write()
  }

  /// Writes the plan, as `swiftlet plan --json` prints it.
  package func write(plan: JSONValue) { write(plan, to: Name.plan) }

  /// Writes the first rows with their trained tokens.
  package func write(rows: JSONValue) { write(rows, to: Name.rows) }

  /// Tells the status of the run.
  /// - Parameter error: why it failed.
  package func enter(_ status: Status, error: String? = nil) {
    facts["status"] = .string(status.rawValue)
    facts["error"] = error.map { .string($0) }
    if status != .training { facts["remaining_s"] = nil }
    if SystemMemory.peakResident > 0 { facts["peak_memory"] = .integer(SystemMemory.peakResident) }
    write()
  }

  // MARK: What a watcher asks

  /// What was asked of the run since it began.
  package var request: Request? {
    guard access(requestPath, F_OK) == 0, let file = try? OpenFile(requestPath), let data = try? file.read(upTo: 16)
    else { return nil }
    return Request(rawValue: String(decoding: data, as: UTF8.self).trimmed)
  }

  package func shouldPause() -> Bool { request == .pause }

  package func shouldStop(_ state: TrainerState) -> Bool { request == .stop }

  // MARK: Training

  package func trainingBegan(_ state: TrainerState) {
    begin = clock.now
    firstStep = state.globalStep
    last = (state.numInputTokensSeen, begin)
    facts["first_step"] = .integer(firstStep)
    facts["max_steps"] = .integer(state.maxSteps)
    facts["step"] = .integer(state.globalStep)
    beginLog(state)
    enter(.training)
  }

  /// Keeps the entries up to the checkpoint that the run resumes from, with their speeds if there is an earlier log.
  private func beginLog(_ state: TrainerState) {
    let url = folder.appendingPathComponent(Name.log)
    var earlier: [String: JSONObject] = [:]
    let text = state.globalStep > 0 ? try? RegularFile.text(of: url) : nil
    for line in (text ?? "").split(separator: "\n") {
      guard let entry = try? JSONValue(parsing: String(line)).object else { continue }
      earlier[Self.key(entry)] = entry
    }
    let entries = state.logHistory.map { earlier[Self.key($0)] ?? $0 }
    try? AtomicFile.replaceQuickly(url, with: entries.map(Self.line).joined())
    log = GrowingFile(at: url)
  }

  /// What tells entries apart: the step, and whether it is an evaluation.
  private static func key(_ entry: JSONObject) -> String {
    "\(entry["step"]?.integer ?? 0) \(entry["eval_loss"] != nil)"
  }

  private static func line(_ entry: JSONObject) -> String { JSONValue.object(entry).text(.compact) + "\n" }

  package func stepEnded(_ step: StepReport, _ state: TrainerState) {
    facts["step"] = .integer(state.globalStep)
    facts["epoch"] = .number(state.epoch)
    facts["loss"] = .number(step.loss)
    let perStep = ((clock.now - begin) / .seconds(1)) / Double(max(1, state.globalStep - firstStep))
    facts["remaining_s"] = .number(perStep * Double(max(0, state.maxSteps - state.globalStep)))
    if let lastWrite, clock.now - lastWrite < .seconds(1) { return }
    facts["memory"] = .integer(SystemMemory.now.resident)
    write()
  }

  package func logged(_ log: TrainingLog, _ state: TrainerState) {
    var entry = log.object
    let now = clock.now
    if let last {
      let rate = Double(log.numTokens - last.tokens) / max((now - last.instant) / .seconds(1), 1e-9)
      entry["tokens_per_second"] = .number(rate)
      facts["tokens_per_second"] = .number(rate)
    }
    last = (log.numTokens, now)
    let memory = SystemMemory.now.resident
    if memory > 0 { entry["memory"] = .integer(memory) }
    self.log?.append(Array(Self.line(entry).utf8))
  }

  package func evaluated(_ log: EvaluationLog, _ state: TrainerState) {
    facts["eval_loss"] = .number(log.loss)
    self.log?.append(Array(Self.line(log.object).utf8))
    // The time of an evaluation is not that of a step.
    last?.instant = clock.now
  }

  package func saved(_ folder: String, _ state: TrainerState) {
    facts["checkpoint"] = .string(folder)
    write()
  }

  package func trainingEnded(_ ending: Trainer.Ending, _ state: TrainerState) {
    if ending == .stopped { facts["ended_early"] = true }
    enter(.finishing)
  }

  /// Tells that everything is written.
  package func complete() { enter(facts["ended_early"]?.bool == true ? .stopped : .complete) }

  // MARK: Writing

  private func write() {
    facts["updated"] = .integer(Self.now)
    lastWrite = clock.now
    write(.object(facts), to: Name.run)
  }

  private func write(_ json: JSONValue, to name: String) {
    // Whoever watches sees an older state then; the run has more important files.
    try? AtomicFile.replaceQuickly(folder.appendingPathComponent(name), with: json.text(.compact) + "\n")
  }
}
