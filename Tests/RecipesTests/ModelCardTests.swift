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

  @Test func tellsOfTheRun() throws {
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

  /// A path is written as where the run was; a hub's name holds everywhere.
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
        "swiftlet chat --model models/tiny/base --load-in-4bit --bnb-4bit-quant-type nf4 --bnb-4bit-use-double-quant "
          + "--adapter outputs/mine\n"))
    #expect(text.contains("swiftlet merge --model models/tiny/base --adapter outputs/mine --output merged\n"))
    recipe.model.name = "my models/tiny/base"
    #expect(
      ModelCard(recipe: recipe, state: TrainerState()).text.contains(
        "swiftlet merge --model 'my models/tiny/base' --adapter outputs/mine"))
    let fromHub = ModelCard(recipe: try Self.recipe(), state: TrainerState()).text
    #expect(fromHub.contains("swiftlet chat --model Qwen/Qwen3-0.6B --adapter .\n"))
  }

  /// A card is shared: it has no path of the home directory, and says what PEFT needs to know.
  @Test func theHomeDirectoryIsHidden() throws {
    let home = try #require(ProcessInfo.processInfo.environment["HOME"])
    let recipe = try Recipe(
      yaml: """
        model_name_or_path: \(home)/models/base.gguf
        dataset_name: \(home)/rows.jsonl
        use_peft: true
        output_dir: \(home)/out
        """)
    let text = ModelCard(recipe: recipe, state: TrainerState()).text
    #expect(!text.contains(home + "/"), "\(text)")
    #expect(text.contains("swiftlet chat --model '~/models/base.gguf' --adapter '~/out'\n"))
    #expect(text.contains("first set it to the repository"))
    #expect(!ModelCard(recipe: try Self.recipe(), state: TrainerState()).text.contains("first set it"))
  }

  @Test func filesAreWritten() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("card-\(UUID())")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let full = try Recipe(yaml: "model_name_or_path: /models/base\ndataset_name: rows.jsonl\noutput_dir: out\n")
    try ModelCard(recipe: full, state: TrainerState()).write(to: folder)
    let card = try String(contentsOf: folder.appendingPathComponent("README.md"), encoding: .utf8)
    #expect(card.contains("All weights of `/models/base`") && !card.contains("base_model:"))
    try full.writeArguments(to: folder.appendingPathComponent("training_args.json"))
    let arguments = try JSONValue(parsing: Data(contentsOf: folder.appendingPathComponent("training_args.json")))
    #expect(arguments["output_dir"] == "out")
    #expect(arguments["learning_rate"] == 2e-05)
  }
}
