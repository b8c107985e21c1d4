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

/// Twenty steps of reward models and classifiers from a recipe against TRL's RewardTrainer and transformers' Trainer:
/// see Tests/Goldens/generators/scoring_runs.py.
@Suite struct ScoringRunTests {
  static let runs = ["reward_text", "reward_chat", "reward_full", "classify_text", "classify_full"]

  private static func folder(_ name: String) -> URL {
    TinyModel.folder.appendingPathComponent("scoring_runs/\(name)")
  }

  /// The trainer of a recipe under `scoring_runs`, and its rows.
  static func trainer(
    _ name: String, output: URL? = nil, _ change: (inout TrainingConfiguration) -> Void = { _ in }
  ) throws -> (trainer: Trainer, set: TrainingSet) {
    let expected = try golden("scoring_runs/\(name)/golden.json")
    let method = try #require(name.split(separator: "_").first.flatMap { TrainingMethod.Name(rawValue: String($0)) })
    let recipe = try Recipe(
      commandLine: ["--config", folder(name).appendingPathComponent("recipe.yaml").path], method: method)
    var configuration = recipe.training
    change(&configuration)
    let tokenizer = try Tokenizer(directory: TinyModel.folder.appendingPathComponent("models/tokenizer"))
    let template = try String(
      contentsOf: TinyModel.folder.appendingPathComponent("method_runs/data/template.jinja"), encoding: .utf8)
    let rowTokenizer = try RowTokenizer(tokenizer, template: template, configuration)
    let rows = try PreparedRows(
      training: RecipeRows(recipe, tokenizer: rowTokenizer).train, validation: nil, tokenizer: rowTokenizer,
      configuration)
    let names = rows.labels?.names ?? SequenceHead.defaultLabels(1)
    if let labels = expected["labels"]?.array { #expect(labels.compactMap(\.string) == names) }
    if let count = expected["labels"]?.integer { #expect(SequenceHead.defaultLabels(count) == names) }
    let files = try ModelFiles(opening: URL(fileURLWithPath: recipe.locate(recipe.model.name)))
    let model = try CausalLM(files, tokenizer: tokenizer, chatTemplate: template, inFloat32: recipe.lora == nil)
    if let token = configuration.padToken { try model.setPadding(token) }
    try model.transformer.addSequenceHead(labels: names, padding: model.padding?.id, seed: 1)
    let head = try #require(model.transformer.sequenceHead).weight
    if let values = expected["head"]?.array?.flatMap(\.doubles) {
      head.value = model.transformer.backend.tensor(values.map(Float.init), head.value.shape)
    }
    let adapter = try recipe.lora.map { _ in
      try Adapter(reading: folder(name).appendingPathComponent("adapter"), onto: model.transformer)
    }
    let trainer = try Trainer(
      model, adapter: adapter, configuration: configuration, trainingSet: rows.training.set,
      validationSet: configuration.evalStrategy == .no ? nil : rows.training.set, output: output,
      baseName: "models/llama")
    return (trainer, rows.training.set)
  }

  private static func compare(_ model: CausalLM, _ expected: JSONValue, _ key: String) throws {
    let texts = try #require(expected["texts"]?.array).compactMap(\.string)
    let scores = try model.scores(of: texts.map { model.tokenizer.encode($0, addSpecialTokens: true) })
    for (ours, theirs) in zip(scores, try #require(expected[key]?.array)) {
      #expect(ours.count == theirs.doubles.count)
      // A score is a sum of 64 products that nearly cancel.
      for (a, b) in zip(ours, theirs.doubles) { #expect(abs(Double(a) - b) <= max(1e-4 * abs(b), 2e-5), "\(key)") }
    }
  }

  @Test(arguments: runs) func runEqualsTheReference(_ name: String) throws {
    let expected = try golden("scoring_runs/\(name)/golden.json")
    let (trainer, set) = try Self.trainer(name)
    try Self.compare(trainer.model, expected, "scores_before")
    try trainer.train()
    let steps = try #require(expected["steps"]?.array)
    #expect(steps.count == 20 && trainer.state.logHistory.count == 20)
    for (log, step) in zip(trainer.state.logHistory, steps) {
      for (key, value) in step.object?.members ?? [] {
        let ours = try #require(log[key]?.double, "\(key) is not logged")
        let theirs = try #require(value.double)
        // Means of rewards nearly cancel.
        let floor = key.hasSuffix("reward") || key == "margin" ? 2e-6 : 1e-9
        #expect(
          abs(ours - theirs) <= max(1e-4 * abs(theirs), floor),
          "\(key) of step \(log["step"]?.integer ?? 0): \(ours), not \(theirs)")
      }
    }
    try Self.compare(trainer.model, expected, "scores_after")
    guard let evaluation = expected["evaluation"] else { return }
    let sums = try trainer.evaluate(set)
    let loss = try #require(evaluation["eval_loss"]?.double)
    #expect(relativeError(sums.loss / Double(sums.count), loss) < 1e-4)
    let accuracy = try #require(evaluation["eval_accuracy"]?.double)
    #expect(relativeError(sums.metrics["accuracy"]?.mean ?? 0, accuracy) < 1e-8)
  }

  /// What an adapter is saved as: PEFT's names and configuration, and it is read again.
  @Test(arguments: ["reward_text", "reward_chat", "classify_text"]) func savedAdapterIsPEFTs(_ name: String) throws {
    let folder = try scratchFolder("scoring-adapter")
    defer { try? FileManager.default.removeItem(at: folder) }
    let (trainer, _) = try Self.trainer(name) { $0.maxSteps = 3 }
    try trainer.train()
    try trainer.saveModel(to: folder)
    let theirs = Self.folder(name).appendingPathComponent("adapter")
    func names(_ folder: URL) throws -> Set<String> {
      let data = try Data(contentsOf: folder.appendingPathComponent("adapter_model.safetensors"))
      let length = data.prefix(8).reversed().reduce(0) { $0 << 8 | Int($1) }
      let header = try JSONValue(parsing: Array(data[8..<8 + length]))
      return Set(header.object?.keys.filter { $0 != "__metadata__" } ?? [])
    }
    #expect(try names(folder) == names(theirs))
    #expect(try names(folder).contains("base_model.model.score.weight"))
    func config(_ folder: URL) throws -> JSONValue {
      try JSONValue(parsing: Array(Data(contentsOf: folder.appendingPathComponent("adapter_config.json"))))
    }
    for key in ["task_type", "modules_to_save", "r", "lora_alpha", "peft_type", "bias", "inference_mode"] {
      #expect(try config(folder)[key] == config(theirs)[key], "\(key)")
    }
    let again = try TinyModel.model()
    _ = try Adapter(reading: folder, onto: again.transformer)
    #expect(again.transformer.sequenceHead?.labels == trainer.model.transformer.sequenceHead?.labels)
    let ids: [[Int32]] = [[5, 9, 11], [7, 8]]
    #expect(try again.scores(of: ids) == trainer.model.scores(of: ids))
  }

  /// What a model of every weight is saved as: the configuration and the tensors that transformers saves.
  @Test(arguments: ["reward_full", "classify_full"]) func savedModelIsTransformers(_ name: String) throws {
    let folder = try scratchFolder("scoring-model")
    defer { try? FileManager.default.removeItem(at: folder) }
    let expected = try golden("scoring_runs/\(name)/golden.json")
    let (trainer, _) = try Self.trainer(name) { $0.maxSteps = 3 }
    try trainer.train()
    try trainer.saveModel(to: folder)
    let config = try JSONValue(parsing: Array(Data(contentsOf: folder.appendingPathComponent("config.json"))))
    for (key, value) in try #require(expected["config"]?.object).members where key != "use_cache" {
      #expect(config[key] == value, "\(key)")
    }
    let files = try ModelFiles(opening: folder)
    let again = try CausalLM(files, tokenizer: trainer.model.tokenizer)
    #expect(again.transformer.parameters.map(\.name).sorted() == expected["tensors"]?.array?.compactMap(\.string))
    #expect(again.transformer.sequenceHead?.labels == trainer.model.transformer.sequenceHead?.labels)
    let ids: [[Int32]] = [[5, 9, 11], [7, 8, 2]]
    #expect(try again.scores(of: ids) == trainer.model.scores(of: ids))
    #expect(throws: (any Error).self) { try again.checkPrompt([5, 9]) }
  }

  @Test(arguments: runs) func resumedIsUninterrupted(_ name: String) throws {
    try MethodResumeTests.checkResumed { output, change in try Self.trainer(name, output: output, change).trainer }
  }

  /// Rows whose labels cannot be used end in a sentence that says why.
  @Test func labelsAreChecked() throws {
    func message(_ rows: [Row], count: Int? = nil) -> String {
      do {
        return try ClassLabels(
          of: InMemoryRows(rows), count: count, namesOfNumbers: SequenceHead.defaultLabels
        ).names.joined(separator: ",")
      } catch {
        return "\(error)"
      }
    }
    #expect(message([["label": "no"], ["label": "Yes"]]) == "Yes,no")
    #expect(message([["label": 2], ["label": 0]]) == "LABEL_0,LABEL_1,LABEL_2")
    #expect(message([["label": true], ["label": false]]) == "LABEL_0,LABEL_1")
    #expect(message([["label": 1]], count: 4) == "LABEL_0,LABEL_1,LABEL_2,LABEL_3")
    #expect(message([["label": [1]]]).contains("multi_label_classification"))
    #expect(message([["label": 0.5]]).contains("regression"))
    #expect(message([["text": "a"]]).contains("needs a \"label\""))
    #expect(message([["label": "a"], ["label": 1]]).contains("only one kind"))
    #expect(message([["label": "a"]]).contains("the same label"))
    #expect(message([["label": 5], ["label": 0]], count: 3).contains("num_labels is 3"))
    #expect(message([["label": -1]]).contains("number labels from 0"))
    #expect(throws: (any Error).self) { try ClassLabels(["a", "b"]).number(of: ["label": "c"]) }
    #expect(try ClassLabels(["a", "b"]).number(of: ["label": "b"]) == 1)
  }
}
