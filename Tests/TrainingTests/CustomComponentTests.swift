import Datasets
import Foundation
import Models
import Tensors
import TestSupport
import Testing
import Training

/// A custom loss, update rule, schedule and callback.
@Suite struct CustomComponentTests {
  private static func train(
    _ components: Trainer.Components = Trainer.Components(), callbacks: [any TrainerCallback] = [],
    _ change: (inout TrainingConfiguration) -> Void = { _ in }
  ) throws -> Trainer {
    var configuration = TinyTrainer.arguments(batch: 4, steps: 3)
    change(&configuration)
    let model = try TinyModel.model()
    let trainer = try Trainer(
      model, adapter: TinyModel.adapter("lora", on: model), configuration: configuration,
      trainingSet: TinyModel.rows(), callbacks: callbacks, components: components)
    try trainer.train()
    return trainer
  }

  // MARK: Loss

  private struct PlainLoss: TrainingLoss {
    func compute(_ pass: TrainingPass) -> LossSums {
      let (hidden, targets) = pass.hiddenStates()
      return pass.crossEntropy(hidden, targets)
    }
  }

  /// Doubles the loss of every token, and counts each batch twice.
  private struct DoubledLoss: TrainingLoss {
    func weight(of batch: TokenBatch) -> Int { 2 * batch.targetCount }

    func compute(_ pass: TrainingPass) -> LossSums {
      let (hidden, targets) = pass.hiddenStates(sharingPrefix: false)
      return pass.crossEntropy(hidden, targets) { rows, losses in losses.map { _ in 2 } }
    }
  }

  @Test func customLoss() throws {
    let usual = try EquivalenceTests.Outcome(Self.train())
    #expect(try EquivalenceTests.Outcome(Self.train(.init(loss: PlainLoss()))).isSame(as: usual))
    let doubled = try EquivalenceTests.Outcome(Self.train(.init(loss: DoubledLoss())))
    // Twice the loss over twice the weight has the same gradient.
    for (a, b) in zip(doubled.losses, usual.losses) { #expect(relativeError(a, 2 * b) < 1e-6) }
    for (a, b) in zip(doubled.norms, usual.norms) { #expect(relativeError(a, b) < 1e-6) }
  }

  /// An error of a loss ends the run.
  private struct FailingLoss: TrainingLoss {
    struct Failure: Error {}
    func compute(_ pass: TrainingPass) throws -> LossSums { throw Failure() }
  }

  @Test func aLossThatFailsEndsTheRun() throws {
    #expect(throws: FailingLoss.Failure.self) { try Self.train(.init(loss: FailingLoss())) }
  }

  // MARK: Update rule and schedule

  /// Gradient descent without any state.
  private struct PlainDescent: UpdateRule {
    func update(_ weight: Tensor, gradient: Tensor, state: [Tensor], _ step: UpdateStep, on backend: any Backend) {
      backend.add(gradient, scale: -step.learningRate * step.gradientScale, into: weight)
    }
  }

  private struct Halving: Schedule {
    func rate(at step: Int, of totalSteps: Int) -> Double { Double(totalSteps) * pow(0.5, Double(step)) }
  }

  @Test func customUpdateRuleAndSchedule() throws {
    let own = try Self.train(.init(updateRule: PlainDescent(), schedule: Halving()))
    #expect(own.state.logHistory.map { $0["learning_rate"]?.double } == [3, 1.5, 0.75])
    let sgd = try Self.train(.init(schedule: Halving())) { $0.optimizer = OptimizerConfiguration(.sgd) }
    let (a, b) = (EquivalenceTests.Outcome(own), EquivalenceTests.Outcome(sgd))
    for (x, y) in zip(a.losses, b.losses) { #expect(relativeError(x, y) < 1e-5) }
  }

  // MARK: Callback

  /// Records all events in order.
  private final class Diary: TrainerCallback {
    var entries: [String] = []
    func trainingBegan(_ state: TrainerState) { entries.append("began") }
    func stepEnded(_ step: StepReport, _ state: TrainerState) { entries.append("step \(step.step)") }
    func logged(_ log: TrainingLog, _ state: TrainerState) { entries.append("log \(log.step)") }
    func trainingEnded(_ ending: Trainer.Ending, _ state: TrainerState) { entries.append("ended \(ending)") }
  }

  @Test func callbacksAreToldEverything() throws {
    let diary = Diary()
    _ = try Self.train(callbacks: [diary]) {
      $0.maxSteps = 2
      $0.loggingSteps = 2
    }
    #expect(diary.entries == ["began", "step 1", "step 2", "log 2", "ended complete"])
  }
}
