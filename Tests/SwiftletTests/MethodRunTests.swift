import Datasets
import Foundation
import Models
import OrderedJSON
import Recipes
import Swiftlet
import TestSupport
import Testing
import Tokenizers
import Training

/// Twenty steps from a recipe against TRL's trainer of the same method: see Tests/Goldens/generators/method_runs.py.
/// Reading, templates, tokens, orders, losses and steps are all ours.
@Suite struct MethodRunTests {
  static let runs = [
    "dpo_text", "dpo_chat", "dpo_precomputed", "dpo_sync", "orpo_text", "cpo_text", "kto_text", "kto_full",
    "grpo_text", "grpo_full", "dpo_experts", "kto_experts", "grpo_experts", "orpo_experts",
  ]

  /// The trainer of a recipe under `method_runs`, with some settings changed.
  /// - Parameter isScripted: whether completions and rewards of `grpo` follow the script of the goldens.
  static func trainer(
    _ name: String, changes: [String] = [], output: URL? = nil, isScripted: Bool = true,
    _ change: (inout TrainingConfiguration) -> Void = { _ in }
  ) throws -> Trainer {
    let folder = TinyModel.folder.appendingPathComponent("method_runs/\(name)")
    let method = try #require(name.split(separator: "_").first.flatMap { TrainingMethod.Name(rawValue: String($0)) })
    let recipe = try Recipe(
      commandLine: ["--config", folder.appendingPathComponent("recipe.yaml").path] + changes, method: method)
    var configuration = recipe.training
    change(&configuration)
    let tokenizer = try Tokenizer(directory: TinyModel.folder.appendingPathComponent("models/tokenizer"))
    let template = folder.deletingLastPathComponent().appendingPathComponent("data/template.jinja")
    let rowTokenizer = try RowTokenizer(tokenizer, template: String(contentsOf: template, encoding: .utf8))
    let rows = try RecipeRows(recipe, tokenizer: rowTokenizer)
    let set = try Preparation(rowTokenizer, options: configuration.preparation(forValidation: false))
      .prepare(rows.train).set
    let files = try ModelFiles(opening: URL(fileURLWithPath: recipe.locate(recipe.model.name)))
    let model = try CausalLM(files, tokenizer: tokenizer, inFloat32: recipe.lora == nil)
    let adapter = try recipe.lora.map { _ in
      try Adapter(reading: folder.appendingPathComponent("adapter"), onto: model.transformer)
    }
    var components = Trainer.Components()
    if isScripted, method == .grpo {
      components.completions = ScriptedCompletions(endOfSequence: try #require(tokenizer.specialTokens.eos?.id))
      components.rewards = [SpreadReward(), ParityReward()]
    }
    return try Trainer(
      model, adapter: adapter, configuration: configuration, trainingSet: set,
      validationSet: configuration.evalStrategy == .no ? nil : set, output: output, components: components,
      rows: rows.train, validationRows: rows.train)
  }

  @Test(arguments: runs) func runEqualsTRL(_ name: String) throws {
    // TRL's recipes for ORPO have no key for it; the reference's model asks for it in its configuration.
    let trainer = try Self.trainer(name) { if name == "orpo_experts" { $0.routerLossCoefficient = 0.1 } }
    try trainer.train()
    try Self.compare(trainer, try #require(golden("method_runs/\(name)/golden.json")["steps"]?.array))
  }

  @Test(arguments: ["dpo_text", "cpo_text", "kto_text", "grpo_text"]) func variantsEqualTRL(_ name: String) throws {
    for variant in try #require(golden("method_runs/\(name)/variants.json").array) {
      let label = variant["name"]?.string ?? ""
      let changes = (variant["changes"]?.object?.members ?? []).flatMap { change in
        ["--\(change.key)"] + (change.value.array ?? [change.value]).map { $0.string ?? $0.text() }
      }
      let trainer = try Self.trainer(name, changes: changes)
      try trainer.train()
      try Self.compare(trainer, try #require(variant["steps"]?.array), label)
    }
  }

  /// What TRL counts otherwise: ORPO's and CPO's logits are means over padding too, KTO's tokens do not include the
  /// completions of other rows, and GRPO's are counted when they are sampled.
  private static let otherwise: [TrainingMethod.Name: [String]] = [
    .orpo: ["logits/chosen", "logits/rejected"], .cpo: ["logits/chosen", "logits/rejected"], .kto: ["num_tokens"],
    .grpo: ["num_tokens"],
  ]

  /// Means over tokens weigh all tokens of a step the same here; there, each of its batches.
  private static let tokenMeans = ["entropy", "logits/chosen", "logits/rejected", "mean_token_accuracy"]

  private static func compare(_ trainer: Trainer, _ steps: [JSONValue], _ label: String = "") throws {
    #expect(steps.count == 20 && trainer.state.logHistory.count == 20)
    let isGRPO = trainer.configuration.method.name == .grpo
    let accumulates = trainer.configuration.gradientAccumulationSteps > 1 && !isGRPO
    for (log, step) in zip(trainer.state.logHistory, steps) {
      for (key, value) in step.object?.members ?? [] where !(accumulates && tokenMeans.contains(key)) {
        if otherwise[trainer.configuration.method.name]?.contains(key) == true { continue }
        let ours = try #require(log[key]?.double, "\(key) is not logged")
        let theirs = try #require(value.double)
        // Rewards and divergences are differences of log-probabilities of about 50, and mean logits are sums of hundreds
        // of logits that nearly cancel, both in float32.
        var floor = key.hasPrefix("rewards/") || key == "kl" ? 2e-5 : key.hasPrefix("logits/") ? 1e-7 : 1e-9
        // GRPO's loss is a sum of advantages of about 1 that nearly cancel.
        if isGRPO { floor = key == "loss" ? 2e-7 : 1e-9 }
        #expect(
          abs(ours - theirs) <= max(1e-4 * abs(theirs), floor),
          "\(label) \(key) of step \(log["step"]?.integer ?? 0): \(ours), not \(theirs)")
      }
    }
  }
}
