import Foundation
import OrderedJSON
import TestSupport
import Testing

/// `grpo` with a program as its reward, as a user runs it.
@Suite struct GRPOTests {
  private static let keys =
    "--model_name_or_path m --dataset_name rows.jsonl --use_peft --lora_r 4 --lora_target_modules all-linear"
    + " --learning_rate 1e-3 --num_generations 4 --max_completion_length 8 --logging_steps 1 --max_steps 3"
    + " --eval_dataset rows.jsonl --verification_answers 2"

  /// A workspace with a program that gives longer lines more.
  private static func workspace(_ body: String = "awk '{ print length($0) / 100 }'") throws -> Workspace {
    let workspace = try Workspace()
    try Program.writeScript(body, to: workspace.url.appendingPathComponent("score.sh"))
    return workspace
  }

  @Test func aRunLogsRewardsAndResumesToTheSameBytes() async throws {
    let workspace = try Self.workspace()
    let call =
      "grpo \(Self.keys) --reward_funcs ./score.sh soft_overlong_punishment --save_steps 1 --steps_per_generation 2"
      + " --eval_strategy steps --eval_steps 3"
    let run = try await workspace.run(line: "\(call) --output_dir out")
    #expect(run.status == 0, "\(run.errors)")
    #expect(run.errors.contains("step 1/3  reward ") && run.errors.contains("step 3: validation reward "))
    let history = try #require(try workspace.json("out/trainer_state.json")["log_history"]?.array)
    let steps = history.filter { $0["loss"] != nil }
    // Completions are sampled for two steps at a time.
    #expect(steps.map { $0["reward"] != nil } == [true, false, true])
    for key in [
      "reward_std", "rewards/score/mean", "rewards/soft_overlong_punishment_reward/std", "frac_reward_zero_std",
      "completions/mean_length", "completions/clipped_ratio", "entropy", "clip_ratio/region_mean",
    ] {
      #expect(steps[0][key]?.double != nil, "\(key)")
    }
    #expect(steps[0]["rewards/score/mean"]?.double ?? 0 > 0.1)
    #expect(history.contains { $0["eval_reward"]?.double != nil })
    #expect(workspace.exists("out/checkpoint-1/completions.json"))
    #expect(!workspace.exists("out/checkpoint-2/completions.json"))

    let resumed = try await workspace.run(line: "\(call) --output_dir again --resume_from_checkpoint out/checkpoint-1")
    #expect(resumed.status == 0, "\(resumed.errors)")
    for name in ["adapter_model.safetensors", "checkpoint-3/optimizer.safetensors"] {
      #expect(try workspace.data("out/\(name)") == workspace.data("again/\(name)"), "\(name)")
    }
    try workspace.remove("out/checkpoint-1/completions.json")
    let missing = try await workspace.run(line: "\(call) --output_dir other --resume_from_checkpoint out/checkpoint-1")
    #expect(missing.status == 1 && missing.errors.contains("completions that the next step learns from are missing"))
  }

  @Test func faultsAreOneSentence() async throws {
    let workspace = try Self.workspace("echo 1")
    let faults = [
      ("--reward_funcs ./score.sh", "printed 1 lines for 8 completions"), ("", "grpo needs reward_funcs"),
      ("--reward_funcs ./none.py", "neither a built-in reward"), ("--reward_funcs accuracy_reward", "\"solution\""),
      ("--reward_funcs think_format_reward --per_device_train_batch_size 80", "a batch needs 20"),
    ]
    for (keys, expected) in faults {
      let run = try await workspace.run(line: "grpo \(Self.keys) --output_dir out \(keys)")
      #expect(run.status == 1 || run.status == 2)
      #expect(run.errors.contains(expected), "\(keys): \(run.errors)")
    }
  }

  @Test func otherCommandsTakeTheRecipe() async throws {
    let workspace = try Self.workspace()
    let keys = "--method grpo \(Self.keys) --reward_funcs ./score.sh"
    let plan = try await workspace.run(line: "plan \(keys)").text()
    #expect(plan.contains("without sampling the completions"))
    let preview = try await workspace.run(line: "preview \(keys) --json").json()
    #expect(!preview.text().isEmpty)
  }
}
