import TestSupport
import Training
import Diagnostics
import Foundation
import OrderedJSON
import Testing

@Suite struct TrainerStateTests {
  /// A state in which no member has its default value.
  private static func changed() -> TrainerState {
    var state = TrainerState()
    state.globalStep = 20
    state.maxSteps = 90
    state.numTrainEpochs = 4
    state.epoch = 0.4444
    state.trainBatchSize = 3
    state.numInputTokensSeen = 12_345
    state.loggingSteps = 10
    state.evalSteps = 7
    state.saveSteps = 30
    state.unlogged.steps = 2
    state.unlogged.loss = 1.5
    state.unlogged.predicted = 11
    state.unlogged.correct = 5
    state.append(
      TrainingLog(
        step: 10, epoch: 0.2, loss: 2.5, gradNorm: 1.25, learningRate: 2e-5, numTokens: 900, meanTokenAccuracy: 0.25,
        elapsed: 3.5))
    state.append(EvaluationLog(step: 10, epoch: 0.2, loss: 2.4, tokens: 100, runtime: 0.5), checkpoint: "checkpoint-10")
    state.append(EvaluationLog(step: 20, epoch: 0.4, loss: 2.6, tokens: 100, runtime: 0.5), checkpoint: "checkpoint-20")
    return state
  }

  @Test func readsWhatItWrites() throws {
    let (state, fresh) = (Self.changed(), TrainerState())
    for (member, other) in zip(Mirror(reflecting: state).children, Mirror(reflecting: fresh).children) {
      #expect("\(member.value)" != "\(other.value)", "\(member.label ?? "") still has its default")
    }
    let url = FileManager.default.temporaryDirectory.appendingPathComponent("state-\(UUID()).json")
    defer { try? FileManager.default.removeItem(at: url) }
    try state.write(to: url)
    let read = try TrainerState(contentsOf: url)
    for (member, other) in zip(Mirror(reflecting: read).children, Mirror(reflecting: state).children) {
      #expect("\(member.value)" == "\(other.value)", "\(member.label ?? "")")
    }
    #expect(read.json == state.json)
    #expect(read.bestModelCheckpoint == "checkpoint-10" && read.bestGlobalStep == 10 && read.bestMetric == 2.4)
    #expect(
      read.logHistory.first?.keys == [
        "elapsed_s", "epoch", "grad_norm", "learning_rate", "loss", "mean_token_accuracy", "num_tokens", "step",
      ])
  }

  /// Counts from a file are bounded, so that adding to them cannot overflow.
  @Test(arguments: [
    "global_step", "max_steps", "num_train_epochs", "num_input_tokens_seen", "train_batch_size", "logging_steps",
    "eval_steps", "save_steps",
  ])
  func hostileCountsAreRejected(key: String) throws {
    let url = FileManager.default.temporaryDirectory.appendingPathComponent("state-\(UUID()).json")
    defer { try? FileManager.default.removeItem(at: url) }
    for value: JSONValue in [.integer(.max), .integer(-1), .integer((1 << 53) + 1), "7"] {
      var object = try #require(Self.changed().json.object)
      object[key] = value
      try Data(JSONValue.object(object).text().utf8).write(to: url)
      #expect(throws: SwiftletError.self, "\(key): \(value.text())") { try TrainerState(contentsOf: url) }
    }
  }

  @Test(arguments: ["steps", "predicted", "correct"]) func hostileSumsAreRejected(key: String) throws {
    let url = FileManager.default.temporaryDirectory.appendingPathComponent("state-\(UUID()).json")
    defer { try? FileManager.default.removeItem(at: url) }
    let text = Self.changed().json.text()
    let value = ["steps": 2, "predicted": 11, "correct": 5][key] ?? 0
    let hostile = text.replacing("\"\(key)\": \(value)", with: "\"\(key)\": \(Int.max)")
    #expect(hostile != text)
    try Data(hostile.utf8).write(to: url)
    #expect(throws: SwiftletError.self) { try TrainerState(contentsOf: url) }
  }

  /// The members of the file, and their order, as transformers 5.23 writes them.
  @Test func membersAreThoseOfTransformers() throws {
    let theirs = try #require(try golden("recipe/trainer_state.json").object)
    #expect(TrainerState().json.object?.keys.sorted() == theirs.keys.sorted())
    let url = repository.appendingPathComponent("Tests/Goldens/recipe/trainer_state.json")
    let read = try TrainerState(contentsOf: url)
    #expect(read.globalStep == 4)
    #expect(read.logHistory.filter { $0["loss"] != nil }.count == 2)
  }

  @Test(arguments: ["", "{", "[]", "{\"global_step\": -1, \"log_history\": []}", "{\"global_step\": 1}"])
  func brokenFilesAreOneSentence(text: String) throws {
    let url = FileManager.default.temporaryDirectory.appendingPathComponent("state-\(UUID()).json")
    defer { try? FileManager.default.removeItem(at: url) }
    try text.write(to: url, atomically: true, encoding: .utf8)
    #expect(throws: (any Error).self) { try TrainerState(contentsOf: url) }
  }
}
