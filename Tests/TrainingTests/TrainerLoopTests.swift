import Datasets
import TestSupport
import Training
import Foundation
import Models
import OrderedJSON
import Tensors
import Testing

/// When the trainer logs, evaluates, saves and stops.
@Suite struct TrainerLoopTests {
  /// As in transformers: 19 batches of two rows, four per step, make five steps, the last one of three batches.
  @Test func epochsCountBatches() throws {
    let trainer = try TinyTrainer.trainer(rows: 0..<38) {
      $0.gradientAccumulationSteps = 4
      $0.epochs = 1.5
    }
    #expect(trainer.state.maxSteps == 8 && trainer.state.numTrainEpochs == 2)
    try trainer.train()
    let epochs = trainer.state.logHistory.compactMap { $0["epoch"]?.double }
    let expected = [4.0, 8, 12, 16, 19, 23, 27, 31].map { $0 / 19 }
    #expect(epochs.count == expected.count)
    for (ours, theirs) in zip(epochs, expected) { #expect(abs(ours - theirs) < 1e-12) }
  }

  /// bf16 rounds the products of training if the processor supports it, and nothing else: loss and gradient norm stay
  /// within 1e-2 of float32 over eight steps, and evaluation is the same.
  @Test(arguments: [0.0, nil])
  func bfloat16TrainsAlike(dropout: Double?) throws {
    let runs = try [false, true].map { bf16 in
      let trainer = try TinyTrainer.trainer(rows: 0..<32, evaluationRows: 32..<40, dropout: dropout) {
        $0.bf16 = bf16
        $0.evalStrategy = .steps
        $0.evalOnStart = true
      }
      try trainer.train()
      return trainer.state.logHistory
    }
    let rounds = CPUBackend.shared.multipliesBFloat16
    for key in ["loss", "grad_norm"] {
      let (exact, rounded) = (runs[0].compactMap { $0[key]?.double }, runs[1].compactMap { $0[key]?.double })
      #expect(exact.count == 8 && rounded.count == 8)
      for (a, b) in zip(exact, rounded) { #expect(relativeError(b, a) < 1e-2, "\(key)") }
      #expect((exact != rounded) == rounds, "\(key)")
    }
    let first = runs.map { $0.first { $0["eval_loss"] != nil }?["eval_loss"]?.double }
    #expect(first[0] != nil && first[0] == first[1])
  }

  /// The loss of an incomplete accumulation window is divided by its own number of predicted tokens.
  @Test func theLastLogAveragesItsOwnSteps() throws {
    let trainer = try TinyTrainer.trainer(rows: 0..<38) {
      $0.gradientAccumulationSteps = 4
      $0.samplingStrategy = .sequential
      $0.learningRate = 0
    }
    try trainer.train()
    let losses = trainer.state.logHistory.compactMap { $0["loss"]?.double }
    #expect(losses.count == 5)
    for (step, loss) in losses.enumerated() {
      let sums = try trainer.evaluate(try TinyModel.rows(step * 8..<min(38, step * 8 + 8)))
      #expect(relativeError(loss, sums.loss / Double(sums.count)) < 1e-6, "step \(step + 1)")
    }
  }

  @Test func stepsOverrideEpochs() throws {
    let trainer = try TinyTrainer.trainer {
      $0.maxSteps = 13
      $0.epochs = 100
    }
    #expect(trainer.state.maxSteps == 13 && trainer.state.numTrainEpochs == 2)
    try trainer.train()
    #expect(trainer.state.globalStep == 13 && abs(trainer.state.epoch - 1.3) < 1e-12)
  }

  @Test func logsAreMeansSinceTheLastLog() throws {
    let every = try TinyTrainer.trainer { _ in }
    try every.train()
    let losses = every.state.logHistory.compactMap { $0["loss"]?.double }
    let third = try TinyTrainer.trainer {
      $0.loggingSteps = 3
      $0.logsFirstStep = true
    }
    try third.train()
    #expect(TinyTrainer.steps(third) == [1, 3, 6, 9, 10])
    let means = [losses[0...0], losses[1...2], losses[3...5], losses[6...8], losses[9...9]].map {
      $0.reduce(0, +) / Double($0.count)
    }
    for (log, mean) in zip(third.state.logHistory, means) {
      #expect(relativeError(log["loss"]?.double ?? 0, mean) < 1e-12)
    }
    let share = try TinyTrainer.trainer { $0.loggingSteps = 0.25 }
    try share.train()
    #expect(TinyTrainer.steps(share) == [3, 6, 9, 10])
    let epochs = try TinyTrainer.trainer {
      $0.loggingStrategy = .epoch
      $0.epochs = 1.5
    }
    try epochs.train()
    #expect(TinyTrainer.steps(epochs) == [10, 15])
    let never = try TinyTrainer.trainer { $0.loggingStrategy = .no }
    try never.train()
    #expect(never.state.logHistory.isEmpty && never.state.globalStep == 10)
  }

  @Test func evaluatesWhenAsked() throws {
    let trainer = try TinyTrainer.trainer(rows: 0..<32, evaluationRows: 32..<40) {
      $0.evalStrategy = .steps
      $0.evalSteps = 3
      $0.evalOnStart = true
      $0.loggingSteps = 100
    }
    try trainer.train()
    #expect(TinyTrainer.steps(trainer, "eval_loss") == [0, 3, 6, 8])
    #expect(TinyTrainer.steps(trainer) == [8])
    let last = try #require(trainer.state.logHistory.last { $0["eval_loss"] != nil })
    let sums = try trainer.evaluate(try TinyModel.rows(32..<40))
    #expect(relativeError(last["eval_loss"]?.double ?? 0, sums.loss / Double(sums.count)) < 1e-12)
    #expect(last["eval_num_tokens"]?.integer == sums.count)
  }

  @Test func savesAndRemovesOldCheckpoints() throws {
    let folder = try scratchFolder("saves")
    defer { try? FileManager.default.removeItem(at: folder) }
    let trainer = try TinyTrainer.trainer(output: folder) {
      $0.saveStrategy = .steps
      $0.saveSteps = 3
      $0.saveTotalLimit = 2
    }
    // Left over from another run.
    try FileManager.default.createDirectory(
      at: folder.appendingPathComponent("checkpoint-900"), withIntermediateDirectories: true)
    let saves = Recorder()
    trainer.callbacks = [saves]
    try trainer.train()
    #expect(saves.saved == ["checkpoint-3", "checkpoint-6", "checkpoint-9", "checkpoint-10"])
    #expect(TinyTrainer.names(folder) == ["checkpoint-10", "checkpoint-900"])
    let files = try FileManager.default.contentsOfDirectory(
      atPath: folder.appendingPathComponent("checkpoint-10").path)
    for name in [
      "adapter_config.json", "adapter_model.safetensors", "optimizer.safetensors", "tokenizer.json",
      "tokenizer_config.json", "trainer_state.json",
    ] { #expect(files.contains(name), "\(name)") }
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).count == 2)
  }

  /// A model whose weights are damaged halfway had its best loss before.
  @Test(arguments: [nil, 0]) func theBestCheckpointIsLoadedAtTheEnd(_ dropout: Double?) throws {
    let folder = try scratchFolder("best")
    defer { try? FileManager.default.removeItem(at: folder) }
    let trainer = try TinyTrainer.trainer(rows: 0..<32, evaluationRows: 32..<40, output: folder, dropout: dropout) {
      $0.evalStrategy = .steps
      $0.evalSteps = 2
      $0.saveStrategy = .steps
      $0.saveSteps = 4
      $0.saveTotalLimit = 1
      $0.loadBestModelAtEnd = true
    }
    trainer.callbacks = [Spoiler(of: trainer, after: 5)]
    try trainer.train()
    let evaluations = trainer.state.logHistory.compactMap { $0["eval_loss"]?.double }
    let best = try #require(evaluations.min())
    let step = try #require(trainer.state.bestGlobalStep)
    #expect(best == trainer.state.bestMetric && best < evaluations.last ?? 0 && step < 8)
    #expect(TinyTrainer.names(folder) == ["checkpoint-\(step)", "checkpoint-8"])
    let sums = try trainer.evaluate(try TinyModel.rows(32..<40))
    #expect(sums.loss / Double(sums.count) == best)
    #expect(trainer.state.bestModelCheckpoint == "checkpoint-\(step)")
  }

  @Test func savesOnlyTheBestCheckpoints() throws {
    let folder = try scratchFolder("best-only")
    defer { try? FileManager.default.removeItem(at: folder) }
    let trainer = try TinyTrainer.trainer(rows: 0..<32, evaluationRows: 32..<40, output: folder) {
      $0.evalStrategy = .steps
      $0.evalSteps = 2
      $0.saveStrategy = .best
    }
    trainer.callbacks = [Spoiler(of: trainer, after: 5)]
    try trainer.train()
    var best = Double.infinity
    var expected: [String] = []
    for log in trainer.state.logHistory {
      guard let loss = log["eval_loss"]?.double, loss < best else { continue }
      best = loss
      expected.append("checkpoint-\(log["step"]?.integer ?? 0)")
    }
    #expect(TinyTrainer.names(folder) == expected && !expected.isEmpty && expected.count < 4)
  }

  @Test func callbacksStopTheRun() throws {
    let folder = try scratchFolder("stop")
    defer { try? FileManager.default.removeItem(at: folder) }
    let trainer = try TinyTrainer.trainer(output: folder) {
      $0.loggingSteps = 10
      $0.saveStrategy = .steps
    }
    let recorder = Recorder()
    recorder.lastStep = 4
    trainer.callbacks = [recorder]
    try trainer.train()
    #expect(trainer.state.globalStep == 4 && recorder.steps == [1, 2, 3, 4])
    #expect(TinyTrainer.steps(trainer) == [4] && TinyTrainer.names(folder) == ["checkpoint-4"])
  }

  @Test func nonFiniteLossesStopTheRun() throws {
    let folder = try scratchFolder("nan")
    defer { try? FileManager.default.removeItem(at: folder) }
    let trainer = try TinyTrainer.trainer(rows: 10..<14, output: folder) {
      $0.samplingStrategy = .sequential
      $0.saveStrategy = .steps
    }
    let parameter = trainer.parameters[3]
    let count = parameter.value.count
    parameter.value = trainer.model.transformer.backend.tensor(
      [Float](repeating: .nan, count: count), parameter.value.shape)
    let message = TinyTrainer.message { try trainer.train() }
    #expect(message.contains("step 1") && message.contains("rows 1, 2"), "\(message)")
    #expect(message.contains(parameter.name) && message.contains("`learningRate`"), "\(message)")
    #expect(TinyTrainer.names(folder).isEmpty)
    #expect(trainer.parameters.allSatisfy { $0.gradient == nil })
  }

  @Test func impossibleSettingsAreRejected() throws {
    func message(rows: Range<Int> = 0..<8, _ change: (inout TrainingConfiguration) -> Void) -> String {
      TinyTrainer.message { _ = try TinyTrainer.trainer(rows: rows, change) }
    }
    #expect(message { $0.evalStrategy = .epoch }.contains("`evalStrategy`"))
    #expect(message { $0.loadBestModelAtEnd = true }.contains("`loadBestModelAtEnd`"))
    #expect(
      message {
        $0.dropsLastBatch = true; $0.trainBatchSize = 9
      }.contains("a batch needs 9"))
    let model = try TinyModel.model()
    #expect(
      TinyTrainer.message {
        _ = try Trainer(
          model, adapter: nil, configuration: TrainingConfiguration(), trainingSet: TinyModel.rows(0..<0))
      } != "")
    let bfloat16 = try TinyModel.model("llama_bf16")
    let everyWeight = TinyTrainer.message {
      _ = try Trainer(
        bfloat16, adapter: nil, configuration: TrainingConfiguration(), trainingSet: TinyModel.rows(0..<8))
    }
    #expect(everyWeight.contains("float32"), "\(everyWeight)")
  }

  @Test func tokensOutsideTheVocabularyAreRejected() throws {
    for (ids, labels) in [("[5, 256]", "[5, 6]"), ("[5, -1]", "[5, 6]"), ("[5, 6]", "[5, 300]")] {
      let row = try JSONValue(parsing: Data("{\"input_ids\": \(ids), \"labels\": \(labels)}".utf8))
      let set = try Preparation(.none).prepare(InMemoryRows([try #require(row.object)])).set
      let model = try TinyModel.model()
      let message = TinyTrainer.message {
        _ = try Trainer(
          model, adapter: TinyModel.adapter("lora", on: model), configuration: TrainingConfiguration(), trainingSet: set
        )
      }
      #expect(message.contains("row 1") && message.contains("256"), "\(message)")
    }
  }
}

/// Records events, and stops a run on request.
final class Recorder: TrainerCallback {
  var steps: [Int] = []
  var saved: [String] = []
  var lastStep = Int.max

  func stepEnded(_ step: StepReport, _ state: TrainerState) { steps.append(state.globalStep) }
  func saved(_ folder: String, _ state: TrainerState) { saved.append(folder) }
  func shouldStop(_ state: TrainerState) -> Bool { state.globalStep >= lastStep }
}

/// Makes the trained weights fifty times larger after a step.
final class Spoiler: TrainerCallback {
  private unowned let trainer: Trainer
  private let step: Int

  init(of trainer: Trainer, after step: Int) {
    self.trainer = trainer
    self.step = step
  }

  func stepEnded(_ step: StepReport, _ state: TrainerState) {
    guard state.globalStep == self.step else { return }
    for parameter in trainer.parameters { trainer.model.transformer.backend.scale(parameter.value, by: 50) }
  }
}
