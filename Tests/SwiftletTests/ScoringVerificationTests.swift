import Auditing
import Foundation
import Models
import OrderedJSON
import Swiftlet
import Tensors
import TestSupport
import Testing
import Tokenizers
import Training

/// `Verification` of classifiers and reward models: their scores take the place of losses and answers.
@Suite struct ScoringVerificationTests {
  static let adapters = ["reward_text", "classify_text"]

  private let folder: URL

  init() throws { folder = try scratchFolder("scoring-verification") }

  private func place(_ name: String) -> URL { folder.appendingPathComponent(name) }

  /// A trained result in `a`, its base with a tokenizer in `base`, and what the run recorded.
  private func trained(_ name: String) throws -> (trainer: Trainer, record: VerificationRecord) {
    let (trainer, set) = try ScoringRunTests.trainer(name) { $0.learningRate *= 5 }
    try trainer.train()
    try trainer.saveModel(to: place("a"))
    let record = try VerificationRecord(of: trainer.model, adapter: trainer.adapter, rows: set)
    try record.write(for: place("a"))
    try TinyModel.model(inFloat32: true).write(to: place("base"), type: .float32)
    try trainer.model.writeTokenizer(to: place("base"))
    return (trainer, record)
  }

  private func problems(_ name: String, base: String? = nil, record: String? = nil) async throws -> [String] {
    try await VerifiedModel.open(
      place(name).path, base: base.map { place($0).path }, record: record.map { place($0).path }
    ).verify().problems
  }

  private func expectProblem(
    _ beginning: String, _ name: String, base: String? = nil, record: String? = "a",
    sourceLocation: SourceLocation = #_sourceLocation
  ) async throws {
    let found = try await problems(name, base: base, record: record)
    #expect(found.contains { $0.hasPrefix(beginning) }, "\(name): \(found)", sourceLocation: sourceLocation)
  }

  // MARK: What we write passes

  @Test(arguments: adapters) func theAdapterPasses(_ name: String) async throws {
    let (trainer, record) = try trained(name)
    #expect(try VerificationRecord.read(for: place("a")) == record)
    let json = try JSONValue(parsing: Array(Data(contentsOf: place("a/verification.json"))))
    let texts = try #require(json["texts"]?.array)
    #expect((1...20).contains(texts.count))
    #expect(json["labels"]?.array?.count == trainer.model.transformer.sequenceHead?.labels.count)
    for text in texts {
      let ids = (text["input_ids"]?.array ?? []).compactMap { $0.integer.map(Int32.init) }
      let scores = try #require(trainer.model.scores(of: [ids]).first)
      #expect(text["scores"]?.array?.compactMap(\.double) == scores.map(Double.init))
      #expect(text["base_scores"] != text["scores"])
    }
    let found = try await problems("a", base: "base")
    #expect(found.isEmpty, "\(found)")
  }

  @Test(arguments: adapters) func mergedModelsPass(_ name: String) async throws {
    let (trainer, _) = try trained(name)
    for type in [ElementType.float32, .bfloat16] {
      try trainer.model.write(to: place("merged"), type: type)
      try trainer.model.writeTokenizer(to: place("merged"))
      let found = try await problems("merged", record: "a")
      #expect(found.isEmpty, "\(type): \(found)")
    }
  }

  @Test func aModelTrainedInFullPasses() async throws {
    let (_, record) = try trained("classify_full")
    #expect(try VerificationRecord.read(for: place("a")) == record)
    let found = try await problems("a")
    #expect(found.isEmpty, "\(found)")
  }

  // MARK: What lost the training fails

  @Test(arguments: adapters) func anAdapterWithoutBFails(_ name: String) async throws {
    let (trainer, _) = try trained(name)
    for parameter in trainer.parameters where parameter.name.contains("lora_B") { clear(parameter) }
    try trainer.saveModel(to: place("zeroed"))
    try await expectProblem("The training is lost", "zeroed", base: "base")
  }

  @Test(arguments: adapters) func aMergeWithoutTheUpdatesFails(_ name: String) async throws {
    let (trainer, _) = try trained(name)
    let head = try #require(trainer.model.transformer.sequenceHead).weight
    let value = head.value
    trainer.adapter?.isEnabled = false
    head.value = value
    try trainer.model.write(to: place("unmerged"), type: .bfloat16)
    try trainer.model.writeTokenizer(to: place("unmerged"))
    try await expectProblem("The training is lost", "unmerged")
  }

  @Test(arguments: adapters) func aZeroedHeadFails(_ name: String) async throws {
    let (trainer, _) = try trained(name)
    clear(try #require(trainer.model.transformer.sequenceHead).weight)
    try trainer.saveModel(to: place("headless"))
    try await expectProblem("The weights differ", "headless", base: "base")
    try trainer.model.write(to: place("merged"), type: .bfloat16)
    try trainer.model.writeTokenizer(to: place("merged"))
    try await expectProblem("The weights differ", "merged")
  }

  private func clear(_ parameter: Parameter) {
    CPUBackend.shared.clear(parameter.value)
  }

  @Test(arguments: adapters) func anAdapterOverAnotherBaseFails(_ name: String) async throws {
    let (trainer, _) = try trained(name)
    // The merged model is a base of the same shape: the updates would apply twice.
    try trainer.model.write(to: place("merged"), type: .float32)
    try trainer.model.writeTokenizer(to: place("merged"))
    try await expectProblem("The weights differ", "a", base: "merged")
  }

  @Test func aLanguageModelIsNoClassifier() async throws {
    _ = try trained("classify_text")
    try await expectProblem("The head that scores texts is missing", "base")
    // And the reverse.
    let model = try CausalLM(opening: place("base"))
    try VerificationRecord(of: model, adapter: nil, rows: nil, answerCount: 1).write(for: place("base"))
    try await expectProblem("The model has a head that scores texts", "a", base: "base", record: "base")
  }

  @Test func otherLabelsFail() async throws {
    let (trainer, _) = try trained("classify_text")
    let labels = try #require(trainer.model.transformer.sequenceHead).labels
    let file = place("a/labels.json")
    var json = try #require(JSONValue(parsing: Array(Data(contentsOf: file))).object)
    json["id2label"] = .object(
      JSONObject(labels.reversed().enumerated().map { (String($0.offset), .string($0.element)) }))
    try Data(JSONValue.object(json).text().utf8).write(to: file)
    try await expectProblem("The labels differ", "a", base: "base")
  }

  @Test func anotherTemplateFails() async throws {
    _ = try trained("reward_text")
    try Data("{% for m in messages %}{{ m.content }}{% endfor %}".utf8)
      .write(to: place("a/chat_template.jinja"))
    try await expectProblem("The chat template differs", "a", base: "base")
  }

  @Test func anotherTokenizerFails() async throws {
    _ = try trained("reward_text")
    let file = place("a/tokenizer.json")
    var json = try #require(JSONValue(parsing: Array(Data(contentsOf: file))).object)
    var model = try #require(json["model"]?.object)
    // Without merges, every text is split into single characters.
    model["merges"] = []
    json["model"] = .object(model)
    try Data(JSONValue.object(json).text().utf8).write(to: file)
    try await expectProblem("The tokenizer differs", "a", base: "base")
  }

  /// Records that no run writes are refused, rather than read past the end of a table.
  @Test func damagedRecordsAreRefused() async throws {
    _ = try trained("classify_text")
    let file = place("a/verification.json")
    let original = try #require(JSONValue(parsing: Array(Data(contentsOf: file))).object)
    let text = try #require(original["texts"]?[0]?.object)
    for (key, value) in [
      ("input_ids", [-1]), ("input_ids", []), ("scores", [1]), ("base_scores", [1]), ("scores", ["a"]),
    ] as [(String, JSONValue)] {
      var (changed, damaged) = (original, text)
      damaged[key] = value
      changed["texts"] = [.object(damaged)]
      try Data(JSONValue.object(changed).text().utf8).write(to: file)
      await #expect(throws: SwiftletError.self, "\(key) \(value)") { _ = try await problems("a", base: "base") }
    }
    var changed = original
    var damaged = text
    damaged["input_ids"] = [1_000_000]
    changed["texts"] = [.object(damaged)]
    try Data(JSONValue.object(changed).text().utf8).write(to: file)
    try await expectProblem("The model has", "a", base: "base")
  }
}
