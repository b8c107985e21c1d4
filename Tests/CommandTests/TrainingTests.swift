import Foundation
import OrderedJSON
import Testing

/// The files that `sft` writes, and that the other subcommands agree with the run.
@Suite struct TrainingTests {
  private static let adapter =
    "--use_peft --lora_r 4 --lora_dropout 0 --lora_target_modules all-linear"
    + " --learning_rate 0.02 --logging_steps 1 --max_length 64"

  private static func history(_ workspace: Workspace, _ folder: String) throws -> [JSONValue] {
    try #require(try workspace.json("\(folder)/trainer_state.json")["log_history"]?.array)
  }

  private static func evaluated(_ workspace: Workspace, _ line: String) async throws -> JSONValue {
    try await workspace.run(line: "eval --json --data rows.jsonl --max-length 64 \(line)").json()
  }

  @Test func anAdapterRunWritesWhatItPromises() async throws {
    let workspace = try Workspace()
    let run = try await workspace.train(
      "\(Self.adapter) --max_steps 3 --save_steps 2 --eval_dataset rows.jsonl --eval_strategy steps --eval_steps 3"
        + " --questions [你好,Yoda?] --max_new_tokens 4", to: "out")
    for file in [
      "adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "tokenizer_config.json",
      "chat_template.jinja", "README.md", "trainer_state.json", "training_args.json", "loss_curve.png",
      "loss_curve.svg", "checkpoint-2/adapter_model.safetensors", "checkpoint-2/trainer_state.json",
      "checkpoint-2/optimizer.safetensors",
    ] {
      #expect(workspace.exists("out/\(file)"), "\(file)")
    }
    let left = try FileManager.default.contentsOfDirectory(atPath: workspace.url.appendingPathComponent("out").path)
    #expect(left.allSatisfy { !$0.hasPrefix(".") }, "no temporary files stay behind")
    #expect(try workspace.data("out/loss_curve.png").starts(with: [0x89, 0x50, 0x4E, 0x47]))
    #expect(run.errors.contains("你好"))

    let config = try workspace.json("out/adapter_config.json")
    #expect(config["peft_type"]?.string == "LORA")
    #expect(config["r"]?.integer == 4)
    #expect(config["base_model_name_or_path"]?.string == "../m")
    let arguments = try workspace.json("out/training_args.json")
    #expect(arguments["learning_rate"]?.double == 0.02)
    #expect(arguments["max_steps"]?.integer == 3)

    let steps = try Self.history(workspace, "out").filter { $0["loss"] != nil }
    #expect(steps.map { $0["step"]?.integer } == [1, 2, 3])
    // The four rows have 78 tokens, all of which each step uses.
    #expect(steps.map { $0["num_tokens"]?.integer } == [78, 156, 234])
    let seconds = steps.compactMap { $0["elapsed_s"]?.double }
    #expect(seconds.count == 3 && seconds == seconds.sorted() && seconds[0] > 0)

    // Before the first step B is zero, so the first loss is the base model's.
    let base = try await Self.evaluated(workspace, "--model m")
    let after = try await Self.evaluated(workspace, "--model m --adapter out")
    try expectClose(steps[0]["loss"], base["loss"])
    let logged = try #require(try Self.history(workspace, "out").last { $0["eval_loss"] != nil })
    try expectClose(logged["eval_loss"], after["loss"])
    #expect((after["loss"]?.double ?? .infinity) < (base["loss"]?.double ?? 0) - 0.5)

    let compared = try await workspace.run(
      line: "compare --model m --adapter out --questions rows.jsonl --limit 2 --max-new-tokens 6 --json"
    ).json()
    #expect(compared.array?.map { $0["question"]?.string } == ["Say it: ", "廣東話："])
    for (key, words) in [("before", "--model m"), ("after", "--model m --adapter out")] {
      let answer = try await workspace.run(
        line: "generate \(words) --max-new-tokens 6 --raw --json --prompt", "廣東話："
      ).json()["text"]?.string
      #expect(compared.array?.last?[key]?.string == answer?.trimmingCharacters(in: .whitespacesAndNewlines))
    }
  }

  @Test func everyWeightTrainsToAFolderThatOpensAlone() async throws {
    let workspace = try Workspace()
    try await workspace.train(
      "--max_steps 2 --logging_steps 1 --learning_rate 1e-3 --eval_strategy steps --eval_steps 2 --max_length 64"
        + " --eval_dataset rows.jsonl", to: "full")
    #expect(workspace.exists("full/model.safetensors") && workspace.exists("full/config.json"))
    #expect(!workspace.exists("full/adapter_config.json"))
    let logged = try #require(try Self.history(workspace, "full").last { $0["eval_loss"] != nil })
    let found = try await Self.evaluated(workspace, "--model full")
    try expectClose(logged["eval_loss"], found["loss"])
    let base = try #require(try await Self.evaluated(workspace, "--model m")["loss"]?.double)
    #expect((found["loss"]?.double ?? .infinity) < base)
  }

  @Test func aResumedRunEndsInTheSameBytes() async throws {
    let workspace = try Workspace()
    let keys = "\(Self.adapter) --max_steps 4 --per_device_train_batch_size 2 --save_steps 2"
    try await workspace.train(keys, to: "whole")
    try await workspace.train(keys, to: "again")
    try await workspace.train("\(keys) --resume_from_checkpoint whole/checkpoint-2", to: "resumed")
    let bytes = try workspace.data("whole/adapter_model.safetensors")
    #expect(try workspace.data("again/adapter_model.safetensors") == bytes)
    #expect(try workspace.data("resumed/adapter_model.safetensors") == bytes)
    #expect(try workspace.data("whole/checkpoint-2/adapter_model.safetensors") != bytes)
    let (whole, resumed) = (try Self.history(workspace, "whole"), try Self.history(workspace, "resumed"))
    #expect(whole.map { $0["loss"] } == resumed.map { $0["loss"] })
  }

  @Test func aMergedModelAnswersAsBaseAndAdapter() async throws {
    let workspace = try Workspace()
    try await workspace.train("\(Self.adapter) --max_steps 3", to: "out")
    let merged = try await workspace.run(line: "merge --model m --adapter out --output one --save-method merged_32bit")
    #expect(merged.text() == "")
    func ids(_ words: String) async throws -> JSONValue? {
      try await workspace.run(line: "generate \(words) --max-new-tokens 12 --json --prompt", "Say 你好").json()["ids"]
    }
    let expected = try await ids("--model m --adapter out")
    #expect(try await ids("--model one") == expected)
    #expect(try await ids("--model m") != expected)
    // Without an adapter, merging just saves the model; 16-bit weights take half the bytes.
    #expect(try await workspace.run(line: "merge --model m --output half").text() == "")
    #expect(try workspace.data("half/model.safetensors").count < workspace.data("one/model.safetensors").count * 6 / 10)
    #expect(try await Self.evaluated(workspace, "--model half")["tokens"]?.integer == 50)
  }

  @Test func theRecipesTemplateIsSavedWithTheAdapter() async throws {
    let workspace = try Workspace()
    let template = "{% for message in messages %}<{{ message.role }}>{{ message.content }}{% endfor %}"
    try workspace.write("own.jinja", template)
    try await workspace.train("\(Self.adapter) --max_steps 1 --chat_template_path own.jinja", to: "out")
    #expect(try workspace.data("out/chat_template.jinja") == Data(template.utf8))
    let generated = try await workspace.run(
      line: "generate --model m --adapter out --max-new-tokens 1 --json --prompt hi"
    ).json()
    let tokens = try await workspace.run(line: "tokenize m --json --no-special-tokens --text <user>hi").json()
    #expect(generated["prompt_tokens"]?.integer == tokens["ids"]?.array?.count)
  }

  @Test func theCommandLineOverridesTheRecipeFile() async throws {
    let workspace = try Workspace()
    try workspace.write("recipes/words.jsonl", Workspace.rows)
    try workspace.write(
      "recipes/r.yaml",
      """
      model_name_or_path: m
      dataset_name: words.jsonl   # next to this file
      use_peft: true
      max_steps: 3
      output_dir: fromrecipe
      """)
    let outcome = try await workspace.run(
      line: "train --config recipes/r.yaml --max-steps 1 --logging-steps 1 --output-dir out")
    #expect(outcome.status == 0, "\(outcome.errors)")
    #expect(try Self.history(workspace, "out").count == 1)
    #expect(!workspace.exists("fromrecipe"))
  }

  /// `eval --config` prepares rows as the run did, so it finds the validation loss that training logged.
  @Test(arguments: [
    "packing: true\npacking_strategy: wrapped\nmax_length: 16", "max_length: 8\ncompletion_only_loss: false",
    "steps: [{template: '{prompt}|{completion}'}, {select_columns: [text]}]\neos_token: <|im_start|>",
    "chat_template_path: t.jinja\nassistant_only_loss: true\n"
      + "steps: [{messages: [{role: user, content: '{prompt}'}, {role: assistant, content: '{completion}'}]}, {select_columns: [messages]}]",
  ]) func evaluationWithARecipeFindsTheValidationLoss(keys: String) async throws {
    let workspace = try Workspace()
    try workspace.write(
      "t.jinja",
      "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}A {{ m.content }}{% endgeneration %}"
        + "{% else %}Q {{ m.content }}{% endif %}{% endfor %}")
    try workspace.write(
      "r.yaml",
      """
      model_name_or_path: m
      dataset_name: rows.jsonl
      eval_dataset: rows.jsonl
      eval_strategy: steps
      eval_steps: 2
      max_steps: 2
      use_peft: true
      learning_rate: 0.01
      output_dir: out
      \(keys)

      """)
    let run = try await workspace.run(line: "sft r.yaml")
    #expect(run.status == 0, "\(run.errors)")
    let logged = try #require(try Self.history(workspace, "out").last { $0["eval_loss"] != nil })
    let found = try await workspace.run(line: "eval --config r.yaml --model m --adapter out --json").json()
    try expectClose(logged["eval_loss"], found["loss"])
  }
}
