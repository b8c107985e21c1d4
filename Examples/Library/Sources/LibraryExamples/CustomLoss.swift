import Swiftlet

/// Trains with a loss that ignores tokens the model is already sure of.
enum CustomLoss {
  struct HardTokenLoss: TrainingLoss {
    /// Tokens with a lower loss, in nats, do not count.
    let threshold: Float

    func compute(_ pass: TrainingPass) -> LossSums {
      let (hidden, targets) = pass.hiddenStates()
      return pass.crossEntropy(hidden, targets) { _, losses in losses.map { $0 < threshold ? 0 : 1 } }
    }
  }

  static func run(_ setup: Setup) async throws {
    let model = try await LanguageModel(setup.model)
    let run = try FineTuning(
      model, adapter: .lora(rank: 4), data: Setup.data, loss: HardTokenLoss(threshold: 0.1)
    ) {
      $0.maxSteps = 3
      $0.trainBatchSize = 4
      $0.learningRate = 1e-3
      $0.outputDir = Setup.folder("custom-loss")
    }
    for try await event in run.events {
      if case .step(let step) = event { print("step \(step.step): loss of the hard tokens \(step.loss)") }
    }
  }
}
