import Recipes
import Swiftlet
import TestSupport
import Foundation
import OrderedJSON
import Testing

/// The short way to train from Swift, as `Examples/Library` goes.
@Suite struct LibraryTests {
  private static func rows(_ folder: URL) throws -> URL {
    let file = folder.appendingPathComponent("sentences.csv")
    try Data("sentence,translation\nI left it.,\" Left it, I did.\"\nA cat sat.,\" Sat, a cat did.\"\n".utf8).write(
      to: file)
    return file
  }

  @Test func rowsAreChanged() throws {
    let folder = try scratchFolder("library-rows")
    defer { try? FileManager.default.removeItem(at: folder) }
    let sentences = try Dataset(Self.rows(folder).path)
    #expect(sentences.count == 2)
    let renamed = try sentences.renamingColumns(["sentence": "prompt", "translation": "completion"])
    #expect(try renamed.rows.columnNames() == ["prompt", "completion"])
    let text = try renamed.addingText("text", "{prompt}{completion}").removingColumns("prompt", "completion")
    #expect(try JSONValue.object(text.rows.row(at: 1)) == ["text": "A cat sat. Sat, a cat did."])
    let messages = try renamed.addingMessages("messages", ["system": "S", "user": "<{prompt}>"]).first(1).rows.row(
      at: 0)
    #expect(
      messages["messages"] == [["role": "system", "content": "S"], ["role": "user", "content": "<I left it.>"]])
    let (train, test) = try sentences.split(testSize: 0.5, seed: 1)
    #expect(train.count == 1 && test.count == 1)
    #expect(try sentences.shuffled(seed: 3).count == 2 && sentences.first(9).count == 2)
    #expect(
      TinyTrainer.message { _ = try sentences.renamingColumns(["nope": "x"]).rows.row(at: 0) }.contains("nope"))
  }

  /// A recipe and a few lines of Swift that say the same train the same.
  @Test func aRunFromSwiftIsTheRunOfTheRecipe() throws {
    let folder = try scratchFolder("library")
    defer { try? FileManager.default.removeItem(at: folder) }
    let file = try Self.rows(folder)
    let base = folder.appendingPathComponent("model")
    try FileManager.default.createDirectory(at: base, withIntermediateDirectories: true)
    for name in ["llama/config.json", "llama/model.safetensors", "tokenizer/tokenizer.json"] {
      let source = TinyModel.folder.appendingPathComponent("models/\(name)")
      try FileManager.default.copyItem(at: source, to: base.appendingPathComponent(source.lastPathComponent))
    }
    var config = SFTConfig()
    config.packing = true
    config.packingStrategy = .wrapped
    config.maxLength = 16
    config.completionOnlyLoss = true
    config.trainBatchSize = 2
    config.epochs = 4
    config.learningRate = 1e-3
    config.loggingSteps = 1
    config.outputDir = folder.appendingPathComponent("swift").path
    let rows = try Dataset(file.path).renamingColumns(["sentence": "prompt", "translation": "completion"])
    let model = try CausalLM(opening: base)
    let trainer = try Trainer(model, lora: LoRA(r: 4, alpha: 8, dropout: 0.1), config: config, dataset: rows)
    try trainer.train()
    try trainer.saveModel()

    let recipe = try Recipe(
      yaml: """
        model_name_or_path: \(base.path)
        dataset_name: \(file.path)
        steps: [{rename_columns: {sentence: prompt, translation: completion}}]
        packing: true
        packing_strategy: wrapped
        max_length: 16
        completion_only_loss: true
        per_device_train_batch_size: 2
        num_train_epochs: 4
        learning_rate: 1e-3
        logging_steps: 1
        use_peft: true
        lora_r: 4
        lora_alpha: 8
        lora_dropout: 0.1
        lora_target_modules: all-linear
        output_dir: \(folder.appendingPathComponent("recipe").path)
        """)
    let run = try TrainingRun(recipe, modelURL: base)
    try run.trainer.train()
    try run.write()
    #expect(TinyTrainer.log(trainer) == TinyTrainer.log(run.trainer) && trainer.state.logHistory.count > 4)
    func adapter(_ name: String) throws -> Data {
      try Data(contentsOf: folder.appendingPathComponent("\(name)/adapter_model.safetensors"))
    }
    #expect(try adapter("swift") == adapter("recipe"))
    let answer = try Question("I left it.").answer(by: run.model, maxNewTokens: 5)
    #expect(try model.answer("I left it.", maxNewTokens: 5) == answer)
  }
}
