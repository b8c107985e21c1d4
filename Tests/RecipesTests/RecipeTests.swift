import Diagnostics
import Models
import Recipes
import Reports
import TestSupport
import Training
import Foundation
import OrderedJSON
import Testing

@Suite struct RecipeTests {
  func message(_ yaml: String, _ words: String...) -> String {
    do {
      _ = try Recipe(yaml: yaml, file: "r.yaml", commandLine: words)
      return "no error"
    } catch {
      return error.description
    }
  }

  /// Of several patterns that match, PEFT takes the first one inserted.
  @Test(arguments: [
    ("{q_proj: 4, layers.1.self_attn.q_proj: 2}", 4), ("{layers.1.self_attn.q_proj: 2, q_proj: 4}", 2),
    ("{z_proj: 1, 'layers\\..*': 3, q_proj: 4}", 3),
  ])
  func overlappingPatternsKeepTheRecipesOrder(_ patterns: String, _ expected: Int) throws {
    let path = "model.layers.1.self_attn.q_proj"
    let lora = try #require(Recipe(yaml: "use_peft: true\nrank_pattern: \(patterns)\nalpha_pattern: \(patterns)").lora)
    #expect(lora.rank(of: path) == expected && lora.scale(of: path) == 1)
  }

  @Test func theRecipeOfTRLsOwnPageRuns() throws {
    let recipe = try Recipe(
      yaml: """
        # trl sft --config
        model_name_or_path: Qwen/Qwen2.5-0.5B
        dataset_name: stanfordnlp/imdb
        report_to: none
        learning_rate: 2e-4
        lr_scheduler_type: cosine
        use_peft: true
        lora_r: 8
        lora_target_modules: [q_proj, v_proj]
        eval_strategy: no
        max_length: null
        bf16: true
        fp16: false
        """)
    #expect(recipe.model.name == "Qwen/Qwen2.5-0.5B")
    #expect(recipe.training.learningRate == 2e-4)
    #expect(recipe.training.scheduler == .cosine)
    #expect(recipe.training.evalStrategy == .no)
    #expect(recipe.training.preparation.maxLength == nil)
    #expect(recipe.lora?.rank == 8)
    #expect(recipe.lora?.alpha == 32)
    #expect(recipe.lora?.targetModules == .names(["q_proj", "v_proj"]))
    #expect(recipe.training.bf16 == true)
    #expect(
      recipe.notes == [
        "recipe, line 13: fp16 has no effect: activations are float32, weights are float32 or as stored, and products accumulate in float32."
      ])
    #expect(recipe.origins["lora_r"] == FileLocation(file: "recipe", line: 8))
    #expect(recipe.arguments["learning_rate"] == 2e-4)
    try recipe.checkComplete()
  }

  @Test func commandLineOverridesTheFile() throws {
    let recipe = try Recipe(
      yaml: "learning_rate: 1e-3\nseed: 1\npacking: true\n", file: "r.yaml",
      commandLine: [
        "--learning-rate", "5e-5", "--max_steps=30", "--use-peft", "--target_modules", "q_proj", "o_proj",
        "--no-gradient-checkpointing", "--lr_scheduler_kwargs", "{num_cycles: 2}",
      ])
    #expect(recipe.training.learningRate == 5e-5)
    #expect(recipe.training.maxSteps == 30)
    #expect(recipe.training.seed == 1)
    #expect(recipe.training.preparation.packing == .bfd)
    #expect(recipe.training.checkpointing == .never)
    #expect(recipe.training.schedulerOptions.numCycles == 2)
    #expect(recipe.lora?.targetModules == .names(["q_proj", "o_proj"]))
    #expect(recipe.origins["learning_rate"] == FileLocation(file: "command line"))
  }

  @Test func targetModulesInAllThreeForms() throws {
    func target(_ text: String) throws -> LoRAConfiguration.TargetModules? {
      try Recipe(yaml: "use_peft: true\nlora_target_modules: \(text)\n").lora?.targetModules
    }
    #expect(try target("all-linear") == .allLinear)
    #expect(try target("[all-linear]") == .allLinear)
    #expect(try target("q_proj") == .names(["q_proj"]))
    #expect(try target("'.*layers\\.[0-3]\\..*proj'") == .pattern(".*layers\\.[0-3]\\..*proj"))
    // Depends on the model's family.
    #expect(try target("null") == nil)
  }

  @Test func earlierSpellingsAreAcceptedWithANote() throws {
    let recipe = try Recipe(yaml: "max_seq_length: 512\ntorch_dtype: bfloat16\nevaluation_strategy: steps\n")
    #expect(recipe.training.preparation.maxLength == 512)
    #expect(recipe.training.savedType == .bfloat16)
    #expect(recipe.notes.first == "recipe, line 1: max_seq_length is now called max_length.")
  }

  @Test func mistakesAreNamed() {
    #expect(
      message("use_peft: true\nlora_rr: 8\n") == "r.yaml, line 2: unknown key lora_rr; did you mean lora_r?"
    )
    #expect(
      message("sequence_len: 8") == "r.yaml, line 1: unknown key sequence_len; did you mean max_length?")
    #expect(
      message("", "--epochs", "2") == "command line: unknown key epochs; did you mean num_train_epochs?")
    #expect(message("qqqqqqqqqqqqqqqqqq: 1").hasSuffix("Documentation/RecipeKeys.md lists the keys"))
    #expect(message("max_steps: ten") == "r.yaml, line 1: max_steps must be an integer (got \"ten\")")
    #expect(message("lora_dropout: 1.0").contains("lora_dropout must be from 0.0 to below 1.0 (got \"1.0\")"))
    #expect(message("optim: ademamix").contains("must be adamw_torch_fused, adamw_torch,"))
    #expect(message("learning_rate: .nan").contains("must be a number"))
    #expect(message("max_grad_norm: inf").contains("must be a number"))
    #expect(message("seed: 99999999999999999999").contains("must be an integer"))
    #expect(message("learning_rate:").contains("learning_rate must be a number (got nothing)"))
    #expect(
      message("r: 8\nlora_r: 8\nuse_peft: true") == "r.yaml, line 2: lora_r means the same as r; keep one of them")
    #expect(message("seed: 1\nseed: 2").contains("seed appears twice"))
    #expect(message("", "--seed", "1", "--seed", "2") == "command line: seed appears twice")
    #expect(
      message("", "seed", "1")
        == "command line: unexpected argument \"seed\"; write keys with two dashes, as in --learning_rate 2e-4")
  }

  @Test func contradictionsAreNamed() {
    #expect(message("lora_r: 8") == "r.yaml, line 1: lora_r needs use_peft: true; without it, every weight is trained")
    #expect(message("lora_r: 8\nuse_peft: false") == "no error")
    #expect(message("load_in_4bit: true").contains("load_in_4bit needs use_peft: true"))
    #expect(message("packing: true\nmax_length: null").contains("packing needs a max_length"))
    #expect(message("datasets: [{path: a, fraction: 0.5}, {path: b}]").contains("give one to all of them or to none"))
    #expect(message("lr_scheduler_type: cosine_with_min_lr").contains("either min_lr or min_lr_rate"))
    #expect(message("lr_scheduler_type: polynomial\nlearning_rate: 1e-8").contains("got 1e-07"))
  }

  @Test func refusalsSayWhy() {
    #expect(
      message("deepspeed: zero3.json")
        == "r.yaml, line 1: deepspeed is not supported: processes are started with mpirun; leave it out")
    #expect(message("torch_compile: true").contains("torch_compile is not supported: Swiftlet does not use PyTorch"))
    #expect(message("num_processes: 4").contains("multiply gradient_accumulation_steps by it instead"))
    #expect(message("report_to: wandb").contains("use tensorboard or jsonl instead"))
    #expect(
      message("deepspeed: null\ntorch_compile: false\npush_to_hub: yes\nnum_processes: 1\nreport_to: [none]")
        == "no error")
  }

  @Test func malformedRecipesAreOneSentence() {
    #expect(message("- a\n- b").contains("a recipe is a list of `key: value` lines"))
    #expect(message("a: [1, 2").hasPrefix("r.yaml, line "))
    #expect(message("\u{0}").hasPrefix("r.yaml"))
    #expect(message(String(repeating: "[", count: 100_000)).hasPrefix("r.yaml"))
    #expect(
      message("steps: " + String(repeating: "[", count: 900) + String(repeating: "]", count: 900)).contains(
        "nested too deeply"))
    var bomb = "a: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    for level in 1...12 {
      bomb += "b\(level): &a\(level) [" + Array(repeating: "*a\(level - 1)", count: 10).joined(separator: ", ") + "]\n"
    }
    #expect(message(bomb).hasPrefix("r.yaml, line"))
    #expect(message("") == "no error")
    #expect(throws: SwiftletError.self) { try Recipe(commandLine: ["--config", "/nowhere/r.yaml"]) }
    #expect(throws: SwiftletError.self) { try Recipe(commandLine: ["--config"]) }
  }

  @Test func incompleteRecipesAreRefusedBeforeTraining() throws {
    let empty = try Recipe(yaml: "")
    #expect(throws: SwiftletError.self) { try empty.checkComplete() }
    #expect(throws: SwiftletError.self) { try Recipe(yaml: "model_name_or_path: m").checkComplete() }
  }

  @Test func recipesOfTheExamplesAreValid() throws {
    let folder = repository.appendingPathComponent("Examples")
    let files = FileManager.default.enumerator(at: folder, includingPropertiesForKeys: nil)?.compactMap { $0 as? URL }
    let recipes = (files ?? []).filter { $0.pathExtension == "yaml" }
    #expect(!recipes.isEmpty)
    for recipe in recipes { try Recipe(commandLine: ["--config", recipe.path]).checkComplete() }
  }

  @Test func warmupCountsAsInTransformers() {
    var training = TrainingConfiguration()
    training.warmupSteps = 0.1
    #expect(training.warmupStepCount(ofTotal: 25) == 3)
    training.warmupSteps = 5.9
    #expect(training.warmupStepCount(ofTotal: 25) == 5)
    training.warmupSteps = 0
    training.warmupRatio = 1
    #expect(training.warmupStepCount(ofTotal: 25) == 25)
    training.warmupRatio = 0.03
    #expect(training.warmupStepCount(ofTotal: 100) == 3)
    #expect(TrainingConfiguration.interval(0.1, ofTotal: 25) == 3)
    #expect(TrainingConfiguration.interval(10, ofTotal: 25) == 10)
  }

  @Test func earlyStoppingInARecipe() throws {
    let keys = "eval_strategy: steps\nload_best_model_at_end: true\nearly_stopping_patience: 3\n"
    let recipe = try Recipe(yaml: keys + "early_stopping_threshold: 0.01")
    #expect(recipe.training.earlyStoppingPatience == 3 && recipe.training.earlyStoppingThreshold == 0.01)
    for yaml in ["early_stopping_patience: 3", "early_stopping_threshold: 0.1", keys + "early_stopping_threshold: -1"] {
      let message = TinyTrainer.message { _ = try Recipe(yaml: yaml) }
      #expect(message.contains("early_stopping_"), "\(message)")
    }
  }

  @Test func destinationsInARecipe() throws {
    func destinations(_ value: String) throws -> [ReportDestination] {
      try Recipe(yaml: "report_to: \(value)").reports.destinations
    }
    for none in ["none", "null", "[]", "[none]", "\"none\"", "\"no\""] {
      #expect(try destinations(none) == [], "\(none)")
    }
    #expect(try destinations("tensorboard") == [.tensorboard])
    #expect(try destinations("[jsonl, tensorboard, jsonl]") == [.jsonl, .tensorboard])
    #expect(try destinations("all") == [.tensorboard, .jsonl])
    for (value, name) in [("wandb", "wandb"), ("[tensorboard, mlflow]", "mlflow"), ("[tensorboard, none]", "none")] {
      let message = TinyTrainer.message { _ = try destinations(value) }
      #expect(message.contains("report_to") && message.contains(name), "\(message)")
      #expect(message.contains("tensorboard, jsonl"), "\(message)")
    }
    let recipe = try Recipe(yaml: "report_to: [tensorboard, jsonl]\nlogging_dir: logs")
    #expect(try Recipe(yaml: recipe.yaml).reports == recipe.reports && recipe.notes == [])
  }

  @Test func scheduleFreeOptimizersNeedNoSchedule() throws {
    func advice(_ yaml: String) throws -> [String] {
      try Recipe(yaml: "optim: schedule_free_adamw\nlearning_rate: 1e-3\n\(yaml)")
        .advice(rows: 100, steps: 100, stepsPerEpoch: 50)
    }
    #expect(try advice("").contains { $0.contains("lr_scheduler_type is linear") })
    #expect(try advice("lr_scheduler_type: constant").isEmpty)
  }
}
