import TestSupport
import Training
import Foundation
import OrderedJSON
import Testing

@Suite struct TrainerStateTests {
  @Test func readsWhatItWrites() throws {
    var state = TrainerState()
    state.globalStep = 20
    state.maxSteps = 90
    state.epoch = 0.4444
    state.append(
      TrainingLog(step: 10, epoch: 0.2, loss: 2.5, gradNorm: 1.25, learningRate: 2e-5, numTokens: 900, elapsed: 3.5))
    state.append(EvaluationLog(step: 10, epoch: 0.2, loss: 2.4, tokens: 100, runtime: 0.5), checkpoint: "checkpoint-10")
    state.append(EvaluationLog(step: 20, epoch: 0.4, loss: 2.6, tokens: 100, runtime: 0.5), checkpoint: "checkpoint-20")
    let url = FileManager.default.temporaryDirectory.appendingPathComponent("state-\(UUID()).json")
    defer { try? FileManager.default.removeItem(at: url) }
    try state.write(to: url)
    let read = try TrainerState(contentsOf: url)
    #expect(read.json == state.json)
    #expect(read.bestModelCheckpoint == "checkpoint-10")
    #expect(read.bestMetric == 2.4)
    #expect(
      read.logHistory.first?.keys == ["elapsed_s", "epoch", "grad_norm", "learning_rate", "loss", "num_tokens", "step"])
  }

  /// The members of the file, and their order, as transformers 5.23 writes them.
  @Test func membersAreTransformers() throws {
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
