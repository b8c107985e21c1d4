import Reports
import TestSupport
import Training
import Foundation
import OrderedJSON
import Testing

/// The files that a run writes while it trains.
@Suite struct ReportTests {
  /// The bytes of an event file equal those of TensorBoard's own writer.
  @Test func eventsEqualTensorBoards() throws {
    let events = try #require(try golden("reports/events.json")["events"]?.array)
    let bytes = try events.flatMap { event -> [UInt8] in
      let scalars = try event["scalars"]?.array?.map { scalar in
        (tag: try #require(scalar.array?[0].string), value: try #require(scalar.array?[1].string.flatMap(Float.init)))
      }
      let content: EventRecord.Content =
        scalars.map { .scalars($0) } ?? (event["session"] == nil ? .fileVersion : .sessionStart)
      return EventRecord(
        wallTime: try #require(event["wall_time"]?.double), step: try #require(event["step"]?.integer), content: content
      ).bytes
    }
    let file = repository.appendingPathComponent("Tests/Goldens/reports/events.tfevents")
    #expect(try bytes == Array(Data(contentsOf: file)))
  }

  @Test func checksums() throws {
    let checksums = try #require(try golden("reports/events.json")["masked_crc32c"]?.object)
    for (text, checksum) in checksums.members {
      #expect(Int(CRC32C.masked(Array(text.utf8))) == checksum.integer, "\(text)")
    }
  }

  private static func run(
    _ folder: URL, eventFolder: String = "tb", _ change: (inout TrainingConfiguration) -> Void = { _ in }
  ) throws -> (trainer: Trainer, reports: [any RunReport]) {
    let reports = ReportConfiguration(
      ReportDestination.allCases, tensorBoardFolder: folder.appendingPathComponent(eventFolder).path
    ).reports(output: folder)
    let trainer = try TinyTrainer.trainer(
      rows: 0..<32, evaluationRows: 32..<40, output: folder, dropout: 0.1, callbacks: reports
    ) {
      $0.maxSteps = 9
      $0.loggingSteps = 2
      $0.evalStrategy = .steps
      $0.evalSteps = 3
      $0.saveStrategy = .steps
      $0.saveSteps = 5
      change(&$0)
    }
    return (trainer, reports)
  }

  /// The messages of an event file; each frame is checked.
  private static func messages(_ url: URL) throws -> [[UInt8]] {
    var rest = try Array(Data(contentsOf: url))[...]
    var messages: [[UInt8]] = []
    func number(_ count: Int) -> UInt64 {
      let value = rest.prefix(count).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
      rest = rest.dropFirst(count)
      return value
    }
    while !rest.isEmpty {
      let length = Array(rest.prefix(8))
      let count = Int(number(8))
      #expect(number(4) == UInt64(CRC32C.masked(length)))
      messages.append(Array(rest.prefix(count)))
      rest = rest.dropFirst(count)
      #expect(number(4) == UInt64(CRC32C.masked(messages.last ?? [])))
    }
    return messages
  }

  @Test func aRunIsReported() throws {
    let folder = try scratchFolder("reports")
    defer { try? FileManager.default.removeItem(at: folder) }
    let (trainer, reports) = try Self.run(folder)
    try trainer.train()
    #expect(reports.allSatisfy { $0.failure == nil })
    let history = trainer.state.logHistory
    let lines = try String(contentsOf: folder.appendingPathComponent("log.jsonl"), encoding: .utf8)
    #expect(lines == history.map { JSONValue.object($0).text(.compact) + "\n" }.joined() && history.count == 8)

    let files = try FileManager.default.contentsOfDirectory(atPath: folder.appendingPathComponent("tb").path)
    #expect(files.count == 1 && files[0].hasPrefix("events.out.tfevents."))
    let messages = try Self.messages(folder.appendingPathComponent("tb/\(files[0])"))
    #expect(messages.count == 1 + history.count)
    func tags(_ message: [UInt8]) -> [String] {
      ["train/loss", "train/grad_norm", "train/learning_rate", "eval/loss", "train/step", "eval/step"].filter {
        message.firstRange(of: Array($0.utf8)) != nil
      }
    }
    #expect(tags(messages[1]) == ["train/loss", "train/grad_norm", "train/learning_rate"])
    #expect(tags(messages[2]) == ["eval/loss"])
  }

  /// A resumed run continues its log, and tells TensorBoard from which step.
  @Test func aResumedRunReportsEachStepOnce() throws {
    let folder = try scratchFolder("reports-resumed")
    defer { try? FileManager.default.removeItem(at: folder) }
    func log() throws -> [Int?] {
      try String(contentsOf: folder.appendingPathComponent("log.jsonl"), encoding: .utf8).split(separator: "\n")
        .map { try JSONValue(parsing: String($0))["step"]?.integer }
    }
    try Self.run(folder).trainer.train()
    let whole = try log()
    let trainer = try Self.run(folder, eventFolder: "tb2").trainer
    // An incomplete line, as a killed process leaves it.
    try (Data(contentsOf: folder.appendingPathComponent("log.jsonl")).dropLast(20))
      .write(to: folder.appendingPathComponent("log.jsonl"))
    try trainer.resume(from: folder.appendingPathComponent("checkpoint-5"))
    try trainer.train()
    #expect(try log() == whole && whole == [2, 3, 4, 6, 6, 8, 9, 9])
    let tb = folder.appendingPathComponent("tb2")
    let file = try #require(try FileManager.default.contentsOfDirectory(atPath: tb.path).first)
    let messages = try Self.messages(tb.appendingPathComponent(file))
    #expect(messages.count == 1 + 1 + 5)
    #expect(messages[1].suffix(6) == [0x10, 6, 0x3A, 2, 8, 1])
  }

  @Test func aFailedReportDoesNotEndTheRun() throws {
    let folder = try scratchFolder("reports-failing")
    defer { try? FileManager.default.removeItem(at: folder) }
    try Data().write(to: folder.appendingPathComponent("file"))
    let (trainer, reports) = try Self.run(folder, eventFolder: "file/tb")
    #expect(try trainer.train() == .complete)
    let failures = reports.compactMap(\.failure)
    #expect(failures.count == 1 && failures[0].reason.contains("tensorBoardFolder"))
  }

  @Test func lossesAreRecorded() throws {
    let trainer = try TinyTrainer.trainer(rows: 0..<32, evaluationRows: 32..<40) {
      $0.evalStrategy = .steps
      $0.evalSteps = 4
    }
    let recorder = LossRecorder()
    trainer.callbacks = [recorder]
    try trainer.train()
    #expect(recorder.training.map(\.step) == Array(1...8))
    let logged = trainer.state.logHistory.compactMap { $0["loss"]?.double }
    #expect(recorder.training.map(\.loss) == logged)
    #expect(recorder.evaluation.map(\.step) == [4, 8])
    #expect(recorder.curve(title: "A run").training == recorder.training)
  }
}
