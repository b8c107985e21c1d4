import Foundation
import OrderedJSON
import TestSupport
import Testing

/// `classify`, `reward` and `score`, from rows to scores.
@Suite struct ScoringTests {
  private static let adapter = "--use_peft --lora_r 4 --lora_target_modules all-linear --learning_rate 0.02"

  private static let labeled = """
    {"text": "the cat sat", "label": "animal"}
    {"text": "a dog ran", "label": "animal"}
    {"text": "stone and sand", "label": "thing"}
    {"text": "an old table", "label": "thing"}

    """

  private static let pairs = """
    {"chosen": "yes please", "rejected": "no"}
    {"prompt": "Hi ", "chosen": "hello", "rejected": "go away"}
    {"chosen": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], \
    "rejected": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "c d"}]}

    """

  @Test func aClassifierLearnsItsRows() async throws {
    let workspace = try Workspace()
    try workspace.write("labeled.jsonl", Self.labeled)
    let run = try await workspace.run(
      line: "classify --model_name_or_path m --dataset_name labeled.jsonl --eval_dataset labeled.jsonl"
        + " --output_dir out \(Self.adapter) --max_steps 12 --per_device_train_batch_size 4 --lora_dropout 0"
        + " --eval_strategy steps --eval_steps 12")
    #expect(run.status == 0, "\(run.errors)")
    #expect(run.errors.contains("score --model m --adapter out"))
    let log = try #require(try workspace.json("out/trainer_state.json")["log_history"]?.array)
    #expect(log.last { $0["eval_accuracy"] != nil }?["eval_accuracy"]?.double == 1)
    #expect(try workspace.json("out/labels.json")["id2label"]?["1"]?.string == "thing")
    #expect(try String(decoding: workspace.data("out/README.md"), as: UTF8.self).contains("text-classification"))

    let scored = try await workspace.run(line: "score --model m --adapter out --data labeled.jsonl --json").json()
    #expect(scored["accuracy"]?.double == 1)
    #expect(scored["rows"]?.array?.map { $0["label"]?.string } == ["animal", "animal", "thing", "thing"])
    let text = try await workspace.run(line: "score --model m --adapter out --text", "the cat sat").text()
    let probability = try #require(scored["rows"]?.array?.first?["probabilities"]?["animal"]?.double)
    #expect(text.hasPrefix("animal " + String(format: "%.4f", probability)))

    let merge = try await workspace.run(
      line: "merge --model m --adapter out --output whole --save-method merged_32bit")
    #expect(merge.status == 0 && merge.errors.contains("4 with the same label"), "\(merge.errors)")
    for path in ["out", "whole"] {
      let verified = try await workspace.run(line: "verify \(path)")
      #expect(verified.status == 0 && verified.output.contains("4 with the same label"), "\(verified.errors)")
    }
    let config = try workspace.json("whole/config.json")
    #expect(config["architectures"]?.array?.first?.string == "LlamaForSequenceClassification")
    #expect(config["label2id"]?["thing"]?.integer == 1 && config["pad_token_id"]?.integer == 0)
    let again = try await workspace.run(line: "score --model whole --data labeled.jsonl --json").json()
    for (one, other) in zip(scored["rows"]?.array ?? [], again["rows"]?.array ?? []) {
      let (a, b) = (one["probabilities"]?["thing"]?.double, other["probabilities"]?["thing"]?.double)
      #expect(abs((a ?? 1) - (b ?? 0)) < 1e-5)
    }
    for line in [
      "generate --model whole --raw --prompt a", "eval --model m --adapter out --data rows.jsonl",
      "export --model whole --output w.gguf",
    ] {
      let refused = try await workspace.run(line: line)
      #expect(refused.status == 1 && refused.errors.contains("classif"), "\(line): \(refused.errors)")
    }
  }

  @Test func aRewardModelPrefersTheChosenRows() async throws {
    let workspace = try Workspace()
    try workspace.write("pairs.jsonl", Self.pairs)
    let run = try await workspace.run(
      line: "reward --model_name_or_path m --dataset_name pairs.jsonl --output_dir out --learning_rate 0.003"
        + " --max_steps 12 --per_device_train_batch_size 3 --logging_steps 1 --verify_after_training")
    #expect(run.status == 0 && run.errors.contains("Verified out: "), "\(run.errors)")
    let log = try #require(try workspace.json("out/trainer_state.json")["log_history"]?.array)
    #expect(log.last { $0["accuracy"] != nil }?["accuracy"]?.double == 1)
    try workspace.write("texts.jsonl", "{\"text\": \"yes please\"}\n{\"text\": \"no\"}\n")
    let scored = try await workspace.run(line: "score --model out --data texts.jsonl --json").json()
    let rewards = (scored["rows"]?.array ?? []).compactMap { $0["reward"]?.double }
    #expect(rewards.count == 2 && rewards[0] > rewards[1] && scored["accuracy"] == nil)
  }

  @Test func faultsAreOneSentence() async throws {
    let workspace = try Workspace()
    try workspace.write("labeled.jsonl", Self.labeled + "{\"text\": \"a\", \"label\": [1]}\n")
    let classify = "classify --model_name_or_path m --dataset_name labeled.jsonl --output_dir out"
    for (line, problem) in [
      (classify, "multi_label_classification"), ("\(classify) --problem_type regression", "problem_type"),
      ("\(classify) --questions Why?", "trains no answers"), ("score --model m --text a", "no classification head"),
      ("\(classify) --num_labels 1", "at least 2"), ("\(classify) --id2label a a", "a name twice"),
      ("reward --model_name_or_path m --dataset_name labeled.jsonl --output_dir out", "needs \"chosen\""),
      ("reward --model_name_or_path m --dataset_name x --lora_task_type CAUSAL_LM --use_peft", "SEQ_CLS"),
    ] {
      let outcome = try await workspace.run(line: line)
      #expect(outcome.status != 0 && !outcome.wasKilled, "\(line)")
      #expect(outcome.errors.contains(problem), "\(line): \(outcome.errors)")
    }
  }
}
