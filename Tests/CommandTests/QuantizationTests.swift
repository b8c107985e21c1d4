import Foundation
import OrderedJSON
import Testing

/// A 4-bit base from recipe to merged folder, and bitsandbytes' own checkpoints, with every subcommand that opens one.
@Suite struct QuantizationTests {
  private static let four = "--load-in-4bit --use-bnb-nested-quant"

  @Test func anAdapterOverFourBitsIsTrainedUsedAndMerged() async throws {
    let workspace = try Workspace()
    let run = try await workspace.train(
      "--load_in_4bit true --bnb_4bit_use_double_quant true --bnb_4bit_compute_dtype float32 --use_peft --lora_r 4 "
        + "--lora_target_modules all-linear --max_steps 3 --learning_rate 0.01", to: "out")
    #expect(run.errors.contains("before quantization"))
    #expect(try workspace.json("out/adapter_config.json")["base_model_name_or_path"]?.string == "../m")
    let words = "--prompt hi --max-new-tokens 8 --json"
    let adapted = try await workspace.run(line: "generate --model m --adapter out \(words) \(Self.four)").json()
    #expect(adapted["ids"]?.integers?.isEmpty == false)

    let merge = "merge --model m --adapter out --output merged --save-method merged_4bit \(Self.four)"
    #expect(try await workspace.run(line: merge).status == 0)
    let config = try workspace.json("merged/config.json")
    #expect(config["quantization_config"]?["bnb_4bit_use_double_quant"]?.bool == true)
    let shown = try await workspace.run(line: "inspect merged").text()
    #expect(shown.contains("(q_proj) weight [64 × 64] nf4") && shown.contains("(lm_head) weight [256 × 64] bfloat16"))
    #expect(try await workspace.run(line: "generate --model merged \(words)").status == 0)
  }

  /// Checkpoints that transformers saved can be opened, trained with an adapter, and merged to 16 and 32 bits.
  @Test(arguments: ["llama_nf4", "llama_tied_nf4_bf16", "phi3_fp4_f16"])
  func bitsAndBytesCheckpointsAreOpened(name: String) async throws {
    let workspace = try Workspace()
    for file in ["config.json", "model.safetensors"] {
      try workspace.write(
        "m/\(file)", Data(contentsOf: Workspace.goldens.appendingPathComponent("quantization/\(name)/\(file)")))
    }
    try await workspace.train("--use_peft --lora_target_modules all-linear --max_steps 1", to: "out")
    for line in [
      "generate --model m --adapter out --prompt hi --max-new-tokens 2",
      "eval --model m --adapter out --data rows.jsonl",
      "compare --model m --adapter out --questions rows.jsonl --max-new-tokens 2", "inspect m",
      "merge --model m --adapter out --output merged16", "generate --model merged16 --prompt hi --max-new-tokens 2",
      "merge --model m --adapter out --output merged32 --save-method merged_32bit",
      "merge --model m --adapter out --output merged4 --save-method merged_4bit",
      "eval --model merged4 --data rows.jsonl",
    ] {
      let outcome = try await workspace.run(line: line)
      #expect(outcome.status == 0, "\(line): \(outcome.errors)")
    }
    #expect(try workspace.json("merged16/config.json")["quantization_config"] == nil)
  }

  @Test func quantizationOptionsNeedQuantization() async throws {
    let workspace = try Workspace()
    let refused = try await workspace.run(line: "generate --model m --prompt hi --bnb-4bit-quant-type fp4")
    #expect(refused.status == 2 && refused.errors.contains("--load-in-4bit"))
  }
}
