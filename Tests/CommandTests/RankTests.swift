import Foundation
import OrderedJSON
import Testing

/// `mpirun -n N swiftlet sft`: what several ranks learn, what they write, and how they end.
@Suite(.serialized) struct RankTests {
  /// More rows than one step uses, of different lengths.
  private static let rows = (0..<24).map { index in
    "{\"prompt\": \"Say \(index): \", \"completion\": \"\(String(repeating: "wise he is ", count: index % 5 + 1))\"}\n"
  }.joined()

  private static func workspace() throws -> Workspace {
    let workspace = try Workspace()
    try workspace.write("rows.jsonl", rows)
    return workspace
  }

  private static let adapter =
    "--use_peft --lora_r 4 --lora_dropout 0 --lora_target_modules all-linear --learning_rate 1e-3"
  private static let everyWeight = "--learning_rate 1e-3"

  /// Eight rows per step, whatever the number of ranks.
  private static func words(_ ranks: Int, _ method: String, _ more: String, steps: Int = 6) -> [String] {
    ("sft --model_name_or_path m --dataset_name rows.jsonl --eval_dataset rows.jsonl --max_length 64 \(method)"
      + " --per_device_train_batch_size \(8 / ranks) --per_device_eval_batch_size 2 --max_steps \(steps)"
      + " --logging_steps 1 --eval_strategy steps --eval_steps \(steps / 2) --save_steps 2 \(more)")
      .split(separator: " ").map(String.init)
  }

  private static func numbers(_ workspace: Workspace, _ folder: String) throws -> [[Double?]] {
    let history = try #require(try workspace.json("\(folder)/trainer_state.json")["log_history"]?.array)
    return history.map { entry in
      ["step", "loss", "grad_norm", "eval_loss", "num_tokens", "mean_token_accuracy"].map { entry[$0]?.double }
    }
  }

  private static func expectSameBytes(
    _ workspace: Workspace, _ a: String, _ b: String, _ method: String, steps: Int = 6
  ) throws {
    let weights = method == adapter ? "adapter_model.safetensors" : "model.safetensors"
    for file in [weights, "checkpoint-\(steps)/\(weights)", "checkpoint-\(steps)/optimizer.safetensors"] {
      #expect(try workspace.data("\(a)/\(file)") == workspace.data("\(b)/\(file)"), "\(file)")
    }
    #expect(try numbers(workspace, a) == numbers(workspace, b))
  }

  @Test(.timeLimit(.minutes(3)), arguments: [adapter, everyWeight])
  func fourRanksMatchOneProcess(_ method: String) async throws {
    let workspace = try Self.workspace()
    let alone = try await Command.run(Self.words(1, method, "--output_dir alone"), in: workspace)
    #expect(alone.status == 0, "\(alone.errors)")
    for name in ["once", "twice"] {
      let run = try await Launcher.run(
        4, Self.words(4, method, "--output_dir \(name) --questions [Yoda?] --max_new_tokens 4"), in: workspace)
      #expect(run.status == 0, "\(run.errors)")
      #expect(run.output == "")
      // Only one rank reports.
      #expect(run.errors.components(separatedBy: "step 6/6").count == 2, "\(run.errors)")
      #expect(run.errors.components(separatedBy: "4 on one host").count == 2, "\(run.errors)")
      #expect(run.errors.components(separatedBy: "validation loss before:").count == 2, "\(run.errors)")
    }
    let (one, four) = (try Self.numbers(workspace, "alone"), try Self.numbers(workspace, "once"))
    try #require(one.count == four.count && one.count == 8)
    for (a, b) in zip(one.joined(), four.joined()) {
      try #require((a == nil) == (b == nil))
      if let a, let b { #expect(abs(a - b) <= 1e-5 * max(abs(a), 1e-3), "\(b) instead of \(a)") }
    }
    try Self.expectSameBytes(workspace, "once", "twice", method)
    let left = try FileManager.default.contentsOfDirectory(atPath: workspace.url.appendingPathComponent("once").path)
    #expect(left.allSatisfy { !$0.hasPrefix(".") }, "\(left)")
  }

  @Test(.timeLimit(.minutes(3)), arguments: [adapter, everyWeight])
  func aRunWithAKilledRankResumesToTheSameBytes(_ method: String) async throws {
    let workspace = try Self.workspace()
    func words(_ more: String) -> [String] { Self.words(4, method, "--save_total_limit 2 \(more)", steps: 100) }
    let whole = try await Launcher.run(4, words("--output_dir whole"), in: workspace)
    #expect(whole.status == 0, "\(whole.errors)")
    let (folder, begin) = (workspace.url, ContinuousClock.now)
    let killed = try await Launcher.run(
      4, words("--output_dir out"), in: workspace, wrapper: "echo $$ > pid-$OMPI_COMM_WORLD_RANK"
    ) { _ in
      let checkpoint = folder.appendingPathComponent("out/checkpoint-6").path
      try await Self.wait { FileManager.default.fileExists(atPath: checkpoint) }
      kill(try Self.process(folder, 2), SIGKILL)
    }
    #expect(killed.status != 0 && !killed.errors.contains("step 100/100"))
    #expect(ContinuousClock.now - begin < .seconds(60), "the other ranks end soon")
    // `mpirun` gives those that are left another second.
    for rank in 0..<4 {
      let process = try Self.process(folder, rank)
      try await Self.wait { !Self.isRunning(process) }
    }
    let checkpoint = try #require(try Self.checkpoints(folder, "out").last)
    let resumed = try await Launcher.run(
      4, words("--output_dir out --resume_from_checkpoint out/\(checkpoint)"), in: workspace)
    #expect(resumed.status == 0, "\(resumed.errors)")
    try Self.expectSameBytes(workspace, "whole", "out", method, steps: 100)
  }

  @Test(.timeLimit(.minutes(3)), arguments: [adapter, everyWeight])
  func resumingWithAnotherNumberOfRanksIsNoted(_ method: String) async throws {
    let workspace = try Self.workspace()
    let four = try await Launcher.run(4, Self.words(4, method, "--output_dir four"), in: workspace)
    #expect(four.status == 0, "\(four.errors)")
    for ranks in [1, 2] {
      let words = Self.words(ranks, method, "--output_dir out\(ranks) --resume_from_checkpoint four/checkpoint-4")
      let run =
        try await ranks == 1
        ? Command.run(words, in: workspace) : Launcher.run(ranks, words, in: workspace)
      #expect(run.status == 0, "\(run.errors)")
      #expect(run.errors.contains("the checkpoint was saved with 4 ranks"), "\(run.errors)")
      for (a, b) in zip(
        try Self.numbers(workspace, "four").joined(), try Self.numbers(workspace, "out\(ranks)").joined())
      {
        if let a, let b { #expect(abs(a - b) <= 1e-5 * max(abs(a), 1e-3), "\(b) instead of \(a)") }
      }
    }
    // With the same batch size on fewer ranks, a step has fewer rows, so an epoch has more steps.
    let epochs = Self.words(4, method, "--output_dir epochs --num_train_epochs 2")
      .filter { $0 != "6" && $0 != "--max_steps" }
    let before = try await Launcher.run(4, epochs, in: workspace)
    #expect(before.status == 0, "\(before.errors)")
    let other = try await Launcher.run(2, epochs + ["--resume_from_checkpoint", "epochs/checkpoint-4"], in: workspace)
    #expect(other.status == 1)
    let sentence = "that run had 4 ranks with per_device_train_batch_size 2, and this one has 2"
    #expect(Launcher.sentences(other).first?.contains(sentence) == true, "\(other.errors)")
  }

  @Test(.timeLimit(.minutes(2))) func aSignalToAllRanksSavesACheckpoint() async throws {
    let workspace = try Self.workspace()
    let folder = workspace.url
    let run = try await Launcher.run(
      2, Self.words(2, Self.adapter, "--output_dir out --report_to jsonl", steps: 6000),
      in: workspace, wrapper: "echo $$ > pid-$OMPI_COMM_WORLD_RANK"
    ) { _ in
      let log = folder.appendingPathComponent("out/log.jsonl")
      try await Self.wait { ((try? Data(contentsOf: log))?.count ?? 0) > 0 }
      // One of them is enough.
      kill(try Self.process(folder, 1), SIGTERM)
    }
    #expect(run.status == 128 + SIGTERM, "\(run.errors)")
    #expect(run.errors.components(separatedBy: "Stopped after step ").count == 2, "\(run.errors)")
    #expect(run.errors.contains("Resume under mpirun with:"), "\(run.errors)")
    let checkpoint = try #require(try Self.checkpoints(folder, "out").last)
    #expect(run.errors.contains("The checkpoint is out/\(checkpoint)."), "\(run.errors)")
  }

  // MARK: Faults

  @Test(.timeLimit(.minutes(2))) func ranksThatDifferAreRefusedBeforeTheFirstStep() async throws {
    let workspace = try Self.workspace()
    try workspace.write("other-rows.jsonl", Self.rows.replacing("wise", with: "weise"))
    try workspace.model("other-m", family: "mistral")
    let cases = [
      ("1e-3/0.5", "rank 1 was started with another learning_rate than rank 0"),
      ("dataset_name rows/dataset_name other-rows", "rank 1 has other training rows than rank 0"),
      ("path m/path other-m", "rank 1 has other model weights than rank 0"),
    ]
    for (change, sentence) in cases {
      let run = try await Launcher.run(
        2, Self.words(2, Self.adapter, "--output_dir out"), in: workspace,
        wrapper: Self.changing(change, onRank: 1))
      #expect(run.status == 1, "\(run.errors)")
      let sentences = Launcher.sentences(run)
      #expect(sentences.count == 1 && sentences.first?.contains(sentence) == true, "\(sentences)")
      #expect(!workspace.exists("out/checkpoint-2"))
    }
  }

  @Test(.timeLimit(.minutes(2))) func anErrorIsPrintedOnlyOnce() async throws {
    let workspace = try Self.workspace()
    // All ranks find the same mistake.
    let mistyped = try await Launcher.run(3, ["sft", "--learning_rat", "1"], in: workspace)
    #expect(mistyped.status == 2)
    #expect(Launcher.sentences(mistyped).count == 1, "\(mistyped.errors)")
    // The model is missing on one host only.
    let begin = ContinuousClock.now
    let missing = try await Launcher.run(
      3, Self.words(2, Self.adapter, "--output_dir out"), in: workspace,
      wrapper: Self.changing("path m/path gone", onRank: 2))
    #expect(missing.status == 1)
    let sentences = Launcher.sentences(missing)
    #expect(sentences.count == 1, "\(missing.errors)")
    #expect(sentences.first?.hasPrefix("Rank 2 on ") == true && sentences.first?.contains("gone") == true)
    #expect(ContinuousClock.now - begin < .seconds(30))
  }

  /// A limit on file sizes has the effect of a full disk.
  @Test(.timeLimit(.minutes(2))) func aFailedSaveOnRankZeroEndsAllRanks() async throws {
    let workspace = try Self.workspace()
    let run = try await Launcher.run(
      2, Self.words(2, Self.adapter, "--output_dir out"), in: workspace,
      // Shared memory is in files as well.
      environment: ["OMPI_MCA_btl": "self,tcp"], wrapper: "if [ $OMPI_COMM_WORLD_RANK = 0 ]; then ulimit -f 64; fi")
    #expect(run.status == 1, "\(run.errors)")
    let sentences = Launcher.sentences(run)
    #expect(sentences.count == 1, "\(run.errors)")
    #expect(sentences.first?.contains("checkpoint-2 could not be saved") == true, "\(sentences)")
    #expect(!workspace.exists("out/checkpoint-2") && !workspace.exists("out/.checkpoint-2.partial"))
  }

  @Test(.timeLimit(.minutes(1))) func aMissingBridgeIsNamed() async throws {
    let workspace = try Self.workspace()
    let outcome = try await Command.run(
      Self.words(2, Self.adapter, "--output_dir out"), in: workspace,
      environment: ["OMPI_COMM_WORLD_SIZE": "2", "SWIFTLET_MPI": "/nowhere/libswiftlet_mpi.so"])
    #expect(outcome.status == 1)
    #expect(outcome.errors.contains("make mpi"), "\(outcome.errors)")
  }

  @Test(.timeLimit(.minutes(1))) func mpiIsNotLoadedWithoutALauncher() async throws {
    let workspace = try Self.workspace()
    let outcome = try await Command.run(
      Self.words(1, Self.adapter, "--output_dir out"), in: workspace,
      environment: ["SWIFTLET_MPI": "/nowhere/libswiftlet_mpi.so"])
    #expect(outcome.status == 0, "\(outcome.errors)")
    #expect(!outcome.errors.contains("rank"))
  }

  @Test(.timeLimit(.minutes(1)), arguments: ["gpu", "gpu:0"]) func ranksDoNotShareAGPU(_ device: String) async throws {
    let workspace = try Self.workspace()
    // Whatever this machine has, the ranks find no GPU.
    let outcome = try await Launcher.run(
      2, Self.words(2, Self.adapter, "--output_dir out --device \(device)"), in: workspace,
      environment: ["VK_DRIVER_FILES": "/nowhere", "VK_ICD_FILENAMES": "/nowhere"])
    #expect(outcome.status == 1)
    let sentences = Launcher.sentences(outcome)
    #expect(sentences.count == 1 && sentences.first?.contains("2 ranks run on this host") == true, "\(sentences)")
  }

  // MARK: Tools

  /// What makes one rank replace words of its command line: `old/new`.
  private static func changing(_ change: String, onRank rank: Int) -> String {
    "if [ $OMPI_COMM_WORLD_RANK = \(rank) ]; then set -- $(echo \"$@\" | sed 's/\(change)/'); fi"
  }

  /// The process of a rank whose wrapper wrote its number to `pid-RANK`.
  private static func process(_ folder: URL, _ rank: Int) throws -> Int32 {
    let text = try String(contentsOf: folder.appendingPathComponent("pid-\(rank)"), encoding: .utf8)
    return try #require(Int32(text.trimmingCharacters(in: .whitespacesAndNewlines)))
  }

  /// Whether a process is still running, rather than a zombie that its parent has not reaped.
  private static func isRunning(_ process: Int32) -> Bool {
    guard kill(process, 0) == 0 else { return false }
    return (try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8))?.contains(") Z ") != true
  }

  private static func checkpoints(_ folder: URL, _ output: String) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: folder.appendingPathComponent(output).path)
      .filter { $0.hasPrefix("checkpoint-") }
      .sorted { Int($0.dropFirst(11)) ?? 0 < Int($1.dropFirst(11)) ?? 0 }
  }

  private static func wait(for condition: @Sendable () -> Bool) async throws {
    let deadline = ContinuousClock.now + .seconds(60)
    while !condition() {
      try #require(ContinuousClock.now < deadline, "the run did not get that far within a minute")
      try await Task.sleep(for: .milliseconds(5))
    }
  }
}
