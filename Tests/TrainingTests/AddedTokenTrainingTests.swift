import Datasets
import Foundation
import Models
import OrderedJSON
import Recipes
import TestSupport
import Testing
import Training

/// Ten steps of TRL's trainer with two added tokens: see Tests/Goldens/generators/added_tokens.py. The tolerances are those of
/// `TrainingGoldenTests`.
@Suite struct AddedTokenTrainingTests {
  @Test(arguments: ["full", "lora", "tokens", "whole", "apart", "cloned"]) func runEqualsTRL(_ name: String) throws {
    let reference = try golden("added_tokens/\(name).json")
    let base = try #require(reference["base"]?.string)
    let folder = try scratchFolder("added-tokens")
    defer { try? FileManager.default.removeItem(at: folder) }
    for path in ["\(base)/config.json", "\(base)/model.safetensors", "models/tokenizer/tokenizer.json"] {
      let file = TinyModel.folder.appendingPathComponent(path)
      try FileManager.default.copyItem(at: file, to: folder.appendingPathComponent(file.lastPathComponent))
    }
    let plain = try ModelFiles(opening: folder)
    let source = TinyModel.folder.appendingPathComponent("added_tokens/source").path
    let recipe = try Recipe(
      commandLine: name == "cloned"
        ? ["--chat_template_path", source] : ["--add_tokens", "<note>", "--add_special_tokens", "<|tool|>"])
    let files = try plain.adding(recipe.tokens(of: plain.tokenizer()).added)
    let path = reference["adapter"]?.string
    let model = try CausalLM(files, tokenizer: files.tokenizer(), inFloat32: path == nil)
    let adapter = try path.map {
      try Adapter(reading: TinyModel.folder.appendingPathComponent($0), onto: model.transformer)
    }
    let rows = try golden("added_tokens/rows.json").array?.compactMap(\.object) ?? []
    let set = try Preparation(.none, options: PreparationOptions()).prepare(InMemoryRows(rows)).set
    let trainer = try Trainer(
      model, adapter: adapter, configuration: TrainingGoldenTests.arguments(reference), trainingSet: set)
    try trainer.train()
    try TrainingGoldenTests.checkLog(trainer, reference)
    try TrainingGoldenTests.check(trainer, reference["trained"], tolerance: 5e-6)
  }
}
