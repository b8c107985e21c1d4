import TestSupport
import Training
import Foundation
import Models
import OrderedJSON
import Testing

/// The library's own callbacks, and what callbacks can cause.
@Suite struct CallbackTests {
  // MARK: Early stopping

  private static func stops(_ losses: [Double], patience: Int, threshold: Double = 0, baseline: Double? = nil) -> Int? {
    let callback = EarlyStopping(patience: patience, threshold: threshold)
    var state = TrainerState()
    if let baseline { state.append(EvaluationLog(step: 0, epoch: 0, loss: baseline, tokens: 1, runtime: 0)) }
    for (index, loss) in losses.enumerated() {
      let log = EvaluationLog(step: index + 1, epoch: 0, loss: loss, tokens: 1, runtime: 0)
      state.append(log)
      callback.evaluated(log, state)
      if callback.shouldStop(state) { return index + 1 }
    }
    return nil
  }

  /// As transformers' EarlyStoppingCallback counts: every evaluation whose loss isn't lower than the best one by more
  /// than the threshold; a better one resets the count. The lowest loss is the best one, whatever the threshold.
  @Test func earlyStoppingCountsAsInTransformers() {
    #expect(Self.stops([3, 2, 1], patience: 1) == nil)
    #expect(Self.stops([3, 3], patience: 1) == 2)
    #expect(Self.stops([3, 2, 2.5, 1.9, 2, 2], patience: 2) == 6)
    #expect(Self.stops([3, 2.95, 2.9, 2.8], patience: 2, threshold: 0.1) == 3)
    #expect(Self.stops([3, 2.95, 2.8, 2.75, 2.74], patience: 2, threshold: 0.1) == 5)
    #expect(Self.stops([3, .nan, 2], patience: 2) == nil)
    #expect(Self.stops([3, .nan, .nan], patience: 2) == 3)
    #expect(Self.stops([3, 2, 1], patience: 1, baseline: 0.5) == nil)
  }

  @Test func aRunStopsEarlyAndReturnsTheBestCheckpoint() throws {
    let folder = try scratchFolder("early")
    defer { try? FileManager.default.removeItem(at: folder) }
    let trainer = try TinyTrainer.trainer(rows: 0..<32, evaluationRows: 32..<40, output: folder) {
      $0.maxSteps = 40
      $0.evalStrategy = .steps
      $0.evalSteps = 2
      $0.loadBestModelAtEnd = true
      $0.earlyStoppingPatience = 2
    }
    trainer.callbacks = [Spoiler(of: trainer, after: 5)]
    #expect(try trainer.train() == .stopped)
    let best = try #require(trainer.state.bestGlobalStep)
    #expect(best <= 4 && trainer.state.globalStep == best + 4)
    let sums = try trainer.evaluate(try TinyModel.rows(32..<40))
    #expect(sums.loss / Double(sums.count) == trainer.state.bestMetric)
  }

  /// As in transformers, an evaluation before the first step is not a result of the run.
  @Test func theBestLossIsOneOfTheRun() {
    var state = TrainerState()
    for (step, loss) in [(0, 1.0), (2, 2.5), (4, 2), (6, 2.25)] {
      state.append(EvaluationLog(step: step, epoch: 0, loss: loss, tokens: 1, runtime: 0), checkpoint: "\(step)")
    }
    #expect(state.bestMetric == 2 && state.bestGlobalStep == 4 && state.bestModelCheckpoint == "4")
    #expect(state.logHistory.count == 4)
  }

  @Test func evaluationDelayIsHonored() throws {
    func steps(_ change: (inout TrainingConfiguration) -> Void) throws -> [Int] {
      let trainer = try TinyTrainer.trainer(rows: 0..<32, evaluationRows: 32..<40) {
        $0.evalStrategy = .steps
        $0.evalSteps = 3
        change(&$0)
      }
      try trainer.train()
      return TinyTrainer.steps(trainer, "eval_loss")
    }
    #expect(try steps { $0.evalDelay = 4 } == [6, 8])
    #expect(try steps { $0.evalDelay = 9 } == [])
    #expect(
      try steps {
        $0.evalStrategy = .epoch
        $0.epochs = 3
        $0.evalDelay = 1.5
      } == [16, 24])
  }

  // MARK: Pauses

  private static func outcome(_ trainer: Trainer) -> (String, [Float]) {
    (TinyTrainer.log(trainer), EquivalenceTests.Outcome(trainer).weights)
  }

  /// Paused after a step, or during an evaluation that is then repeated: the run continues as if uninterrupted.
  @Test(arguments: [(1, 0), (5, 0), (5, 1), (8, 0), (12, 0), (13, 0), (13, 1)])
  func aPausedRunContinues(step: Int, after asked: Int) throws {
    let folder = try scratchFolder("pause")
    defer { try? FileManager.default.removeItem(at: folder) }
    let whole = try ResumeTests.trainer(folder.appendingPathComponent("whole"), dropout: 0.2)
    #expect(try whole.train() == .complete)
    let output = folder.appendingPathComponent("paused")
    let first = try ResumeTests.trainer(output, dropout: 0.2)
    first.callbacks = [Pause(after: step, asked: asked)]
    let checkpoint = output.appendingPathComponent("checkpoint-\(step)")
    guard case .paused(let left) = try first.train() else {
      Issue.record("the run was not paused")
      return
    }
    #expect(left?.path == checkpoint.path)
    // The callback is asked during the evaluations at steps 5 and 13, and interrupts them.
    #expect(TinyTrainer.steps(first, "eval_loss").contains(step) == ([5, 13].contains(step) && asked == 1))

    let second = try ResumeTests.trainer(output, dropout: 0.2)
    try second.resume(from: checkpoint)
    #expect(second.state.globalStep == step)
    #expect(try second.train() == .complete)
    #expect(Self.outcome(second) == Self.outcome(whole))
  }

  /// A pause always saves a checkpoint that can be resumed, whatever the configuration says about checkpoints.
  @Test func aPauseAlwaysSaves() throws {
    let folder = try scratchFolder("pause-save")
    defer { try? FileManager.default.removeItem(at: folder) }
    func trainer() throws -> Trainer {
      try TinyTrainer.trainer(output: folder) {
        $0.saveStrategy = .no
        $0.saveOnlyModel = true
      }
    }
    let first = try trainer()
    first.callbacks = [Pause(after: 3)]
    try first.train()
    #expect(TinyTrainer.names(folder) == ["checkpoint-3"])
    let second = try trainer()
    try second.resume(from: folder.appendingPathComponent("checkpoint-3"))
    #expect(try second.train() == .complete)
    #expect(TinyTrainer.names(folder) == ["checkpoint-3"])
  }
}

/// Pauses a run after a step, once it has been asked a number of times.
final class Pause: TrainerCallback {
  private let step: Int
  private var asked: Int
  private var reached = false

  init(after step: Int, asked: Int = 0) {
    self.step = step
    self.asked = asked
  }

  func stepEnded(_ step: StepReport, _ state: TrainerState) { reached = reached || state.globalStep == self.step }

  func shouldPause() -> Bool {
    guard reached else { return false }
    asked -= 1
    return asked < 0
  }
}
