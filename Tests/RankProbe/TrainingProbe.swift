import Collectives
import Diagnostics
import Foundation
import Tensors
import TestSupport
import Training

/// Trains the tiny Llama as one rank of a run whose steps have eight rows, whatever the number of ranks, and writes
/// each step's loss and gradient norm to `log.txt` in the output folder.
enum TrainingProbe {
  /// - Parameter arguments: `lora` or `full`, after `gpu-` to train on the GPU for tests, the output folder, and
  ///   optionally a checkpoint to resume from.
  static func run(_ arguments: [String], _ collective: any Collective) throws {
    let isLoRA = arguments[0].hasSuffix("lora")
    let output = URL(fileURLWithPath: arguments[1])
    var backend: any Backend = CPUBackend.shared
    if arguments[0].hasPrefix("gpu-") {
      guard let gpu = TestGPU.backend else { throw SwiftletError.device("there is no GPU for tests") }
      backend = gpu
    }
    let model = try TinyModel.model(inFloat32: !isLoRA, on: backend)
    var configuration = TinyTrainer.arguments(batch: 8 / collective.size, steps: 8)
    configuration.samplingStrategy = .sequential
    configuration.saveStrategy = .steps
    configuration.saveSteps = 4
    configuration.evalStrategy = .steps
    configuration.evalSteps = 4
    let trainer = try Trainer(
      model, adapter: isLoRA ? TinyModel.adapter("lora", on: model) : nil, configuration: configuration,
      trainingSet: TinyModel.rows(0..<32), validationSet: TinyModel.rows(32..<40), output: output,
      collective: collective)
    if arguments.count > 2 { try trainer.resume(from: URL(fileURLWithPath: arguments[2])) }
    try trainer.train()
    if collective.rank == 0 { try writeLog(trainer, to: output) }
  }

  /// Trains as the reference did over two processes: `ranks/full.json`, `ranks/lora.json` or `ranks/experts.json`, see
  /// Tests/Goldens/generators/ranks.py.
  /// - Parameter arguments: `full`, `lora` or `experts`, and the output folder.
  static func runReference(_ arguments: [String], _ collective: any Collective) throws {
    let isLoRA = arguments[0] == "lora"
    let isMixture = arguments[0] == "experts"
    let model = try TinyModel.model(isMixture ? "qwen3_moe" : "llama", inFloat32: !isLoRA)
    var configuration = TinyTrainer.arguments(batch: 2, accumulation: 2, steps: 10)
    configuration.samplingStrategy = .sequential
    configuration.routerLossCoefficient = isMixture ? 0.1 : nil
    let trainer = try Trainer(
      model, adapter: isLoRA ? TinyModel.adapter("lora", on: model) : nil, configuration: configuration,
      trainingSet: TinyModel.rows(0..<37), collective: collective)
    try trainer.train()
    if collective.rank == 0 { try writeLog(trainer, to: URL(fileURLWithPath: arguments[1])) }
  }

  private static func writeLog(_ trainer: Trainer, to output: URL) throws {
    let lines = trainer.state.logHistory.map { entry in
      ["step", "loss", "grad_norm", "eval_loss", "num_tokens", "aux_loss"].map { "\(entry[$0]?.double ?? 0)" }.joined(
        separator: " ")
    }
    try lines.joined(separator: "\n").write(
      to: output.appendingPathComponent("log.txt"), atomically: true, encoding: .utf8)
  }
}
