import Swiftlet
import Synchronization

/// Follows a run with a callback, which also stops it.
enum CustomCallback {
  /// Stops a run when the loss of a step is low enough, and remembers how the run ended.
  final class StopBelow: TrainerCallback, Sendable {
    private let loss: Double
    private let lowest = Mutex(Double.infinity)
    private let ending = Mutex<Trainer.Ending?>(nil)

    init(loss: Double) { self.loss = loss }

    func stepEnded(_ step: StepReport, _ state: TrainerState) { lowest.withLock { $0 = min($0, step.loss) } }
    func shouldStop(_ state: TrainerState) -> Bool { lowest.withLock { $0 < loss } }
    func trainingEnded(_ ending: Trainer.Ending, _ state: TrainerState) {
      print("ended after step \(state.globalStep) of \(state.maxSteps): \(ending)")
      self.ending.withLock { $0 = ending }
    }

    var result: (lowest: Double, ending: Trainer.Ending?) { (lowest.withLock { $0 }, ending.withLock { $0 }) }
  }

  static func run(_ setup: Setup) async throws {
    let model = try await LanguageModel(setup.model)
    let callback = StopBelow(loss: 2)
    let run = try FineTuning(model, adapter: .lora(rank: 8), data: Setup.data, callbacks: [callback]) {
      $0.maxSteps = 12
      $0.learningRate = 3e-3
      $0.outputDir = Setup.folder("custom-callback")
    }
    try await run.train()
    print("the lowest loss was \(callback.result.lowest)")
  }
}
