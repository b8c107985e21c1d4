import Datasets
import Recipes
import Swiftlet
import TestSupport
import Foundation
import Models
import OrderedJSON
import Tensors
import Testing
import Tokenizers

/// Twenty steps from a recipe and rows of text against TRL's Trainer on the same recipe and rows: see
/// Tests/Goldens/generators/recipe_runs.py. Reading, templates, tokens, masks, packs, orders and steps are all ours.
@Suite struct RecipeRunTests {
  static let names = ["pairs_wrapped", "chat_assistant", "text_warmup", "pairs_bfd", "text_cosine"]

  @Test(arguments: names) func recipeRunsAsWithTRL(_ name: String) throws {
    try Self.checkRun(name, on: CPUBackend.shared)
  }

  static func checkRun(_ name: String, on backend: any Backend) throws {
    let folder = TinyModel.folder.appendingPathComponent("recipe_runs/\(name)")
    let reference = try golden("recipe_runs/\(name)/golden.json")
    let recipe = try Recipe(commandLine: ["--config", folder.appendingPathComponent("recipe.yaml").path])
    let tokenizer = try Tokenizer(directory: TinyModel.folder.appendingPathComponent("models/tokenizer"))
    let rowTokenizer = try RowTokenizer(
      tokenizer, template: recipe.tokens(of: tokenizer).template,
      marksAssistant: recipe.training.preparation.assistantOnlyLoss)
    let rows = try RecipeRows(recipe, tokenizer: rowTokenizer)
    let (set, _) = try Preparation(rowTokenizer, options: recipe.training.preparation).prepare(rows.train)
    try checkFirstBatch(set, recipe.training, reference)

    let files = try ModelFiles(opening: URL(fileURLWithPath: recipe.locate(recipe.model.name)))
    let model = try CausalLM(files, tokenizer: tokenizer, on: backend, inFloat32: recipe.lora == nil)
    let adapter = try recipe.lora.map { _ in
      try Adapter(reading: folder.appendingPathComponent("adapter"), onto: model.transformer)
    }
    let trainer = try Trainer(model, adapter: adapter, configuration: recipe.training, trainingSet: set)
    try trainer.train()

    let steps = try #require(reference["steps"]?.array)
    #expect(steps.count == 20 && trainer.state.logHistory.count == 20)
    for (log, step) in zip(trainer.state.logHistory, steps) {
      let number = log["step"]?.integer ?? 0
      for (key, tolerance) in [("loss", 1e-5), ("grad_norm", 1e-5), ("learning_rate", 1e-8), ("epoch", 1e-8)] {
        let ours = try #require(log[key]?.double)
        let theirs = try #require(step[key]?.double)
        #expect(relativeError(ours, theirs) < tolerance, "\(key) of step \(number): \(ours), not \(theirs)")
      }
      #expect(log["num_tokens"]?.double == step["num_tokens"]?.double, "step \(number)")
    }
  }

  /// The ids of the first batch, sequence by sequence.
  private static func checkFirstBatch(_ set: TrainingSet, _ arguments: TrainingConfiguration, _ reference: JSONValue)
    throws
  {
    let order = BatchOrder(
      itemCount: set.items.count, batchSize: arguments.trainBatchSize,
      seed: UInt64(arguments.dataSeed ?? arguments.seed))
    let batch = set.batch(order.items(epoch: 0).prefix(arguments.trainBatchSize))
    let sequences = zip(batch.sequenceStarts, batch.sequenceStarts.dropFirst()).map { Array(batch.ids[$0..<$1]) }
    let expected = try #require(reference["first_batch"]?.array).map { $0.array?.compactMap(\.integer) ?? [] }
    #expect(sequences.map { $0.map(Int.init) } == expected)
  }
}
