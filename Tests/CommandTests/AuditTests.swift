import Foundation
import OrderedJSON
import Testing

/// `audit`, `verify`, `doctor`, `sft --find-learning-rate`, and what `plan` says about settings.
@Suite struct AuditTests {
  private static let adapter =
    "--use_peft --lora_r 4 --lora_target_modules all-linear --max_steps 3 --learning_rate 5e-2"

  /// Thirty different rows, of which the seventh is there twice and the last is empty.
  private func rows(_ workspace: Workspace) throws {
    let words = ["river", "teacher", "bridge", "engine", "garden", "letter", "window", "doctor", "market", "forest"]
    var lines = (0..<30).map { number in
      let (a, b) = (words[number % 10], words[(number * 7 + number / 10 + 3) % 10])
      return "{\"prompt\": \"Question \(number) about the \(a)?\", \"completion\": \"The \(b) is near the \(a).\"}"
    }
    lines.append(lines[6])
    lines.append("{\"prompt\": \"What is this?\", \"completion\": \" \"}")
    try workspace.write("many.jsonl", lines.joined(separator: "\n") + "\n")
  }

  @Test func auditFindsAndWritesWhatRemains() async throws {
    let workspace = try Workspace()
    try rows(workspace)
    let call = "audit --model_name_or_path m --dataset_name many.jsonl"
    let lines = try Self.lines(await workspace.run(line: "\(call) --json").text())
    let summary = try #require(lines.first)
    #expect(summary["rows"] == 32 && summary["validation_rows"] == 0 && summary["suspects"] == 2)
    let kinds = summary["kinds"]?.array ?? []
    #expect(kinds.map { $0["kind"]?.string } == ["empty", "exact_duplicate"])
    #expect(kinds.allSatisfy { $0["findings"] == 1 && $0["suspects"] == 1 && $0["title"]?.string != nil })
    #expect(lines.dropFirst().map { $0["kind"]?.string } == ["empty", "exact_duplicate"])
    let duplicate = try #require(lines.last)
    #expect(duplicate["rows"] == [7, 31] && duplicate["drop"] == [31] && duplicate["line"] == 7)
    #expect(duplicate["file"]?.string?.hasSuffix("many.jsonl") == true)
    #expect(duplicate["sentence"]?.string?.hasPrefix("Rows 7, 31: ") == true)
    #expect(duplicate["texts"]?.array?.map { $0["row"] } == [7, 31])
    #expect(duplicate["texts"]?[0]?["prompt"]?.string == "Question 6 about the window?")

    let text = try await workspace.run(line: call).text()
    #expect(text.contains("exact duplicates: 1 row") && text.contains("many.jsonl:7"), "\(text)")

    let written = try await workspace.run(line: "\(call) --write clean.jsonl --drop exact_duplicate,empty")
    #expect(written.status == 0, "\(written.errors)")
    let remaining = String(decoding: try workspace.data("clean.jsonl"), as: UTF8.self).split(separator: "\n")
    #expect(remaining.count == 30)
    // What exists stays.
    let again = try await workspace.run(line: "\(call) --write clean.jsonl --drop all")
    #expect(again.status != 0 && again.errors.contains("--overwrite"), "\(again.errors)")
    #expect(String(decoding: try workspace.data("clean.jsonl"), as: UTF8.self).split(separator: "\n") == remaining)
    #expect(try await workspace.run(line: "\(call) --write clean.jsonl --drop empty --overwrite").status == 0)
    // There is no terminal to ask on.
    let asked = try await workspace.run(line: "\(call) --write other.jsonl")
    #expect(asked.status != 0 && asked.errors.contains("--drop"), "\(asked.errors)")
    let unknown = try await workspace.run(line: "\(call) --write other.jsonl --drop exact_duplicat")
    #expect(unknown.status != 0 && unknown.errors.contains("did you mean exact_duplicate?"), "\(unknown.errors)")
    #expect(!workspace.exists("other.jsonl"))
  }

  private static func lines(_ text: String) throws -> [JSONValue] {
    try text.split(separator: "\n").map { try JSONValue(parsing: String($0)) }
  }

  /// The board reads what is printed; a run in the same folder leaves it there.
  @Test func anAuditIsWrittenForTheBoard() async throws {
    let workspace = try Workspace()
    try rows(workspace)
    let call = "--model_name_or_path m --dataset_name many.jsonl"
    #expect(try await workspace.run(line: "audit \(call)").status == 0)
    #expect(!workspace.exists("trainer_output"), "the recipe names no folder")
    let outcome = try await workspace.run(line: "audit \(call) --output_dir runs/one --json")
    #expect(outcome.status == 0 && outcome.errors.contains("swiftlet board"), "\(outcome.errors)")
    let written = try workspace.data("runs/one/board/audit.jsonl")
    #expect(try Self.lines(String(decoding: written, as: UTF8.self)) == Self.lines(outcome.text()))
    let run = try await workspace.run(
      line: "sft --model_name_or_path m --dataset_name rows.jsonl \(Self.adapter) --output_dir runs/one")
    #expect(run.status == 0, "\(run.errors)")
    #expect(try workspace.data("runs/one/board/audit.jsonl") == written)
  }

  @Test func anAuditNeedsNoModel() async throws {
    let workspace = try Workspace()
    try rows(workspace)
    let alone = try await workspace.run(line: "audit --dataset_name many.jsonl --json").text()
    #expect(try Self.lines(alone).first?["rows"] == 32)
    let missing = try await workspace.run(line: "audit --dataset_name many.jsonl --model_name_or_path none --json")
    #expect(try Self.lines(missing.text()).first?["rows"] == 32)
    #expect(missing.errors.contains("no tokenizer"), "\(missing.errors)")
  }

  @Test func verifyPassesWhatWasWrittenAndFailsForWhatWasNot() async throws {
    let workspace = try Workspace()
    let trained = try await workspace.train(Self.adapter + " --verify_after_training", to: "out")
    #expect(trained.errors.contains("Verified out"), "\(trained.errors)")
    #expect(try await workspace.run(line: "verify out --json").json()["passed"] == true)

    let merged = try await workspace.run(line: "merge --model m --adapter out --output merged --zip")
    #expect(merged.status == 0 && merged.errors.contains("Verified"), "\(merged.errors)")
    #expect(try await workspace.run(line: "verify merged").status == 0)
    #expect(try await workspace.run(line: "verify merged.zip").status == 0)
    let exported = try await workspace.run(line: "export --model m --adapter out --output one.gguf --type f32")
    #expect(exported.status == 0 && exported.errors.contains("Verified"), "\(exported.errors)")
    #expect(try await workspace.run(line: "verify one.gguf").status == 0)
    let unverified = try await workspace.run(line: "merge --model m --adapter out --output quick --no-verify")
    #expect(unverified.status == 0 && !unverified.errors.contains("Verified"), "\(unverified.errors)")

    // The base model in place of the merged one.
    #expect(try await workspace.run(line: "merge --model m --output base --save-method merged_32bit").status == 0)
    let lost = try await workspace.run(line: "verify base --record out")
    #expect(lost.status == 1 && lost.errors.contains("The training is lost"), "\(lost.errors)")
    let failed = try await workspace.run(line: "verify base --record out --json")
    #expect(failed.status == 1)
    #expect(try JSONValue(parsing: failed.output)["passed"] == false)
    let without = try await workspace.run(line: "verify base")
    #expect(without.status == 1 && without.errors.contains("--record"), "\(without.errors)")
  }

  @Test func verifyReadsEverythingThatExportWrites() async throws {
    let workspace = try Workspace()
    try await workspace.train(Self.adapter, to: "out")
    for (arguments, path) in [
      ("--adapter out --output a.gguf --type f16", "a.gguf"), ("--format mlx --adapter out --output a-mlx", "a-mlx"),
      ("--format mlx --model m --adapter out --output mlx --type bf16", "mlx"),
    ] {
      let exported = try await workspace.run(line: "export \(arguments)")
      #expect(exported.status == 0 && exported.errors.contains("Verified"), "\(exported.errors)")
      let base = path.hasPrefix("a") ? " --model m" : ""
      let verified = try await workspace.run(line: "verify \(path)\(base)")
      #expect(verified.status == 0, "\(verified.errors)")
    }
    let unnamed = try await workspace.run(line: "verify a.gguf")
    #expect(unnamed.status == 1 && unnamed.errors.contains("--model"), "\(unnamed.errors)")
    // A model that was trained in full has its own record.
    try await workspace.train("--max_steps 3 --learning_rate 1e-2", to: "full")
    #expect(try await workspace.run(line: "export --model full --output full.gguf --type f32").status == 0)
    #expect(try await workspace.run(line: "verify full.gguf").status == 0)
    // A record that was left by another model is not kept.
    #expect(try await workspace.run(line: "export --model m --output full.gguf --type f32").status == 0)
    #expect(!workspace.exists("full.gguf.verification.json"))
  }

  @Test func theRunStartsFromAnUntouchedAdapter() async throws {
    let workspace = try Workspace()
    let found = try await workspace.train(Self.adapter + " --find-learning-rate", to: "found")
    let test = try workspace.json("found/learning_rate_test.json")
    #expect(test["points"]?.array?.isEmpty == false)
    let used = try #require(try workspace.json("found/training_args.json")["learning_rate"]?.double)
    #expect(test["suggestion"]?.double == used || test["suggestion"]?.isNull == true, "\(found.errors)")
    // The same run without the test gives the same bytes.
    try await workspace.train(
      "--use_peft --lora_r 4 --lora_target_modules all-linear --max_steps 3 --learning_rate \(used)", to: "plain")
    #expect(
      try workspace.data("found/adapter_model.safetensors") == workspace.data("plain/adapter_model.safetensors"))
  }

  @Test func planNotesOddSettings() async throws {
    let workspace = try Workspace()
    let call = "plan --model_name_or_path m --dataset_name rows.jsonl --use_peft --json"
    let odd = try await workspace.run(line: "\(call) --lora_r 512 --learning_rate 0.5 --num_train_epochs 50").json()
    let advice = (odd["advice"]?.array ?? []).compactMap(\.string)
    for key in ["learning_rate", "lora_r", "epochs"] { #expect(advice.contains { $0.contains(key) }, "\(advice)") }
    #expect(odd["steps_per_epoch"] == 1 && (odd["tokens_per_epoch"]?.integer ?? 0) > 0)
    let usual = try await workspace.run(
      line: "\(call) --lora_r 8 --lora_alpha 16 --learning_rate 2e-4 --num_train_epochs 15"
    ).json()
    #expect(usual["advice"] == [])
  }

  @Test func doctorSaysWhatThereIs() async throws {
    let workspace = try Workspace()
    let json = try await workspace.run(line: "doctor --json").json()
    for section in ["machine", "devices", "libraries", "programs", "caches"] {
      #expect(json[section]?.object?.count ?? 0 > 0, "\(section)")
    }
    #expect(json["libraries"]?["libzip"]?["missing"]?.bool != nil)
    #expect(try await workspace.run(line: "doctor").text().contains("processor"))
  }

  @Test func environmentNamesTheInstructionSet() async throws {
    let workspace = try Workspace()
    let variable = "SWIFTLET_INSTRUCTION_SET"
    let refused = try await workspace.run("doctor", environment: [variable: "sse9"])
    #expect(refused.status == 2 && refused.errors.contains(variable) && refused.errors.contains("\"sse9\""))
    let least = refused.errors.contains("portable") ? "portable" : "neon"
    let report = try await workspace.run("doctor", "--json", environment: [variable: least]).json()
    #expect(report["machine"]?["kernels"]?["value"]?.string == least)
  }

  /// Folders and FIFOs among the files of the cache have no size, and reading them would fail or wait.
  @Test func doctorCountsOnlyRegularFiles() async throws {
    let workspace = try Workspace()
    let model = "cache/hub/models--org--name"
    try workspace.write("\(model)/blobs/one", String(repeating: "x", count: 1000))
    try workspace.write("\(model)/blobs/folder/two", "xx")
    try workspace.write("\(model)/refs/other", "0000")
    for name in ["blobs/pipe", "refs/main"] {
      #expect(mkfifo(workspace.url.appendingPathComponent("\(model)/\(name)").path, 0o600) == 0)
    }
    let hub = workspace.url.appendingPathComponent("cache/hub").path
    let text = try await workspace.run("doctor", environment: ["HF_HUB_CACHE": hub]).text()
    let line = text.split(separator: "\n").first { $0.contains("org/name") }
    #expect(line?.contains(" 1.00 kB") == true, "\(text)")
  }
}
