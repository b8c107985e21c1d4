import Recipes
import Reports
import TestSupport
import Training
import Foundation
import OrderedJSON
import Testing

@Suite struct ModelCardTests {
  static func recipe() throws -> Recipe {
    try Recipe(
      yaml: """
        model_name_or_path: Qwen/Qwen3-0.6B
        datasets: [{path: org/rows, fraction: 0.5}, {path: ./more.jsonl, fraction: 0.5}]
        steps: [{template: "中文 {a}: \\"x\\"\\n```"}, {shuffle: 3407}]
        use_peft: true
        lora_r: 8
        learning_rate: 1e-5
        rank_pattern: {q_proj: 4}
        eos_token: "no"
        run_name: yoda
        output_dir: outputs/yoda
        """)
  }

  static func state() -> TrainerState {
    var state = TrainerState()
    state.globalStep = 20
    state.epoch = 2
    for step in [10, 20] {
      state.append(
        TrainingLog(
          step: step, epoch: Double(step) / 10, loss: 25 / Double(step), gradNorm: 1, learningRate: 1e-5,
          numTokens: 900 * step, elapsed: 9.6 * Double(step)))
    }
    state.append(EvaluationLog(step: 20, epoch: 2, loss: 1.5, tokens: 10, runtime: 1))
    return state
  }

  @Test func yamlIsTheSameRecipe() throws {
    let recipe = try Self.recipe()
    let again = try Recipe(yaml: recipe.yaml)
    #expect(again.arguments.members.map(\.value) == recipe.arguments.members.map(\.value))
    #expect(Set(again.origins.keys) == Set(recipe.origins.keys))
    #expect(recipe.yaml.contains("output_dir: outputs/yoda\n"))
    #expect(recipe.yaml.contains("eos_token: \"no\"\n"))
  }

  @Test func describesTheRun() throws {
    var card = ModelCard(recipe: try Self.recipe(), state: Self.state())
    card.trainRows = 360
    card.trainableParameters = 4_884_480
    card.totalParameters = 139_399_488
    card.answers = [.init(question: "Say | it", before: "a\nb", after: "c")]
    let text = card.text
    for part in [
      "---\nbase_model: \"Qwen/Qwen3-0.6B\"\ndatasets: [\"org/rows\"]\nlibrary_name: peft\n", "# yoda\n",
      "A LoRA adapter of rank 8 for `Qwen/Qwen3-0.6B`", "| last logged loss | 1.250 |",
      "| validation perplexity | 4.482 |", "| trained parameters | 4.88M of 139M (3.50%) |", "| time | 3m12s |",
      "![Training loss](loss_curve.png)", "| Say \\| it | a<br>b | c |", "AutoPeftModelForCausalLM",
      "- `./more.jsonl`, split train, share 0.5", "- 360 training rows", "``````yaml\nmodel_name_or_path: ",
    ] {
      #expect(text.contains(part), "\(part)")
    }
  }

  /// Commands run in the output folder, so a path leads from there; a hub's name holds everywhere.
  @Test func theCommandsOfACardWork() throws {
    var recipe = try Recipe(
      yaml: """
        model_name_or_path: models/tiny/base
        dataset_name: rows.jsonl
        use_peft: true
        load_in_4bit: true
        use_bnb_nested_quant: true
        bnb_4bit_quant_type: nf4
        output_dir: outputs/mine
        """)
    let text = ModelCard(recipe: recipe, state: TrainerState()).text
    #expect(
      text.contains(
        "swiftlet chat --model ../../models/tiny/base --load-in-4bit --bnb-4bit-quant-type nf4 "
          + "--bnb-4bit-use-double-quant --adapter .\n"))
    #expect(text.contains("swiftlet merge --model ../../models/tiny/base --adapter . --output merged\n"))
    #expect(text.contains("AutoModelForCausalLM.from_pretrained(\"../../models/tiny/base\")"))
    recipe.model.name = "my models/tiny/base"
    #expect(
      ModelCard(recipe: recipe, state: TrainerState()).text.contains(
        "swiftlet merge --model '../../my models/tiny/base' --adapter ."))
    let fromHub = ModelCard(recipe: try Self.recipe(), state: TrainerState()).text
    #expect(fromHub.contains("swiftlet chat --model Qwen/Qwen3-0.6B --adapter .\n"))
  }

  /// Neither the card's text nor its recipe shows where things are on this machine.
  @Test func privatePathsStayPrivate() throws {
    let home = try #require(ProcessInfo.processInfo.environment["HOME"])
    for base in ["~/models/base.gguf", "/secret/models/base.gguf", "\(home)/models/base.gguf"] {
      let recipe = try Recipe(
        yaml: """
          model_name_or_path: \(base)
          dataset_name: ~/data/rows.jsonl
          eval_dataset: /secret/held.jsonl
          use_peft: true
          output_dir: \(home)/secret/mine
          """)
      let text = ModelCard(recipe: recipe, state: TrainerState()).text
      for part in ["~/", "/secret", home + "/", "/models"] { #expect(!text.contains(part), "\(part)") }
      #expect(text.contains("model_name_or_path: base.gguf\n") && text.contains("- `rows.jsonl`, split train"))
      #expect(text.contains("swiftlet chat --model BASE_MODEL --adapter .\n"))
    }
  }

  /// Paths in `training_args.json` lead from its folder, or are cut down to a name.
  @Test func savedArgumentsHaveNoPrivatePaths() throws {
    let home = try #require(ProcessInfo.processInfo.environment["HOME"])
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("paths-\(UUID())")
    let out = folder.appendingPathComponent("outputs/mine")
    try FileManager.default.createDirectory(at: out, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    for name in ["rows.jsonl", "asked.txt", "t.jinja"] { try Data().write(to: folder.appendingPathComponent(name)) }
    let recipe = try Recipe(
      yaml: """
        model_name_or_path: \(home)/models/base.gguf
        datasets:
          - {path: rows.jsonl, split: train}
          - {path: json, data_files: ["\(folder.path)/rows.jsonl", ~/private/more.jsonl]}
          - {query: "SELECT a FROM '/secret/data/a.parquet' JOIN '~/b/b.parquet' WHERE c = '/no_think'"}
        eval_dataset: org/name
        questions: asked.txt
        chat_template_path: t.jinja
        output_dir: \(out.path)
        """, file: folder.appendingPathComponent("recipe.yaml").path)
    let file = out.appendingPathComponent("training_args.json")
    try recipe.writeArguments(to: file)
    let arguments = try JSONValue(parsing: Data(contentsOf: file))
    #expect(arguments["model_name_or_path"] == "base.gguf")
    let sources = try #require(arguments["datasets"]?.array)
    #expect(sources[0]["path"] == "../../rows.jsonl" && sources[0]["split"] == "train")
    #expect(sources[1]["path"] == "json")
    #expect(sources[1]["data_files"]?["train"] == ["../../rows.jsonl", "more.jsonl"])
    #expect(sources[2]["query"] == "SELECT a FROM 'a.parquet' JOIN 'b.parquet' WHERE c = '/no_think'")
    #expect(arguments["eval_dataset"]?["path"] == "org/name")
    #expect(arguments["questions"] == "../../asked.txt" && arguments["chat_template_path"] == "../../t.jinja")
    let card = ModelCard(recipe: recipe, state: TrainerState()).text
    for text in [card, try String(contentsOf: file, encoding: .utf8)] {
      for part in [home + "/", "~/", "/secret", "private/", folder.path] { #expect(!text.contains(part), "\(part)") }
    }
  }

  @Test func filesAreWritten() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("card-\(UUID())")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let full = try Recipe(yaml: "model_name_or_path: /models/base\ndataset_name: rows.jsonl\noutput_dir: out\n")
    try ModelCard(recipe: full, state: TrainerState()).write(to: folder)
    let card = try String(contentsOf: folder.appendingPathComponent("README.md"), encoding: .utf8)
    #expect(card.contains("A full fine-tune of `base`") && !card.contains("base_model:"))
    try full.writeArguments(to: folder.appendingPathComponent("training_args.json"))
    let arguments = try JSONValue(parsing: Data(contentsOf: folder.appendingPathComponent("training_args.json")))
    #expect(arguments["output_dir"] == "out")
    #expect(arguments["learning_rate"] == 2e-05)
  }
}
