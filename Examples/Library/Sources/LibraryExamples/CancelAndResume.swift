import Foundation
import Swiftlet

/// Cancels a run, resumes it, and compares the result with that of an undisturbed run: the same bytes.
enum CancelAndResume {
  static func run(_ setup: Setup) async throws {
    let whole = Setup.folder("undisturbed")
    let interrupted = Setup.folder("interrupted")
    for folder in [whole, interrupted] { try? FileManager.default.removeItem(atPath: folder) }

    try await train(setup, output: whole)
    // Canceling the task saves a checkpoint; the loop in `train` still ends normally.
    let task = Task { try await train(setup, output: interrupted, until: 3) }
    try await task.value
    try await train(setup, output: interrupted, resume: .latest)

    let name = "adapter_model.safetensors"
    let bytes = try [whole, interrupted].map { try Data(contentsOf: URL(fileURLWithPath: "\($0)/\(name)")) }
    guard bytes[0] == bytes[1] else { throw SwiftletError(.training, "the resumed run ended in other weights") }
    print("both runs ended in the same \(bytes[0].count) bytes")
  }

  /// Trains six steps; cancels its own task after step `last`.
  private static func train(
    _ setup: Setup, output: String, until last: Int? = nil, resume: TrainingConfiguration.Resume = .fromStart
  ) async throws {
    let model = try await LanguageModel(setup.model)
    let run = try FineTuning(model, adapter: .lora(rank: 4, dropout: 0.1), data: Setup.data) {
      $0.maxSteps = 6
      $0.trainBatchSize = 2
      $0.learningRate = 1e-3
      $0.saveStrategy = .no
      $0.resume = resume
      $0.outputDir = output
    }
    for try await event in run.events {
      switch event {
      case .step(let step):
        print("step \(step.step): loss \(step.loss)")
        if step.step == last { withUnsafeCurrentTask { $0?.cancel() } }
      case .ended(.paused(let checkpoint)): print("paused; resume from \(checkpoint?.lastPathComponent ?? "")")
      case .ended: try await run.save()
      default: break
      }
    }
  }
}
