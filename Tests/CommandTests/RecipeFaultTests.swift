import Foundation
import Testing

/// Recipes and command lines of `sft` that cannot be carried out.
@Suite struct RecipeFaultTests {
  /// Keys on the command line, after a valid model, rows and adapter.
  private static func keys(_ keys: String, status: Int32 = 2, _ mentions: String...) -> Fault {
    Fault(
      keys, status: status, "sft --model_name_or_path m --dataset_name rows.jsonl --use_peft --output_dir out \(keys)",
      mentions: mentions)
  }

  /// Lines of a YAML recipe that has those already.
  private static func yaml(_ lines: String, status: Int32 = 2, _ mentions: String...) -> Fault {
    Fault("YAML: \(lines)", status: status, "sft --config recipe.yaml", mentions: mentions) {
      try $0.write(
        "recipe.yaml",
        "model_name_or_path: m\ndataset_name: rows.jsonl\nuse_peft: true\noutput_dir: out\nmax_steps: 1\n\(lines)\n")
    }
  }

  /// A whole recipe file.
  private static func file(_ name: String, _ text: String, _ mentions: String...) -> Fault {
    Fault(name, status: 2, "sft --config recipe.yaml", mentions: ["recipe.yaml"] + mentions) {
      try $0.write("recipe.yaml", text)
    }
  }

  static let faults = [
    keys("--learning_rat 1e-4", "key learning_rat;", "did you mean learning_rate?"),
    keys("--lora-rr 4", "lora_rr", "did you mean lora_r?"),
    keys("--learning_rate fast", "learning_rate", "\"fast\"", "a number"),
    keys("--learning_rate -1", "learning_rate", "above 0"),
    keys("--learning_rate 1e-4 --learning_rate 1e-5", "learning_rate", "twice"),
    keys("--learning_rate", "learning_rate"),
    keys("--num_train_epochs nan", "num_train_epochs"),
    keys("--lora_r 0", "lora_r", "from 1"),
    keys("--lora_r 1.5", "lora_r", "an integer"),
    keys("--lora_dropout 1", "lora_dropout"),
    keys("--max_length 1", "max_length", "at least 2"),
    keys("--per_device_train_batch_size 0", "per_device_train_batch_size"),
    keys("--warmup_ratio 3", "warmup_ratio"),
    keys("--optim galore_adamw", "optim", "adamw_torch"),
    keys("--lr_scheduler_type wavy", "lr_scheduler_type", "cosine"),
    keys("--seed -1", "seed"),
    keys("--packing maybe", "packing", "true or false"),
    keys("--test_split_size 0", "test_split_size"),
    keys("--output_dir", "output_dir"),
    keys("--load_best_model_at_end true", "load_best_model_at_end", "eval_strategy"),
    keys("--report_to wandb", "report_to", "wandb", "tensorboard", "jsonl"),
    keys("--early_stopping_patience 2", "early_stopping_patience", "load_best_model_at_end"),
    keys("--label_smoothing_factor 1", "label_smoothing_factor", "below 1"),
    keys("--label_smoothing_factor 0.1 --loss_type dft", "label_smoothing_factor", "loss_type"),
    keys("--questions [{txt:a}]", "questions[0]"),
    keys("--test_split_size 100", status: 1, "100"),
    keys("--lora_target_modules nope", status: 1, "target_modules", "q_proj"),
    keys("--lora_modules_to_save nope", status: 1, "nope"),
    keys("--eos_token <nope>", status: 1, "eos_token", "<nope>"),
    keys("--assistant_only_loss true", status: 1, "rows.jsonl", "line 1", "assistant_only_loss"),
    keys("--resume_from_checkpoint nowhere", status: 1, "nowhere"),
    keys("--resume_from_checkpoint true", status: 1, "checkpoint"),
    keys("--questions none.txt", status: 1, "none.txt"),
    keys("--chat_template_path none.jinja", status: 1, "chat_template_path", "none.jinja"),
    yaml("lora_rr: 4", "recipe.yaml, line 6", "did you mean lora_r?"),
    yaml("lora_r: four", "recipe.yaml, line 6", "lora_r", "an integer"),
    yaml("lora_r: 4\nlora_r: 5", "recipe.yaml, line ", "lora_r", "twice"),
    yaml("load_in_8bit: true", "recipe.yaml, line 6", "load_in_8bit"),
    yaml("deepspeed: zero3.json", "recipe.yaml, line 6", "deepspeed"),
    yaml("packing: true\nmax_length: null", "recipe.yaml", "packing", "max_length"),
    yaml("save_strategy: never", "recipe.yaml, line 6", "save_strategy"),
    yaml("steps: 3", "recipe.yaml, line 6", "steps"),
    yaml("steps: [{shuffl: 3}]", "steps[0]", "did you mean shuffle?"),
    yaml("steps: [{shuffle: x}]", "steps[0].shuffle", "an integer"),
    yaml("steps: [{select: 0}]", "steps[0].select"),
    yaml("steps: [{filter: x}]", "steps[0].filter"),
    yaml("steps: [{rename_columns: {nope: prompt}}]", status: 1, "rows.jsonl", "\"nope\"", "completion"),
    yaml("steps: [{template: '{nope}'}]", status: 1, "rows.jsonl", "\"nope\""),
    file("an empty recipe", "", "model_name_or_path"),
    file("a recipe without rows", "model_name_or_path: m\n", "dataset_name"),
    file("an open bracket", "lora_target_modules: [q_proj,\n", "line 2"),
    file("a tab", "\tlora_r: 4\n", "line 1"),
    file("an alias of nothing", "lora_r: *four\n", "line 1"),
    file("a list", "- 1\n- 2\n"),
    file("only text", "train, please\n"),
    Fault("a recipe that is not there", status: 2, "sft --config none.yaml", mentions: ["none.yaml"]),
    Fault(
      "a recipe that is a folder", status: 2, "sft --config m", mentions: ["m: is a directory, not a regular file"]),
    Fault("a recipe that is not UTF-8", status: 2, "sft --config recipe.yaml", mentions: ["recipe.yaml", "UTF-8"]) {
      try $0.write("recipe.yaml", Data([0x61, 0x3A, 0xFF, 0xFE]))
    },
    Fault("no recipe named", status: 2, "sft --config", mentions: ["--config"]),
    Fault("no keys at all", status: 2, "sft", mentions: ["model_name_or_path"]),
    Fault(
      "an output folder that is a file", status: 1,
      "sft --model_name_or_path m --dataset_name rows.jsonl --output_dir rows.jsonl",
      mentions: ["output_dir", "rows.jsonl"]),
    Fault(
      "an output folder below a file", status: 1,
      "sft --model_name_or_path m --dataset_name rows.jsonl --output_dir rows.jsonl/out",
      mentions: ["output_dir", "rows.jsonl/out"]),
    Fault(
      "a chat template that is broken", status: 1,
      "sft --model_name_or_path m --dataset_name rows.jsonl --output_dir out --chat_template_path bad.jinja",
      mentions: ["template", "line 1"]
    ) { try $0.write("bad.jinja", "{% for x in") },
    Fault(
      "a checkpoint of another run", status: 1,
      "sft --model_name_or_path m --dataset_name rows.jsonl --output_dir out --resume_from_checkpoint old",
      mentions: ["old", "trainer_state.json"]
    ) { try $0.write("old/trainer_state.json", "{\"global_step\": ") },
  ]

  @Test(arguments: faults) func isOneSentence(_ fault: Fault) async throws { try await fault.check() }

  @Test func aNonFiniteLossKeepsTheLastCheckpoint() async throws {
    let workspace = try Workspace()
    let outcome = try await workspace.run(
      line: "sft --model_name_or_path m --dataset_name rows.jsonl --use_peft --output_dir out --max_steps 4 "
        + "--save_steps 1 --learning_rate 1e30 --lora_target_modules all-linear")
    #expect(outcome.status == 1)
    #expect(!outcome.wasKilled)
    let sentence = outcome.errors.split(separator: "\n").first { $0.hasPrefix("Error: ") } ?? ""
    #expect(sentence.contains("not a finite number at step 2, rows 1, 2, 4, 3"))
    #expect(sentence.contains("learning_rate"))
    #expect(workspace.exists("out/checkpoint-1/adapter_model.safetensors"))
    #expect(!workspace.exists("out/checkpoint-2"))
    #expect(!workspace.exists("out/adapter_model.safetensors"))
    // The remaining checkpoint is intact.
    _ = try await workspace.run(line: "eval --model m --adapter out/checkpoint-1 --data rows.jsonl --json").json()
  }
}
