import Foundation
import OrderedJSON
import Testing

/// `export`, and the output of `merge`.
@Suite struct ExportTests {
  private static let adapter =
    "--use_peft --lora_r 4 --lora_target_modules all-linear --max_steps 3 --learning_rate 5e-2"

  private static func ids(_ workspace: Workspace, _ words: String) async throws -> JSONValue? {
    try await workspace.run(line: "generate \(words) --max-new-tokens 12 --json --prompt", "Say 你好").json()["ids"]
  }

  @Test func anExportedModelAnswersAsBaseAndAdapter() async throws {
    let workspace = try Workspace()
    try await workspace.train(Self.adapter, to: "out")
    let exported = try await workspace.run(line: "export --model m --adapter out --output one.gguf --type f32 --json")
    #expect(try exported.json()["path"] == "one.gguf")
    #expect(try exported.json()["modelfile"]?.string?.hasSuffix("/Modelfile") == true)
    #expect(exported.errors.contains("one.gguf"))
    let expected = try await Self.ids(workspace, "--model m --adapter out")
    #expect(try await Self.ids(workspace, "--model one.gguf") == expected)
    #expect(try await Self.ids(workspace, "--model m") != expected)
    let modelfile = String(decoding: try workspace.data("Modelfile"), as: UTF8.self)
    #expect(modelfile.hasPrefix("FROM ./one.gguf\n") && modelfile.contains("<|im_start|>"))
    // A GGUF file can be exported again, and the adapter fits it too.
    #expect(try await workspace.run(line: "export --model m --output base.gguf --type f32 --no-modelfile").text() == "")
    #expect(
      try await workspace.run(line: "export --model base.gguf --adapter out --output two.gguf --type f32 --overwrite")
        .text() == "")
    #expect(try await Self.ids(workspace, "--model two.gguf") == expected)
    #expect(try await workspace.run(line: "export --model one.gguf --output three.gguf --overwrite").text() == "")
    #expect(try workspace.data("three.gguf") == workspace.data("one.gguf"))
  }

  @Test func anAdapterIsExportedAsAGGUFAdapter() async throws {
    let workspace = try Workspace()
    try await workspace.train(Self.adapter, to: "out")
    #expect(try await workspace.run(line: "export --adapter out --output adapter.gguf").text() == "")
    let bytes = try workspace.data("adapter.gguf")
    #expect(bytes.prefix(4) == Data("GGUF".utf8))
    for text in ["adapter.lora.alpha", "blk.0.attn_q.weight.lora_b"] {
      #expect(bytes.range(of: Data(text.utf8)) != nil, "\(text)")
    }
    #expect(!workspace.exists("Modelfile"))
    let expected = try await Self.ids(workspace, "--model m --adapter out")
    #expect(try await Self.ids(workspace, "--model m --adapter adapter.gguf") == expected)
    // The base model may have been moved since.
    try FileManager.default.moveItem(
      at: workspace.url.appendingPathComponent("m"), to: workspace.url.appendingPathComponent("n"))
    let lost = try await workspace.run(line: "export --adapter out --output again.gguf --overwrite")
    #expect(lost.status == 1 && lost.errors.contains("--base"), "\(lost.errors)")
    #expect(
      try await workspace.run(line: "export --adapter out --base n/config.json --output again.gguf --overwrite").text()
        == "")
    #expect(try workspace.data("again.gguf").suffix(20_000) == bytes.suffix(20_000))
  }

  /// A folder for MLX is a model like any other, and so trains an adapter, which is exported for mlx-lm.
  @Test func modelsAndAdaptersAreExportedForMLX() async throws {
    let workspace = try Workspace()
    try await workspace.train(Self.adapter, to: "out")
    let exported = try await workspace.run(
      line: "export --format mlx --model m --adapter out --output mlx --type f32 --json")
    #expect(try exported.json()["path"] == "mlx", "\(exported.errors)")
    let expected = try await Self.ids(workspace, "--model m --adapter out")
    #expect(try await Self.ids(workspace, "--model mlx") == expected)
    let small = try await workspace.run(line: "export --format mlx --model m --output four --group-size 32")
    #expect(small.status == 0, "\(small.errors)")
    let config = try JSONValue(parsing: workspace.data("four/config.json"))
    #expect(config["quantization"] == ["group_size": 32, "bits": 4, "mode": "affine"])
    #expect(config["quantization"] == config["quantization_config"])
    let adapter = try await workspace.run(line: "export --format mlx --adapter out --output adapter")
    #expect(adapter.status == 0 && workspace.exists("adapter/adapters.safetensors"), "\(adapter.errors)")
    #expect(try await Self.ids(workspace, "--model m --adapter adapter") == expected)
    for (arguments, part) in [
      ("--model m --output a.gguf", ".gguf"), ("--model m --output a --type q8_0", "4bit"),
      ("--model m --output a --group-size 48", "--group-size"), ("--adapter out --output a --type 4bit", "--type"),
    ] {
      let refused = try await workspace.run(line: "export --format mlx \(arguments)")
      #expect(refused.status == 2 && refused.errors.contains(part), "\(refused.errors)")
    }
    for arguments in ["--model m --output m", "--model m --output out"] {
      let refused = try await workspace.run(line: "export --format mlx \(arguments)")
      #expect(refused.status == 1 && refused.errors.contains("--overwrite"), "\(refused.errors)")
    }
  }

  @Test func mergingSaysWhatItChangedAndZips() async throws {
    let workspace = try Workspace()
    try workspace.write("m/additional_chat_templates/rag.jinja", "{{ messages }}")
    try await workspace.train(Self.adapter, to: "out")
    let merged = try await workspace.run(line: "merge --model m --adapter out --output one --zip")
    #expect(merged.text() == "")
    #expect(merged.errors.contains("Compared with base model and adapter on sample prompts"), "\(merged.errors)")
    #expect(try workspace.data("one.zip").prefix(2) == Data("PK".utf8))
    // The weights are stored uncompressed.
    let weights = try workspace.data("one/model.safetensors")
    #expect(try workspace.data("one.zip").range(of: weights) != nil)
    #expect(try workspace.data("one.zip").range(of: Data("one/additional_chat_templates/rag.jinja".utf8)) != nil)
    let whole = try await workspace.run(
      line: "merge --model m --adapter out --output two --save-method merged_32bit --json")
    #expect(whole.errors.contains("the most likely token at 0 of"), "\(whole.errors)")
    let json = try whole.json()
    #expect(json["path"] == "two" && json["type"] == "float32" && json["zip"] == nil)
    #expect(json["logits"]?["changed_choices"] == 0)
    #expect(!workspace.exists("two.zip"))
  }
}
