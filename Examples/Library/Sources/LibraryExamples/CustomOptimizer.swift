import Foundation
import Swiftlet

/// Trains with an update rule and a learning rate schedule of its own.
enum CustomOptimizer {
  /// Gradient descent with steps of the same length, whatever the gradient's norm.
  struct NormalizedSGD: UpdateRule {
    func update(_ weight: Tensor, gradient: Tensor, state: [Tensor], _ step: UpdateStep, on backend: any Backend) {
      let norm = Float(backend.sumOfSquares(gradient).squareRoot())
      backend.add(gradient, scale: -step.learningRate / max(norm, 1e-12), into: weight)
    }
  }

  /// Halves the learning rate every other step.
  struct Halving: Schedule {
    let peak: Double
    func rate(at step: Int, of totalSteps: Int) -> Double { peak * pow(0.5, Double(step / 2)) }
  }

  static func run(_ setup: Setup) async throws {
    let model = try await LanguageModel(setup.model)
    let run = try FineTuning(
      model, adapter: .lora(rank: 4), data: Setup.data, updateRule: NormalizedSGD(), schedule: Halving(peak: 0.5)
    ) {
      $0.maxSteps = 4
      $0.trainBatchSize = 4
      $0.outputDir = Setup.folder("custom-optimizer")
    }
    for try await event in run.events {
      if case .step(let step) = event { print("step \(step.step): rate \(step.learningRate), loss \(step.loss)") }
    }
  }
}
