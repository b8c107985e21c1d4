import Foundation
import OrderedJSON
import Testing

/// Recipes and calls as TRL's documentation has them, worded by us, run with only model and data replaced:
/// Documentation/TRL.md lists where each comes from.
@Suite struct TRLRecipeTests {
  let workspace: Workspace

  init() throws {
    workspace = try Workspace()
    // The columns and splits of stanfordnlp/imdb and trl-lib/Capybara.
    for (split, count) in [("train", 6), ("test", 2)] {
      let reviews = (0..<count).map { #"{"text": "A film of \#($0) hours.", "label": \#($0 % 2)}"# + "\n" }
      try workspace.write("imdb/\(split).jsonl", reviews.joined())
      let chats = (0..<count).map { number in
        #"{"source": "Capybara", "messages": [{"role": "user", "content": "And \#(number)?"}, "#
          + #"{"role": "assistant", "content": "Even \#(number)."}], "num_turns": 1}"# + "\n"
      }
      try workspace.write("Capybara/\(split).jsonl", chats.joined())
    }
  }

  @Test(arguments: [
    "",
    """
    env:
      CUDA_VISIBLE_DEVICES: 0
    report_to:
      none
    learning_rate:
      0.0001
    lr_scheduler_type:
      cosine
    """,
    "num_processes: 1\naccelerate_config: single_gpu",
  ])
  func configurationFiles(keys: String) async throws {
    try workspace.write(
      "sft_config.yaml", "model_name_or_path: Qwen/Qwen2.5-0.5B\ndataset_name: stanfordnlp/imdb\n\(keys)\n")
    let run = try await workspace.run(
      line: "sft --config sft_config.yaml --model_name_or_path m --dataset_name imdb --output_dir out --max_steps 2")
    #expect(run.status == 0, "\(run.errors)")
    #expect(try workspace.json("out/trainer_state.json")["global_step"] == 2)
    #expect(try workspace.json("out/preparation_report.json")["kept_rows"] == 6)
  }

  @Test(arguments: ["", "--use_peft --lora_r 32 --lora_alpha 16"])
  func scriptInvocations(adapter: String) async throws {
    let line = """
      sft --model_name_or_path m --dataset_name Capybara --learning_rate 2.0e-5 --num_train_epochs 1 --packing \
      --per_device_train_batch_size 2 --gradient_accumulation_steps 8 --eos_token <|im_end|> --eval_strategy steps \
      --eval_steps 100 --output_dir out \(adapter)
      """
    // What can't be uploaded after the run is refused before it.
    let refused = try await workspace.run(line: line + " --push_to_hub")
    #expect(refused.status == 1 && refused.errors.contains("HF_HUB_OFFLINE is set"), "\(refused.errors)")
    #expect(!workspace.exists("out/trainer_state.json"))
    let run = try await workspace.run(line: line)
    #expect(run.status == 0, "\(run.errors)")
    #expect(workspace.exists(adapter.isEmpty ? "out/model.safetensors" : "out/adapter_model.safetensors"))
  }

  @Test func mixtures() async throws {
    try workspace.write(
      "mixture.yaml",
      """
      model_name_or_path: m
      datasets:
        - path: imdb
          split: train
          columns: [text]
          fraction: 0.5
        - path: json
          data_files: imdb/test.jsonl
          columns:
            - text
          fraction: 0.5
      streaming: false
      test_split_size: 0.25
      eval_strategy: epoch
      num_train_epochs: 1
      output_dir: out
      """)
    let run = try await workspace.run(line: "sft --config mixture.yaml")
    #expect(run.status == 0, "\(run.errors)")
    // Two rows of each, one of them for validation.
    #expect(try workspace.json("out/preparation_report.json")["kept_rows"] == 3)
  }

  @Test(arguments: ["num_processes: 4", "accelerate_config: zero2", "deepspeed: config.json"])
  func multiProcessOptionsAreRefused(key: String) async throws {
    try workspace.write("sft_config.yaml", "model_name_or_path: m\ndataset_name: imdb\n\(key)\n")
    let run = try await workspace.run(line: "sft --config sft_config.yaml")
    #expect(run.status != 0)
    #expect(run.errors.contains("mpirun"), "\(run.errors)")
  }
}
