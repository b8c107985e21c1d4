import Foundation
import Swiftlet
import Synchronization
import TestSupport
import Testing

/// Fine-tuning from Swift, as the examples in `Examples/Library` do.
@Suite struct LibraryTests {
  /// A folder with a tiny Llama in `model` and rows in `sentences.csv`.
  final class Workspace: Sendable {
    let folder: URL
    var model: String { folder.appendingPathComponent("model").path }
    var rows: String { folder.appendingPathComponent("sentences.csv").path }

    init() throws {
      folder = try scratchFolder("library")
      try FileManager.default.createDirectory(atPath: model, withIntermediateDirectories: true)
      for name in [
        "llama/config.json", "llama/model.safetensors", "tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json",
      ] {
        let source = TinyModel.folder.appendingPathComponent("models/\(name)")
        let target = folder.appendingPathComponent("model/\(source.lastPathComponent)")
        try FileManager.default.copyItem(at: source, to: target)
      }
      let text = "sentence,translation\nI left it.,\" Left it, I did.\"\nA cat sat.,\" Sat, a cat did.\"\n"
      try Data(text.utf8).write(to: URL(fileURLWithPath: rows))
    }

    deinit { try? FileManager.default.removeItem(at: folder) }

    func path(_ name: String) -> String { folder.appendingPathComponent(name).path }

    func data(_ name: String) throws -> Data { try Data(contentsOf: folder.appendingPathComponent(name)) }

    func files(_ name: String) throws -> [String] {
      try FileManager.default.contentsOfDirectory(atPath: path(name)).sorted()
    }
  }

  static func configure(_ configuration: inout TrainingConfiguration, output: String) {
    configuration.preparation.packing = .wrapped
    configuration.preparation.maxLength = 16
    configuration.preparation.completionOnlyLoss = true
    configuration.trainBatchSize = 2
    configuration.epochs = 4
    configuration.learningRate = 1e-3
    configuration.loggingSteps = 1
    configuration.outputDir = output
  }

  private static func message(_ body: () async throws -> Void) async -> String {
    do {
      try await body()
      return ""
    } catch { return "\(error)" }
  }

  // MARK: Datasets

  @Test func rowsAreChanged() async throws {
    let workspace = try Workspace()
    let sentences = Dataset(workspace.rows)
    #expect(try await sentences.count == 2)
    let renamed = sentences.renamingColumns(["sentence": "prompt", "translation": "completion"])
    #expect(try await renamed.rows().map(\.keys) == [["prompt", "completion"], ["prompt", "completion"]])
    let text = renamed.map { "\($0["prompt"])\($0["completion"])" }
    #expect(try await JSONValue.object(text.rows()[1]) == ["text": "A cat sat. Sat, a cat did."])
    let messages = renamed.map { [.system("S"), .user("<\($0["prompt"])>")] }.prefix(1)
    #expect(
      try await messages.rows().first?["messages"]
        == [["role": "system", "content": "S"], ["role": "user", "content": "<I left it.>"]])
    let (train, test) = sentences.split(testSize: 0.5, seed: 1)
    #expect(try await train.count == 1)
    #expect(try await test.count == 1)
    #expect(try await sentences.shuffled(seed: 3).count == 2)
    #expect(try await sentences.prefix(9).count == 2)
    #expect(try await sentences.filter { $0["sentence"].hasPrefix("A") }.count == 1)
    #expect(try await sentences.concatenated(with: sentences).count == 4)
    let mistake = await Self.message { _ = try await sentences.map { [.user($0["nope"])] }.rows() }
    #expect(mistake.contains("\"nope\"") && mistake.contains("sentence"), "\(mistake)")
    let missing = await Self.message { _ = try await Dataset("none.jsonl").count }
    #expect(missing.contains("none.jsonl"))
  }

  @Test func rowsOfSwiftValues() async throws {
    struct Pair: Encodable {
      var prompt: String
      var completion: String
      var weight: Double
    }
    let encoded = try Dataset(encoding: [Pair(prompt: "a", completion: "b", weight: 0.5)])
    #expect(
      try await JSONValue.object(encoded.rows()[0]) == ["completion": "b", "prompt": "a", "weight": 0.5])
    let dictionaries = Dataset([["prompt": "a", "n": 1], ["prompt": "b", "n": 2]])
    #expect(try await dictionaries.filter { $0.value(of: "n") == 2 }.rows().map { $0["prompt"] } == ["b"])
    let conversations = Dataset(conversations: [[.user("Hi"), .assistant("Ho")]])
    #expect(try await conversations.rows().first?["messages"]?.array?.count == 2)
    let nested = Dataset([["translation": ["en": "cat", "de": "Katze"]]])
    #expect(try await nested.map { "\($0["translation.de"])" }.rows().first?["text"] == "Katze")
  }

  // MARK: Training

  /// A recipe and a few lines of Swift with the same settings train the same weights and write the same files.
  @Test func aRunFromSwiftIsTheRunOfTheRecipe() async throws {
    let workspace = try Workspace()
    let data = Dataset(workspace.rows).renamingColumns(["sentence": "prompt", "translation": "completion"])
    let model = try await LanguageModel(workspace.model)
    let run = try FineTuning(
      model, adapter: .lora(rank: 4, alpha: 8, dropout: 0.1), data: data,
      reports: ReportConfiguration([.jsonl])
    ) { Self.configure(&$0, output: workspace.path("swift")) }
    var steps: [Int] = []
    var endings: [Trainer.Ending] = []
    for try await event in run.events {
      switch event {
      case .began(let beginning): #expect(beginning.firstStep == 0 && beginning.totalSteps == 8)
      case .step(let step): steps.append(step.step)
      case .ended(let ending): endings.append(ending)
      default: break
      }
    }
    #expect(steps == Array(1...8) && endings == [.complete])
    try await run.save()

    let recipe = try Recipe(
      yaml: """
        model_name_or_path: \(workspace.model)
        dataset_name: \(workspace.rows)
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
        report_to: jsonl
        output_dir: \(workspace.path("recipe"))
        """)
    let reference = try TrainingRun(recipe, modelURL: URL(fileURLWithPath: workspace.model))
    try reference.train()
    try reference.write()
    #expect(try workspace.data("swift/adapter_model.safetensors") == workspace.data("recipe/adapter_model.safetensors"))
    #expect(try workspace.data("swift/adapter_config.json") == workspace.data("recipe/adapter_config.json"))
    #expect(try workspace.files("swift") == workspace.files("recipe"))
    // The settings are the same too, but for the output folder and the steps on the rows.
    let settings = try ["swift", "recipe"].map { name in
      var object = try #require(try JSONValue(parsing: workspace.data("\(name)/training_args.json")).object)
      object["output_dir"] = nil
      object["steps"] = nil
      return JSONValue.object(object)
    }
    #expect(settings[0] == settings[1])
    let answer = try reference.model.answer(Prompt("I left it."), maxNewTokens: 5)
    #expect(
      try await model.respond(to: "I left it.", maxNewTokens: 5).trimmingCharacters(in: .whitespacesAndNewlines)
        == answer)
  }

  private static func run(
    _ workspace: Workspace, output: String, resume: TrainingConfiguration.Resume = .fromStart, epochs: Double = 4
  ) async throws -> FineTuning {
    let data = Dataset(workspace.rows).map { [.user($0["sentence"]), .assistant($0["translation"])] }
    return try FineTuning(try await LanguageModel(workspace.model), adapter: .lora(rank: 4, dropout: 0.1), data: data) {
      $0.trainBatchSize = 1
      $0.epochs = epochs
      $0.learningRate = 1e-3
      $0.saveStrategy = .no
      $0.outputDir = workspace.path(output)
      $0.resume = resume
    }
  }

  /// Cancelling the task saves a checkpoint, and the resumed run ends in the bytes of an undisturbed one.
  @Test func aCancelledRunResumesToTheSameBytes() async throws {
    let workspace = try Workspace()
    let whole = try await Self.run(workspace, output: "whole")
    #expect(try await whole.train() == .complete)
    try await whole.save()

    let first = try await Self.run(workspace, output: "resumed")
    let task = Task {
      var last: TrainingEvent?
      for try await event in first.events {
        if case .step(let step) = event, step.step == 3 { withUnsafeCurrentTask { $0?.cancel() } }
        last = event
      }
      return last
    }
    guard case .ended(.paused(let checkpoint?))? = try await task.value else {
      Issue.record("the run was not paused")
      return
    }
    let step = try #require(Int(checkpoint.lastPathComponent.dropFirst("checkpoint-".count)))
    #expect((3..<8).contains(step))
    let second = try await Self.run(workspace, output: "resumed", resume: .latest)
    #expect(try await second.train() == .complete)
    try await second.save()
    let name = "adapter_model.safetensors"
    #expect(try workspace.data("whole/\(name)") == workspace.data("resumed/\(name)"))
  }

  /// Leaving the loop pauses the run too.
  @Test func leavingTheLoopPausesTheRun() async throws {
    let workspace = try Workspace()
    let run = try await Self.run(workspace, output: "left", epochs: 10_000)
    for try await event in run.events { if case .step = event { break } }
    func hasCheckpoint() throws -> Bool { try workspace.files("left").contains { $0.hasPrefix("checkpoint-") } }
    for _ in 0..<6000 where try !hasCheckpoint() { try await Task.sleep(for: .milliseconds(10)) }
    #expect(try hasCheckpoint())
  }

  @Test func everyWeightIsTrained() async throws {
    let workspace = try Workspace()
    let model = try await LanguageModel(workspace.model)
    let before = try await model.respond(to: "I left it.", maxNewTokens: 8)
    let run = try FineTuning(model, data: Dataset(workspace.rows).map { "\($0["sentence"])\($0["translation"])" }) {
      $0.maxSteps = 3
      $0.learningRate = 0.05
      $0.savedType = .bfloat16
      $0.outputDir = workspace.path("full")
    }
    try await run.train()
    try await run.save()
    let after = try await model.respond(to: "I left it.", maxNewTokens: 8)
    #expect(before != after)
    let config = try JSONValue(parsing: workspace.data("full/config.json"))
    #expect(config["dtype"] == "bfloat16")
    #expect(try workspace.data("full/model.safetensors").count < workspace.data("model/model.safetensors").count)
  }

  /// Settings of the library are honored, or the run refuses them before it starts.
  @Test func settingsAreHonoredOrRefused() async throws {
    let workspace = try Workspace()
    let model = try await LanguageModel(workspace.model)
    let data = Dataset(workspace.rows).map { [.user($0["sentence"]), .assistant($0["translation"])] }
    func refusal(_ change: (inout TrainingConfiguration) -> Void) -> String {
      do {
        _ = try FineTuning(model, adapter: .lora(), data: data, configure: change)
        return ""
      } catch { return "\(error)" }
    }
    #expect(refusal { $0.evalStrategy = .steps }.contains("`validation`"))
    #expect(refusal { $0.loadBestModelAtEnd = true }.contains("`loadBestModelAtEnd`"))
    #expect(refusal { $0.trainBatchSize = 0 }.contains("`trainBatchSize`"))
    #expect(refusal { $0.optimizer.momentum = 0.5 }.contains("`momentum`"))
    #expect(refusal { _ in } == "")

    // A chat template, a padding token and a batch that is found are honored.
    let template = workspace.path("own.jinja")
    try Data("{% for message in messages %}<{{ message.role }}>{{ message.content }}{% endfor %}".utf8).write(
      to: URL(fileURLWithPath: template))
    let run = try FineTuning(model, adapter: .lora(rank: 2), data: data) {
      $0.chatTemplatePath = template
      $0.padToken = "<|im_end|>"
      $0.findsBatchSize = true
      $0.maxSteps = 1
      $0.outputDir = workspace.path("honored")
    }
    try await run.train()
    try await run.save()
    #expect(try workspace.data("honored/chat_template.jinja") == Data(contentsOf: URL(fileURLWithPath: template)))
    #expect(try JSONValue(parsing: workspace.data("honored/tokenizer_config.json"))["pad_token"] == "<|im_end|>")
    // Files that the run did not write itself name it too.
    let merged = workspace.path("merged")
    try await model.save(to: merged)
    #expect(try JSONValue(parsing: workspace.data("merged/tokenizer_config.json"))["pad_token"] == "<|im_end|>")
    #expect(try JSONValue(parsing: workspace.data("merged/config.json"))["pad_token_id"] == 2)
    for change: @Sendable (inout TrainingConfiguration) -> Void in [
      { $0.padToken = "<nope>" }, { $0.eosToken = "<nope>" }, { $0.resume = .latest },
      { $0.chatTemplatePath = "none.jinja" },
    ] {
      let other = try FineTuning(try await LanguageModel(workspace.model), adapter: .lora(rank: 2), data: data) {
        $0.outputDir = workspace.path("refused")
        change(&$0)
      }
      #expect(await !Self.message { try await other.train() }.isEmpty)
    }
  }

  /// A callback of one's own, a loss, an update rule and a schedule reach the trainer.
  @Test func componentsReachTheTrainer() async throws {
    struct Constant: Schedule { func rate(at step: Int, of totalSteps: Int) -> Double { 0.125 } }
    final class Counter: TrainerCallback, Sendable {
      let steps = Mutex(0)
      func stepEnded(_ step: StepReport, _ state: TrainerState) { steps.withLock { $0 += 1 } }
    }
    let workspace = try Workspace()
    let counter = Counter()
    let run = try FineTuning(
      try await LanguageModel(workspace.model), adapter: .lora(rank: 2),
      data: Dataset(workspace.rows).map { "\($0["sentence"])" }, schedule: Constant(), callbacks: [counter]
    ) {
      $0.maxSteps = 2
      $0.outputDir = workspace.path("components")
    }
    var rates: [Double] = []
    for try await event in run.events { if case .step(let step) = event { rates.append(step.learningRate) } }
    #expect(rates == [0.125, 0.125] && counter.steps.withLock { $0 } == 2)
  }

  /// A run that adds tokens opens the model again; another one goes on with it.
  @Test func tokensAreAdded() async throws {
    let workspace = try Workspace()
    let model = try await LanguageModel(workspace.model)
    let run = try FineTuning(
      model, adapter: .lora(rank: 2), data: Dataset(workspace.rows).map { "<note>\($0["sentence"])" }
    ) {
      $0.addedTokens = ["<note>"]
      $0.maxSteps = 2
      $0.outputDir = workspace.path("tokens")
    }
    try await run.train()
    try await run.save()
    #expect(try await model.withModel { $0.tokenizer.encode("<note>") } == [256])
    let reopened = try await LanguageModel(workspace.model, adapter: workspace.path("tokens"))
    #expect(try await reopened.withModel { $0.tokenizer.encode("<note>") } == [256])
    let ours = try await model.respond(to: "<note>", maxNewTokens: 4)
    let theirs = try await reopened.respond(to: "<note>", maxNewTokens: 4)
    #expect(ours == theirs)
  }

  // MARK: Chats

  @Test func aChatRemembersAndReusesItsCache() async throws {
    let workspace = try Workspace()
    let model = try await LanguageModel(workspace.model)
    let chat = ChatSession(model, system: "S", maxNewTokens: 4)
    let first = try await chat.respond(to: "Hi")
    let second = try await chat.respond(to: "And?")
    let messages = await chat.messages
    #expect(messages.map(\.role) == ["system", "user", "assistant", "user", "assistant"])
    // The same turns without a cache give the same answers.
    let fresh = try await model.withModel { model in
      let ids = try model.prompt(Array(messages.dropLast()))
      return model.generate(ids, maxNewTokens: 4).text
    }
    #expect(second == fresh.trimmingCharacters(in: .whitespacesAndNewlines) && messages[2].content.contains(first))
  }

  @Test func twoChatsStreamAtOnce() async throws {
    let workspace = try Workspace()
    let models = try await [LanguageModel(workspace.model), LanguageModel(workspace.model)]
    for pair in [[models[0], models[0]], models] {
      let alone = try await pair[0].respond(to: "Yoda", maxNewTokens: 24)
      let answers = try await withThrowingTaskGroup(of: String.self) { group in
        for model in pair {
          group.addTask {
            var answer = ""
            for try await text in ChatSession(model, maxNewTokens: 24).stream("Yoda") {
              answer += text
            }
            return answer.trimmingCharacters(in: .whitespacesAndNewlines)
          }
        }
        return try await group.reduce(into: []) { $0.append($1) }
      }
      #expect(answers == [alone, alone])
    }
  }

  @Test func endingAStreamEndsTheAnswer() async throws {
    let workspace = try Workspace()
    let chat = ChatSession(try await LanguageModel(workspace.model), maxNewTokens: 100)
    for try await _ in chat.stream("Yoda") { break }
    // The chat goes on as soon as the broken-off answer has ended.
    var answer: String?
    for _ in 0..<500 where answer == nil {
      answer = try? await chat.respond(to: "And?")
      if answer == nil { try await Task.sleep(for: .milliseconds(10)) }
    }
    #expect(answer != nil)
    #expect(await chat.messages.map(\.role) == ["user", "assistant", "user", "assistant"])
  }

  @Test func anAdapterIsOpenedWithItsModel() async throws {
    let workspace = try Workspace()
    let run = try await Self.run(workspace, output: "adapter")
    try await run.train()
    try await run.save()
    let plain = try await LanguageModel(workspace.model)
    let adapted = try await LanguageModel(workspace.model, adapter: workspace.path("adapter"))
    let data = Dataset(workspace.rows).map { [.user($0["sentence"]), .assistant($0["translation"])] }
    let (before, after) = (try await plain.evaluate(on: data), try await adapted.evaluate(on: data))
    #expect(after.loss < before.loss && after.tokens == before.tokens)
    try await adapted.save(to: workspace.path("merged"), type: .float32)
    let merged = try await LanguageModel(workspace.path("merged")).evaluate(on: data)
    #expect(relativeError(merged.loss, after.loss) < 1e-5)
    let second = try FineTuning(adapted, adapter: .lora(), data: data)
    #expect(await Self.message { try await second.train() }.contains("adapter already"))
  }

  @Test func configurationsAreCodable() throws {
    var configuration = TrainingConfiguration()
    configuration.preparation.packing = .wrapped
    configuration.resume = .checkpoint("checkpoint-5")
    configuration.evalPacking = .packed(.bfd)
    configuration.optimizer = OptimizerConfiguration(.lion8Bit)
    configuration.schedulerOptions.numCycles = 2
    let data = try JSONEncoder().encode(configuration)
    #expect(try JSONDecoder().decode(TrainingConfiguration.self, from: data) == configuration)
  }
}
