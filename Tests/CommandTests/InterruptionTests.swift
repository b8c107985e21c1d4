import Foundation
import OrderedJSON
import Testing

/// Training runs that a signal or a full disk interrupts, and that resume as if uninterrupted.
/// `Scripts/kill-and-resume` does the same fifty times.
@Suite(.serialized) struct InterruptionTests {
  private static let keys =
    "--use_peft --lora_r 4 --lora_dropout 0.1 --lora_target_modules all-linear --learning_rate 1e-3 --max_length 64"
    + " --per_device_train_batch_size 2 --logging_steps 3 --report_to jsonl"

  /// A run of many quick steps that saves often.
  private static func words(_ more: String, steps: Int = 300, saveSteps: Int = 7) -> [String] {
    ("sft --model_name_or_path m --dataset_name rows.jsonl --max_steps \(steps) --save_steps \(saveSteps) \(keys) "
      + more).split(separator: " ").map(String.init)
  }

  /// The newest checkpoint in `folder`, as a relative path.
  private static func newest(_ workspace: Workspace, _ folder: String) -> String? {
    let names =
      (try? FileManager.default.contentsOfDirectory(
        atPath: workspace.url.appendingPathComponent(folder).path)) ?? []
    let steps = names.compactMap { $0.hasPrefix("checkpoint-") ? Int($0.dropFirst(11)) : nil }
    return steps.max().map { "\(folder)/checkpoint-\($0)" }
  }

  /// What two runs must have in common: the adapter, and the log without times.
  private static func expectSame(_ workspace: Workspace, _ a: String, _ b: String) throws {
    func log(_ folder: String) throws -> [String] {
      let history = try #require(try workspace.json("\(folder)/trainer_state.json")["log_history"]?.array)
      let lines = String(decoding: try workspace.data("\(folder)/log.jsonl"), as: UTF8.self)
      #expect(lines == history.map { $0.text(.compact) + "\n" }.joined())
      return history.map {
        var entry = $0.object ?? JSONObject()
        entry["elapsed_s"] = nil
        return JSONValue.object(entry).text()
      }
    }
    #expect(try workspace.data("\(a)/adapter_model.safetensors") == workspace.data("\(b)/adapter_model.safetensors"))
    #expect(try log(a) == log(b))
    let left = try FileManager.default.contentsOfDirectory(atPath: workspace.url.appendingPathComponent(b).path)
    #expect(left.allSatisfy { !$0.hasPrefix(".") }, "\(left)")
  }

  /// Waits for a condition, but not longer than a minute. The watchdog of `Command.run` then ends the command.
  private static func wait(for condition: @Sendable () -> Bool) async throws {
    let deadline = ContinuousClock.now + .seconds(60)
    while !condition() {
      try #require(ContinuousClock.now < deadline, "the run did not get that far within a minute")
      try await Task.sleep(for: .milliseconds(1))
    }
  }

  @Test(.timeLimit(.minutes(3)), arguments: [SIGINT, SIGTERM])
  func aSignalSavesAndTheLineItShowsGoesOn(_ number: Int32) async throws {
    let workspace = try Workspace()
    let whole = try await Command.run(Self.words("--output_dir whole"), in: workspace)
    #expect(whole.status == 0, "\(whole.errors)")
    let words = Self.words("--output_dir out --save_strategy no --resume-from-checkpoint=false")
      .filter { $0 != "--save_steps" && $0 != "7" }
    let log = workspace.url.appendingPathComponent("out/log.jsonl")
    let outcome = try await Command.run(words, in: workspace) { process in
      try await Self.wait { ((try? Data(contentsOf: log))?.count ?? 0) > 0 }
      kill(process, number)
    }
    #expect(outcome.status == 128 + number && !outcome.wasKilled, "\(outcome.errors)")
    #expect(outcome.output == "")
    let checkpoint = try #require(Self.newest(workspace, "out"))
    let lines = outcome.errors.split(separator: "\n").map(String.init)
    #expect(lines.contains { $0.hasPrefix("Stopped after step ") && $0.contains(checkpoint) }, "\(outcome.errors)")
    #expect(!workspace.exists("out/adapter_model.safetensors"))
    // The last line is the command to resume with.
    let typed = try #require(lines.last).split(separator: " ").map(String.init)
    #expect(typed.first == Command.executable.path && typed.suffix(2) == ["--resume_from_checkpoint", checkpoint])
    let resumed = try await Command.run(Array(typed.dropFirst()), in: workspace)
    #expect(resumed.status == 0, "\(resumed.errors)")
    try Self.expectSame(workspace, "whole", "out")
  }

  @Test(.timeLimit(.minutes(1))) func aSecondSignalLeavesAtOnce() async throws {
    let workspace = try Workspace()
    let log = workspace.url.appendingPathComponent("out/log.jsonl")
    // Steps so long that the first signal cannot have ended the run yet.
    let words = Self.words("--output_dir out --gradient_accumulation_steps 4000 --num_train_epochs 4000")
    let outcome = try await Command.run(words, in: workspace) { process in
      try await Self.wait { FileManager.default.fileExists(atPath: log.path) }
      kill(process, SIGINT)
      try await Task.sleep(for: .milliseconds(200))
      kill(process, SIGINT)
    }
    #expect(outcome.status == 130)
    #expect(outcome.errors.contains("Press Ctrl-C again to quit without saving"))
  }

  /// Killed in the middle of saves and elsewhere.
  @Test(.timeLimit(.minutes(3))) func aKilledRunEndsInTheSameBytes() async throws {
    let workspace = try Workspace()
    let whole = try await Command.run(Self.words("--output_dir whole"), in: workspace)
    #expect(whole.status == 0, "\(whole.errors)")
    var kills = 0
    for attempt in 1...12 {
      let checkpoint = Self.newest(workspace, "out")
      let resume = checkpoint.map { " --resume_from_checkpoint \($0)" } ?? ""
      let step = checkpoint.flatMap { Int($0.split(separator: "-").last ?? "") } ?? 0
      let output = workspace.url.appendingPathComponent("out").path
      let outcome = try await Command.run(Self.words("--output_dir out" + resume), in: workspace) { process in
        guard attempt <= 6 else { return }
        // Two saves later: during a save, or some milliseconds after it started.
        try await Self.wait { FileManager.default.fileExists(atPath: "\(output)/checkpoint-\(step + 7)") }
        try await Self.wait { FileManager.default.fileExists(atPath: "\(output)/.checkpoint-\(step + 14).partial") }
        if attempt.isMultiple(of: 2) { try await Task.sleep(for: .milliseconds(3 * attempt)) }
        kill(process, SIGKILL)
      }
      if outcome.wasKilled {
        kills += 1
      } else {
        #expect(outcome.status == 0, "\(outcome.errors)")
        break
      }
    }
    #expect(kills == 6)
    try Self.expectSame(workspace, "whole", "out")
  }

  /// A file size limit below the size of the optimizer state has the same effect as a full disk.
  @Test(.timeLimit(.minutes(2))) func aSaveThatFailsLeavesTheCheckpointBefore() async throws {
    let workspace = try Workspace()
    let words = Self.words("--output_dir out", steps: 20, saveSteps: 10)
    let whole = try await Command.run(
      Self.words("--output_dir whole", steps: 20, saveSteps: 10), in: workspace)
    #expect(whole.status == 0, "\(whole.errors)")
    let out = workspace.url.appendingPathComponent("out")
    try FileManager.default.createDirectory(at: out, withIntermediateDirectories: true)
    let checkpoint = "checkpoint-10"
    try FileManager.default.copyItem(
      at: workspace.url.appendingPathComponent("whole/\(checkpoint)"), to: out.appendingPathComponent(checkpoint))
    let resume = ["--resume_from_checkpoint", "out/\(checkpoint)"]
    // Blocks of 512 bytes: 32 kB, while the state has some 60 kB.
    let outcome = try await Command.run(words + resume, in: workspace, limits: "ulimit -f 64")
    #expect(outcome.status == 1 && !outcome.wasKilled, "\(outcome.errors)")
    let sentences = outcome.errors.split(separator: "\n").filter { $0.hasPrefix("Error: ") }
    #expect(sentences.count == 1)
    #expect(sentences.first?.contains("checkpoint-20 could not be saved") == true, "\(outcome.errors)")
    #expect(sentences.first?.contains("out/checkpoint-10 is complete") == true, "\(outcome.errors)")
    #expect(!workspace.exists("out/checkpoint-20") && !workspace.exists("out/.checkpoint-20.partial"))
    let resumed = try await Command.run(words + resume, in: workspace)
    #expect(resumed.status == 0, "\(resumed.errors)")
    try Self.expectSame(workspace, "whole", "out")
  }

  /// Answers during a run are kept when it is resumed.
  @Test(.timeLimit(.minutes(3))) func questionsAreAnsweredAlongTheRun() async throws {
    let workspace = try Workspace()
    let words = Self.words(
      "--output_dir out --eval_dataset rows.jsonl --eval_strategy steps --eval_steps 6 --max_new_tokens 4"
        + " --questions [你好,Yoda?]", steps: 12, saveSteps: 6)
    func steps() throws -> [[Int?]?] {
      try #require(try workspace.json("out/questions.json").array).map {
        $0["answers"]?.array?.map { $0["step"]?.integer }
      }
    }
    let run = try await Command.run(words, in: workspace)
    #expect(run.status == 0, "\(run.errors)")
    #expect(try steps() == [[0, 6, 12], [0, 6, 12]])
    let before = try workspace.json("out/questions.json")
    #expect(before.array?.map { $0["question"]?.string } == ["你好", "Yoda?"])
    let table = String(decoding: try workspace.data("out/questions.md"), as: UTF8.self)
    #expect(table.hasPrefix("| question | before | after 6 steps | after 12 steps |"))
    #expect(run.errors.contains("after 6 steps") && run.errors.contains("after 12 steps"))
    let answer = try await workspace.run(
      line: "generate --model m --max-new-tokens 4 --json --prompt Yoda?"
    ).json()["text"]?.string
    let first = before.array?.last?["answers"]?.array?.first?["answer"]?.string
    #expect(first == answer?.trimmingCharacters(in: .whitespacesAndNewlines))

    let resumed = try await Command.run(words + ["--resume_from_checkpoint", "out/checkpoint-6"], in: workspace)
    #expect(resumed.status == 0, "\(resumed.errors)")
    #expect(try workspace.json("out/questions.json") == before)
    // If the earlier answers are gone, the base model answers again.
    try workspace.remove("out/questions.json")
    let again = try await Command.run(words + ["--resume_from_checkpoint", "out/checkpoint-6"], in: workspace)
    #expect(again.status == 0, "\(again.errors)")
    #expect(try steps() == [[0, 12], [0, 12]])
    #expect(try workspace.json("out/questions.json").array?.last?["answers"]?.array?.first?["answer"]?.string == first)
  }
}
