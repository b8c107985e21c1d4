import Datasets
import Foundation
import Models
import OrderedJSON
import Tensors
import Training

/// Trainers for the tiny Llama, and their results.
package enum TinyTrainer {
  package static func arguments(batch: Int, accumulation: Int = 1, steps: Int, seed: Int = 42) -> TrainingConfiguration
  {
    var arguments = TrainingConfiguration()
    arguments.trainBatchSize = batch
    arguments.gradientAccumulationSteps = accumulation
    arguments.maxSteps = steps
    arguments.learningRate = 1e-3
    arguments.loggingSteps = 1
    arguments.saveStrategy = .no
    arguments.seed = seed
    return arguments
  }

  package static func trainer(
    rows: Range<Int> = 0..<40, evaluationRows: Range<Int>? = nil, output: URL? = nil, dropout: Double? = 0,
    callbacks: [any TrainerCallback] = [], on backend: any Backend = CPUBackend.shared,
    _ change: (inout TrainingConfiguration) -> Void
  ) throws -> Trainer {
    var arguments = arguments(batch: 2, accumulation: 2, steps: 10)
    arguments.maxSteps = nil
    arguments.epochs = 1
    change(&arguments)
    let model = try TinyModel.model(inFloat32: dropout == nil, on: backend)
    return try Trainer(
      model, adapter: TinyModel.adapter(dropout: dropout, on: model), configuration: arguments,
      trainingSet: TinyModel.rows(rows), validationSet: evaluationRows.map { try TinyModel.rows($0) }, output: output,
      baseName: "models/llama", callbacks: callbacks)
  }

  package static func steps(_ trainer: Trainer, _ key: String = "loss") -> [Int] {
    trainer.state.logHistory.filter { $0[key] != nil }.compactMap { $0["step"]?.integer }
  }

  package static func names(_ folder: URL) -> [String] { Trainer.checkpoints(in: folder).map(\.lastPathComponent) }

  package static func message(_ body: () throws -> Void) -> String {
    do {
      try body()
      return ""
    } catch {
      return "\(error)"
    }
  }

  /// The log without times.
  package static func log(_ trainer: Trainer) -> String {
    trainer.state.logHistory.map { log in
      var log = log
      log["elapsed_s"] = nil
      log["eval_runtime"] = nil
      return JSONValue.object(log).text()
    }.joined(separator: "\n")
  }
}

/// Ends a run without a final checkpoint, as a signal would.
package final class Kill: TrainerCallback {
  package let step: Int
  package init(after step: Int) { self.step = step }
  package func shouldStop(_ state: TrainerState) -> Bool { state.globalStep >= step }
}
