import Foundation
import OrderedJSON
import Testing

/// Adapters and questions that don't fit the model.
@Suite struct AdapterFaultTests {
  /// A trained adapter in `a`, next to its base model.
  private func trained() async throws -> Workspace {
    let workspace = try Workspace()
    try await workspace.train("--use_peft --lora_r 4 --lora_target_modules all-linear --max_steps 1", to: "a")
    return workspace
  }

  /// Expects generating with the adapter to fail with one sentence that has all of `mentions`.
  private func refuses(
    _ workspace: Workspace, _ mentions: String..., model: String = "m",
    sourceLocation: SourceLocation = #_sourceLocation
  ) async throws {
    let outcome = try await workspace.run(
      line: "generate --model \(model) --adapter a --prompt hi --max-new-tokens 2")
    #expect(outcome.status == 1, "\(outcome.errors)", sourceLocation: sourceLocation)
    #expect(!outcome.wasKilled, sourceLocation: sourceLocation)
    #expect(outcome.errors.hasPrefix("Error: "), sourceLocation: sourceLocation)
    #expect(outcome.errors.split(separator: "\n").count == 1, sourceLocation: sourceLocation)
    for mention in mentions { #expect(outcome.errors.contains(mention), sourceLocation: sourceLocation) }
  }

  @Test func configurations() async throws {
    let workspace = try await trained()
    let good = try #require(try workspace.json("a/adapter_config.json").object)
    func refuses(_ key: String, _ value: JSONValue?, _ mention: String) async throws {
      var changed = good
      changed[key] = value
      try workspace.write("a/adapter_config.json", JSONValue.object(changed).text())
      try await self.refuses(workspace, mention)
    }
    try await refuses("peft_type", "PROMPT_TUNING", "peft_type \"PROMPT_TUNING\" is not supported")
    try await refuses("peft_type", nil, "\"peft_type\" is missing")
    try await refuses("r", 0, "\"r\" must be a positive integer")
    try await refuses("r", "many", "\"r\" must be a positive integer")
    try await refuses("r", 8, "lora_A.weight has shape [4, 64]")
    try await refuses("r", .integer(1 << 31), "own base model")
    try await refuses("lora_alpha", "x", "\"lora_alpha\" must be a number")
    try await refuses("target_modules", 7, "\"target_modules\"")
    try await refuses("target_modules", ["nope"], "no layer")
    try await refuses("target_modules", ["q_proj"], "matches no layer")
    try await refuses("bias", "all", "bias \"all\"")
    try await refuses("rank_pattern", ["q_proj": "x"], "rank_pattern")
    try await refuses("modules_to_save", ["nope"], "nope")
    try workspace.write("a/adapter_config.json", "{\"r\": ")
    try await self.refuses(workspace, "adapter_config.json", "line 1")
    try workspace.remove("a/adapter_config.json")
    try await self.refuses(workspace, "adapter_config.json", "PEFT")
  }

  @Test func weights() async throws {
    let workspace = try await trained()
    try workspace.model("other", family: "qwen2")
    try await refuses(workspace, "own base model", model: "other")
    let good = try workspace.data("a/adapter_model.safetensors")
    for part in [good.prefix(2000), good.dropLast(8), good.prefix(5), Data()] {
      try workspace.write("a/adapter_model.safetensors", part)
      try await refuses(workspace, "adapter_model.safetensors")
    }
    try workspace.remove("a/adapter_model.safetensors")
    try await refuses(workspace, "adapter_model.safetensors")
  }

  @Test(arguments: [
    ("empty.txt", "", "no questions"), ("empty.jsonl", "\n", "no questions"), ("half.jsonl", "{\"prompt\": ", "line 1"),
    ("form.jsonl", "{\"foo\": 1}\n", "prompt, messages or question"),
    ("nobody.jsonl", "{\"messages\": []}\n", "prompt, messages or question"),
    ("answer.jsonl", "{\"messages\": [{\"role\": \"assistant\", \"content\": \"x\"}]}\n", "line 1"),
    ("silence.jsonl", "{\"prompt\": \"\"}\n", "prompt is empty"),
    ("number.jsonl", "{\"messages\": [1]}\n", "message 1"),
  ]) func questions(_ file: String, _ text: String, _ mention: String) async throws {
    let workspace = try await trained()
    try workspace.write(file, text)
    let outcome = try await workspace.run(
      line: "compare --model m --adapter a --max-new-tokens 2 --questions \(file)")
    #expect(outcome.status == 1)
    #expect(!outcome.wasKilled)
    #expect(outcome.output == "")
    let sentence = outcome.errors.split(separator: "\n").first { $0.hasPrefix("Error: ") } ?? ""
    #expect(sentence.contains(mention))
  }
}
