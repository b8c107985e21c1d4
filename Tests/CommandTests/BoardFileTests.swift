import Foundation
import OrderedJSON
import Testing

/// What a run writes for the board, and what it does when it is asked.
@Suite struct BoardFileTests {
  private static let keys =
    "--use_peft --lora_r 4 --lora_target_modules all-linear --learning_rate 1e-3 --max_length 64"
    + " --per_device_train_batch_size 2 --logging_steps 1 --save_strategy no"

  private static func lines(_ workspace: Workspace, _ name: String) throws -> [JSONValue] {
    try String(decoding: workspace.data(name), as: UTF8.self).split(separator: "\n").map {
      try JSONValue(parsing: String($0))
    }
  }

  @Test func aRunTellsOfItself() async throws {
    let workspace = try Workspace()
    try await workspace.train("\(Self.keys) --max_steps 3 --eval_dataset rows.jsonl --eval_strategy epoch", to: "out")
    let run = try workspace.json("out/board/run.json")
    #expect(run["status"]?.string == "complete" && run["step"]?.integer == 3 && run["max_steps"]?.integer == 3)
    #expect(run["command"]?.array?.first?.string == "sft" && run["method"]?.string == "sft")
    #expect(run["directory"]?.string == workspace.url.resolvingSymlinksInPath().path)
    #expect(
      run["base"]?.string == workspace.url.resolvingSymlinksInPath().appendingPathComponent("m").path
        || run["base"]?.string == workspace.url.appendingPathComponent("m").path)
    #expect(run["recipe"]?.string?.contains("lora_r: 4\n") == true)
    #expect((run["peak_memory"]?.integer ?? 0) > 1_000_000)
    let log = try Self.lines(workspace, "out/board/log.jsonl")
    let history = try #require(try workspace.json("out/trainer_state.json")["log_history"]?.array)
    #expect(log.count == history.count)
    for (entry, logged) in zip(log, history) {
      #expect(
        entry["step"] == logged["step"] && entry["loss"] == logged["loss"] && entry["eval_loss"] == logged["eval_loss"])
      if entry["loss"] != nil { #expect((entry["tokens_per_second"]?.double ?? 0) > 0) }
    }
    #expect((try workspace.json("out/board/plan.json")["memory"]?["total"]?.integer ?? 0) > 0)
    let rows = try #require(try workspace.json("out/board/rows.json").array)
    #expect(rows.count == 4)
    func text(_ row: JSONValue, trained: Bool) -> String {
      (row["parts"]?.array ?? []).flatMap { $0.array ?? [] }.filter { $0["trained"]?.bool == trained }
        .compactMap { $0["text"]?.string }.joined()
    }
    #expect(text(rows[0], trained: false) == "Say it: ")
    #expect(text(rows[0], trained: true).hasPrefix("你好，世界"))
    let left = try FileManager.default.contentsOfDirectory(
      atPath: workspace.url.appendingPathComponent("out/board").path)
    #expect(left.sorted() == ["lock", "log.jsonl", "plan.json", "rows.json", "run.json"])
  }

  private static func wait(for condition: @Sendable () -> Bool) async throws {
    let deadline = ContinuousClock.now + .seconds(90)
    while !condition() {
      try #require(ContinuousClock.now < deadline, "the run did not get that far")
      try await Task.sleep(for: .milliseconds(5))
    }
  }

  /// Both requests end the run: one with a checkpoint to go on from, the other with a result.
  @Test(.timeLimit(.minutes(4)), arguments: ["pause", "stop"]) func aRunDoesAsItIsAsked(_ request: String) async throws
  {
    let workspace = try Workspace()
    let line = "sft --model_name_or_path m --dataset_name rows.jsonl --output_dir out --max_steps 100000 \(Self.keys)"
    // Left over from an earlier run; not meant for this one.
    try workspace.write("out/board/request", "stop\n")
    let log = workspace.url.appendingPathComponent("out/board/log.jsonl")
    let outcome = try await Command.run(line.split(separator: " ").map(String.init), in: workspace) { _ in
      try await Self.wait { ((try? Data(contentsOf: log))?.count ?? 0) > 2000 }
      try Data("\(request)\n".utf8).write(to: workspace.url.appendingPathComponent("out/board/request"))
    }
    let run = try workspace.json("out/board/run.json")
    #expect((run["step"]?.integer ?? 0) > 3 && (run["step"]?.integer ?? 0) < 100_000)
    if request == "pause" {
      #expect(outcome.status == 143 && run["status"]?.string == "paused", "\(outcome.errors)")
      #expect(!workspace.exists("out/adapter_model.safetensors"))
      let checkpoint = try #require(run["checkpoint"]?.string)
      // The run that goes on keeps the log, with its speeds.
      let before = try Self.lines(workspace, "out/board/log.jsonl")
      let size = try workspace.data("out/board/log.jsonl").count
      let again = line + " --resume_from_checkpoint out/\(checkpoint)"
      let resumed = try await Command.run(again.split(separator: " ").map(String.init), in: workspace) { _ in
        try await Self.wait { ((try? Data(contentsOf: log))?.count ?? 0) > size }
        try Data("stop\n".utf8).write(to: workspace.url.appendingPathComponent("out/board/request"))
      }
      #expect(resumed.status == 0, "\(resumed.errors)")
      let after = try Self.lines(workspace, "out/board/log.jsonl")
      #expect(after.prefix(before.count) == before[...] && after.count > before.count)
      #expect(try workspace.json("out/board/run.json")["first_step"] == run["step"])
    } else {
      #expect(outcome.status == 0 && run["status"]?.string == "stopped", "\(outcome.errors)")
      #expect(workspace.exists("out/adapter_model.safetensors"))
    }
  }

  @Test func aFailureIsTold() async throws {
    let workspace = try Workspace()
    try workspace.write("bad.jsonl", "{\"other\": 1}\n")
    let outcome = try await workspace.run(
      line: "sft --model_name_or_path m --dataset_name bad.jsonl --output_dir out \(Self.keys)")
    #expect(outcome.status == 1)
    let run = try workspace.json("out/board/run.json")
    #expect(run["status"]?.string == "failed" && run["error"]?.string?.contains("bad.jsonl") == true)
  }

  @Test func theBoardOfARunEndsWithIt() async throws {
    let workspace = try Workspace()
    let outcome = try await workspace.run(
      line: "sft --model_name_or_path m --dataset_name rows.jsonl --output_dir out --max_steps 2 --board \(Self.keys)")
    #expect(outcome.status == 0 && outcome.errors.contains("is at http://127.0.0.1:"), "\(outcome.errors)")
  }
}
