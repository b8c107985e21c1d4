import Foundation
import OrderedJSON
import Testing

/// `inspect`, and the help of all subcommands.
@Suite struct InspectTests {
  /// Phi-3-mini-4k-instruct's published configuration.
  static let phi3: JSONValue = [
    "architectures": ["Phi3ForCausalLM"], "model_type": "phi3", "vocab_size": 32064, "hidden_size": 3072,
    "intermediate_size": 8192, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32,
    "max_position_embeddings": 4096, "original_max_position_embeddings": 4096, "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0, "rope_scaling": nil, "sliding_window": 2047, "tie_word_embeddings": false,
    "hidden_act": "silu", "torch_dtype": "bfloat16", "bos_token_id": 1, "eos_token_id": 32000, "pad_token_id": 32000,
  ]

  @Test func theFiguresOfPhi3ComeFromItsConfiguration() async throws {
    let workspace = try Workspace()
    try workspace.write("phi3/config.json", Self.phi3.text())
    let words = "--quantization nf4 --lora-r 8 --lora-target-modules qkv_proj gate_up_proj down_proj o_proj"
    let shown = try await workspace.run(line: "inspect phi3 \(words)").text()
    #expect(shown.contains("1,811,939,328 bytes of linear layers"))
    #expect(shown.contains("394,002,432 bytes in 16 bits"))
    #expect(shown.contains("12.58M of 3,833.66M (0.33%)"))
    // 4 bytes for each of 56,623,104 blocks of 64.
    #expect(shown.contains("scales      226,492,416 bytes\n"))
    for line in ["(qkv_proj) weight [9216 × 3072]", "(down_proj) weight [3072 × 8192]", "(0-31  × 32)"] {
      #expect(shown.contains(line), "\(line)")
    }
    #expect(try await workspace.run(line: "inspect phi3/config.json \(words)").text() == shown)
    let nested = try await workspace.run(line: "inspect phi3 --quantization fp4 --double-quantization").text()
    // One byte per block, 4 per 256 blocks, and a map of 1 KiB for each of 128 matrices.
    #expect(nested.contains("(o_proj) weight [3072 × 3072] fp4\n"))
    #expect(nested.contains("scales      57,638,912 bytes, quantized too\n"))
    let plain = try await workspace.run(line: "inspect phi3 --quantization none").text()
    #expect(plain.contains("bytes       7,642,159,104 "))
    #expect(plain == (try await workspace.run(line: "inspect phi3").text()))
    let refused = try await workspace.run(line: "generate --model phi3 --prompt hi")
    #expect(refused.status == 1 && !refused.wasKilled)
  }

  /// Layers of equal contents are one group, even if others are in between.
  @Test func layersThatAlternateShareAGroup() async throws {
    let workspace = try Workspace()
    let arguments = "--use_peft --lora_r 4 --lora_target_modules .*layers.[135].*q_proj --max_steps 1"
    try workspace.model("six", family: "gemma3_six_layers")
    let outcome = try await workspace.run(
      line: "sft --model_name_or_path six --dataset_name rows.jsonl --output_dir out \(arguments)")
    #expect(outcome.status == 0, "\(outcome.errors)")
    let shown = try await workspace.run(line: "inspect six --adapter out").text()
    #expect(shown.contains("(0, 2, 4  × 3)") && shown.contains("(1, 3, 5  × 3)"), "\(shown)")
  }

  /// A repository of which only the description is cached needs no download, also where an adapter names it.
  @Test func theDescriptionOfARepositoryIsEnough() async throws {
    let workspace = try Workspace()
    try await workspace.train("--use_peft --lora_r 4 --max_steps 1", to: "out")
    let commit = String(repeating: "a", count: 40)
    let folder = "cache/hub/models--org--tiny"
    try workspace.write("\(folder)/refs/main", commit)
    for file in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
      try workspace.write("\(folder)/snapshots/\(commit)/\(file)", workspace.data("m/\(file)"))
    }
    let shown = try await workspace.run(line: "inspect org/tiny --lora-r 4").text()
    #expect(shown.contains("(q_proj) weight [64 × 64]") && shown.contains("trained"))
    let exported = try await workspace.run(line: "export --adapter out --base org/tiny --output a.gguf")
    #expect(exported.status == 0, "\(exported.errors)")
    // Other subcommands do need the weights.
    let refused = try await workspace.run(line: "generate --model org/tiny --prompt hi")
    #expect(refused.status == 1 && refused.errors.contains("lacks the weights"), "\(refused.errors)")
  }

  @Test func weightsShowAsTheyAreStored() async throws {
    let workspace = try Workspace()
    let shown = try await workspace.run(line: "inspect m").text()
    #expect(shown.contains("(q_proj) weight [64 × 64] float32"))
    #expect(shown.contains("(94528)"))
    try await workspace.train("--use_peft --lora_r 4 --lora_target_modules q_proj --max_steps 1", to: "out")
    let adapted = try await workspace.run(line: "inspect m --adapter out").text()
    // Two layers, 4 x 64 each for A and B.
    #expect(adapted.contains("(\(94528 + 1024))"))
    #expect(adapted.contains("lora_A [4 × 64] float32 trained"))
  }

  @Test(arguments: [
    "sft", "train", "chat", "generate", "compare", "eval", "merge", "export", "inspect", "preview", "tokenize",
    "render", "pull", "bench", "demo",
  ]) func everySubcommandExplainsItself(_ name: String) async throws {
    let workspace = try Workspace()
    let help = try await workspace.run(name, "--help")
    #expect(help.text().contains("USAGE: swiftlet"))
    #expect(help.errors == "")
  }

  @Test func theCommandExplainsItself() async throws {
    let workspace = try Workspace()
    let help = try await workspace.run("--help").text()
    for name in [
      "sft", "chat", "generate", "compare", "eval", "merge", "export", "inspect", "preview", "tokenize", "render",
    ] {
      #expect(help.contains("  \(name)"))
    }
    #expect(try await workspace.run().text().contains("USAGE: swiftlet"))
    #expect(try await workspace.run("--version").text().split(separator: ".").count == 3)
  }
}
