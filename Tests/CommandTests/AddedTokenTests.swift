import Foundation
import OrderedJSON
import Testing

/// Runs that add tokens, and what the other subcommands make of their results.
@Suite struct AddedTokenTests {
  private static let rows = """
    {"prompt": "ask <note>", "completion": "<|tool|>cat"}
    {"prompt": "say <note>", "completion": "<|tool|>sat"}

    """
  private static let keys =
    "--add_tokens <note> --add_special_tokens <|tool|> --max_steps 6 --learning_rate 0.02 --max_length 64"
    + " --eval_dataset rows.jsonl --eval_strategy steps --eval_steps 6 --save_steps 3 --verify_after_training true"
  private static let lora = "--use_peft --lora_r 2 --lora_dropout 0 --lora_target_modules q_proj"

  private static func workspace(_ family: String = "llama") throws -> Workspace {
    let workspace = try Workspace()
    if family != "llama" {
      try workspace.remove("m")
      try workspace.model("m", family: family)
    }
    try workspace.write("rows.jsonl", rows)
    return workspace
  }

  private static func loss(_ workspace: Workspace, _ words: String) async throws -> JSONValue? {
    let outcome = try await workspace.run(line: "eval --json --data rows.jsonl --max-length 64 \(words)")
    return try outcome.json()["loss"]
  }

  private static func logged(_ workspace: Workspace, _ folder: String = "out") throws -> JSONValue? {
    try workspace.json("\(folder)/trainer_state.json")["log_history"]?.array?.last { $0["eval_loss"] != nil }?[
      "eval_loss"]
  }

  @Test(arguments: [("llama", ""), ("llama_tied", ""), ("llama", "--load_in_4bit --bnb_4bit_quant_type nf4")])
  func adaptersLearnTheirTokens(_ family: String, _ more: String) async throws {
    let workspace = try Self.workspace(family)
    try await workspace.train("\(Self.keys) \(Self.lora) \(more)", to: "out")
    let config = try workspace.json("out/adapter_config.json")
    #expect(
      config["trainable_token_indices"]
        == (family == "llama" ? ["embed_tokens": [256, 257], "lm_head": [256, 257]] : [256, 257]))
    let tokens = try #require(workspace.json("out/tokenizer.json")["added_tokens"]?.array)
    #expect(tokens.suffix(2).map { $0["content"] } == ["<note>", "<|tool|>"])
    #expect(tokens.suffix(2).map { $0["special"] } == [false, true])
    let flag = more.isEmpty ? "" : "--load-in-4bit"
    let after = try await Self.loss(workspace, "--model m --adapter out \(flag)")
    try expectClose(try Self.logged(workspace), after)
    let before = try #require(
      try workspace.json("out/trainer_state.json")["log_history"]?.array?.first { $0["loss"] != nil }?["loss"]?.double)
    #expect((after?.double ?? .infinity) < before)
    let modules = try await workspace.run(line: "inspect m --adapter out --json")
    #expect(modules.status == 0, "\(modules.errors)")
    if !more.isEmpty { return }

    // A resumed run ends in the same bytes.
    try await workspace.train("\(Self.keys) \(Self.lora) --resume_from_checkpoint out/checkpoint-3", to: "again")
    #expect(try workspace.data("again/adapter_model.safetensors") == workspace.data("out/adapter_model.safetensors"))

    // Merged, and exported, the model has the tokens.
    _ = try await workspace.run(
      line: "merge --model m --adapter out --output merged --save-method merged_32bit")
    #expect(try workspace.json("merged/config.json")["vocab_size"]?.integer == 258)
    try expectClose(try await Self.loss(workspace, "--model merged"), after)
    _ = try await workspace.run(line: "export --model m --adapter out --output merged.gguf --type f32 --no-modelfile")
    try expectClose(try await Self.loss(workspace, "--model merged.gguf"), after)
    // A GGUF file gets tokens too.
    _ = try await workspace.run(line: "export --model m --output m.gguf --type q8_0 --no-modelfile")
    let over = try await workspace.run(
      line: "sft --model_name_or_path m.gguf --dataset_name rows.jsonl --output_dir gguf \(Self.keys) \(Self.lora)")
    #expect(over.status == 0, "\(over.errors)")
    let trained = try await Self.loss(workspace, "--model m.gguf --adapter gguf")
    try expectClose(try Self.logged(workspace, "gguf"), trained)
    _ = try await workspace.run(
      line: "export --model m.gguf --adapter gguf --output copy.gguf --type f32 --no-modelfile")
    try expectClose(try await Self.loss(workspace, "--model copy.gguf"), trained)
    let card = String(decoding: try workspace.data("out/README.md"), as: UTF8.self)
    #expect(card.contains("base.resize_token_embeddings(258)") && card.contains("export --model ../m --adapter ."))
  }

  @Test func everyWeightLearnsTheTokens() async throws {
    let workspace = try Self.workspace()
    try await workspace.train("\(Self.keys) --dtype float32", to: "out")
    #expect(try workspace.json("out/config.json")["vocab_size"]?.integer == 258)
    try expectClose(try Self.logged(workspace), try await Self.loss(workspace, "--model out"))
  }

  @Test func previewAndPlanKnowTheTokens() async throws {
    let workspace = try Self.workspace()
    let words = "--model_name_or_path m --dataset_name rows.jsonl --add_tokens <note> --add_special_tokens <|tool|>"
    let shown = try await workspace.run(line: "preview --ids \(words)")
    #expect(shown.status == 0 && shown.output.contains("256, 257"), "\(shown.output) \(shown.errors)")
    let plan = try await workspace.run(line: "plan \(words) \(Self.lora)")
    #expect(plan.status == 0, "\(plan.errors)")
    let refused = try await workspace.run(line: "plan \(words) --use_peft --lora_modules_to_save lm_head --tokens <x>")
    #expect(refused.status != 0 && refused.errors.contains("add_tokens"), "\(refused.errors)")
  }

  /// A model folder in chat_template_path brings its tokens, and its EOS token.
  @Test(arguments: ["llama", "llama_tied"]) func aTemplateIsClonedWithItsTokens(_ family: String) async throws {
    let workspace = try Self.workspace(family)
    let source = Workspace.goldens.appendingPathComponent("added_tokens/source").path
    let keys =
      "--chat_template_path \(source) --max_steps 4 --learning_rate 0.02 --max_length 64 --eval_dataset rows.jsonl"
      + " --eval_strategy steps --eval_steps 4 --verify_after_training true"
    try await workspace.train("\(keys) \(Self.lora)", to: "out")
    let config = try workspace.json("out/adapter_config.json")
    #expect(config["trainable_token_indices"]?.array?.compactMap(\.integer) == Array(256..<320))
    #expect(config["modules_to_save"]?.array?.compactMap(\.string) == (family == "llama" ? ["lm_head"] : nil))
    #expect(try workspace.json("out/tokenizer_config.json")["eos_token"]?.string == "<|tool|>")
    let contents = try workspace.json("out/tokenizer.json")["added_tokens"]?.array?.compactMap { $0["content"]?.string }
    #expect(contents?.suffix(64).prefix(5) == ["<note>", "<|tool|>", "<extra_id_1>", "<extra_id_0>", "<extra_id_2>"])
    let template = try workspace.data("out/chat_template.jinja")
    #expect(String(decoding: template, as: UTF8.self).contains("<note>"))
    let after = try await Self.loss(workspace, "--model m --adapter out")
    try expectClose(try Self.logged(workspace), after)
    _ = try await workspace.run(
      line: "merge --model m --adapter out --output merged --save-method merged_32bit")
    #expect(try workspace.json("merged/config.json")["vocab_size"]?.integer == 320)
    #expect(try workspace.json("merged/config.json")["eos_token_id"]?.integer == 257)
    try expectClose(try await Self.loss(workspace, "--model merged"), after)

    let shown = try await workspace.run(
      line: "preview --ids --model_name_or_path m --dataset_name rows.jsonl --chat_template_path \(source)")
    // The prompt and completion are text, which ends in the EOS token of the folder.
    #expect(shown.status == 0 && shown.output.contains("257"), "\(shown.output) \(shown.errors)")
    let refused = try await workspace.run(
      line: "sft --model_name_or_path m --dataset_name rows.jsonl --output_dir no --eos_token <|im_end|>"
        + " --chat_template_path \(source)")
    #expect(refused.status == 1 && refused.errors.contains("leave out eos_token"), "\(refused.errors)")
  }

  /// An adapter that PEFT saved with its resized embeddings.
  @Test func publishedAdaptersBringTheirTokens() async throws {
    let workspace = try Self.workspace("llama_tied")
    let adapter = Workspace.goldens.appendingPathComponent("added_tokens/lora").path
    let listed = try await workspace.run(line: "eval --json --data rows.jsonl --model m --adapter \(adapter)")
    #expect(listed.status == 0, "\(listed.errors)")
    #expect(try listed.json()["loss"]?.double ?? 0 > 0)
  }
}
