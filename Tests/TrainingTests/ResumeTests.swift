import TestSupport
import Training
import Foundation
import Models
import OrderedJSON
import Tensors
import Testing

/// A run that is interrupted and resumed has the same result as an uninterrupted one.
@Suite struct ResumeTests {
  /// Adapters with more than A and B.
  @Test(arguments: ["bias", "tokens", "pissa", "pissa_niter_2"]) func everyAdapterResumes(_ kind: String) throws {
    let folder = try scratchFolder("resume-adapter")
    defer { try? FileManager.default.removeItem(at: folder) }
    func trainer(_ name: String) throws -> Trainer {
      var lora = LoRAConfiguration.lora(rank: 4, dropout: 0.1)
      switch kind {
      case "bias": lora.hasBias = true
      case "tokens": lora.trainableTokens = .embedding([5, 6, 40])
      default: lora.initialization = try #require(LoRAConfiguration.Initialization(name: kind))
      }
      var configuration = TinyTrainer.arguments(batch: 2, accumulation: 2, steps: 8)
      (configuration.saveStrategy, configuration.saveSteps) = (.steps, 4)
      let model = try TinyModel.model("llama_tied")
      return try Trainer(
        model, adapter: Adapter(lora, on: model.transformer, seed: 5), configuration: configuration,
        trainingSet: TinyModel.rows(), output: folder.appendingPathComponent(name), baseName: "models/llama_tied")
    }
    let whole = try trainer("one")
    try whole.train()
    let first = try trainer("two")
    first.callbacks = [Kill(after: 6)]
    try first.train()
    let second = try trainer("two")
    try second.resume(from: folder.appendingPathComponent("two/checkpoint-4"))
    try second.train()
    #expect(TinyTrainer.log(second) == TinyTrainer.log(whole))
    for name in ["adapter_model.safetensors", "adapter_config.json", "optimizer.safetensors"] {
      let files = ["one", "two"].map { folder.appendingPathComponent("\($0)/checkpoint-8/\(name)") }
      #expect(try Data(contentsOf: files[0]) == Data(contentsOf: files[1]), "\(name)")
    }
    // What was saved is read, and means the same.
    let model = try TinyModel.model("llama_tied")
    let folderRead = folder.appendingPathComponent("one/checkpoint-8")
    let adapter = try Adapter(reading: folderRead, onto: model.transformer)
    let losses = try [model, whole.model].map {
      try TrainingStep.loss(TinyModel.rows(0..<8).batch(0..<8), $0.transformer).loss
    }
    #expect(relativeError(losses[0], losses[1]) < 1e-6 && adapter.layers.count == whole.adapter?.layers.count)
  }

  static func trainer(
    _ output: URL, dropout: Double?, optimizer: OptimizerConfiguration.Kind = .adamWTorch,
    on backend: any Backend = CPUBackend.shared
  ) throws -> Trainer {
    try TinyTrainer.trainer(rows: 0..<34, evaluationRows: 34..<40, output: output, dropout: dropout, on: backend) {
      $0.maxSteps = 13
      $0.loggingSteps = 3
      $0.saveStrategy = .steps
      $0.saveSteps = 4
      $0.evalStrategy = .steps
      $0.evalSteps = 5
      $0.optimizer.weightDecay = 0.01
      $0.warmupSteps = 2
      $0.optimizer.kind = optimizer
      if optimizer == .sgd { ($0.optimizer.momentum, $0.optimizer.nesterov) = (0.9, true) }
    }
  }

  @Test(arguments: [(0.0, 4), (0.2, 4), (0.2, 8), (nil, 4), (0.2, 12)] as [(Double?, Int)])
  func resumedIsUninterrupted(_ dropout: Double?, _ interruption: Int) throws {
    try Self.checkResumed(dropout, interruption)
  }

  /// Every weight, so that some tensors are large enough for 8 bits.
  @Test(arguments: [
    OptimizerConfiguration.Kind.adamW8Bit, .pagedAdamW8Bit, .pagedAdamW32Bit, .sgd, .adafactor, .muon, .lion, .lion8Bit,
    .pagedLion8Bit, .scheduleFreeAdamW,
  ])
  func everyOptimizerResumes(_ optimizer: OptimizerConfiguration.Kind) throws {
    try Self.checkResumed(nil, 4, optimizer)
  }

  static func checkResumed(
    _ dropout: Double?, _ interruption: Int, _ optimizer: OptimizerConfiguration.Kind = .adamWTorch,
    on backend: any Backend = CPUBackend.shared
  ) throws {
    let folder = try scratchFolder("resume")
    defer { try? FileManager.default.removeItem(at: folder) }
    let (one, two) = (folder.appendingPathComponent("one"), folder.appendingPathComponent("two"))
    let whole = try Self.trainer(one, dropout: dropout, optimizer: optimizer, on: backend)
    try whole.train()

    let first = try Self.trainer(two, dropout: dropout, optimizer: optimizer, on: backend)
    // Killed one step after the checkpoint.
    let recorder = Kill(after: interruption + 1)
    first.callbacks = [recorder]
    try first.train()
    let second = try Self.trainer(two, dropout: dropout, optimizer: optimizer, on: backend)
    try second.resume(from: two.appendingPathComponent("checkpoint-\(interruption)"))
    #expect(second.state.globalStep == interruption)
    try second.train()

    #expect(TinyTrainer.log(second) == TinyTrainer.log(whole))
    #expect(whole.state.globalStep == 13 && second.state.numInputTokensSeen == whole.state.numInputTokensSeen)
    let elapsed = second.state.logHistory.compactMap { $0["elapsed_s"]?.double }
    #expect(elapsed == elapsed.sorted())
    let names = dropout == nil ? ["model.safetensors"] : ["adapter_model.safetensors", "adapter_config.json"]
    for name in names + ["optimizer.safetensors"] {
      let bytes = try Data(contentsOf: one.appendingPathComponent("checkpoint-13/\(name)"))
      #expect(try bytes == Data(contentsOf: two.appendingPathComponent("checkpoint-13/\(name)")), "\(name)")
    }
  }

  @Test func checkpointsOfOtherRunsAreRejected() throws {
    let folder = try scratchFolder("resume-faults")
    defer { try? FileManager.default.removeItem(at: folder) }
    let whole = try Self.trainer(folder, dropout: 0.2)
    try whole.train()
    let checkpoint = folder.appendingPathComponent("checkpoint-8")
    func message(_ dropout: Double? = 0.2) throws -> String {
      let trainer = try Self.trainer(folder.appendingPathComponent("other"), dropout: dropout)
      return TinyTrainer.message { try trainer.resume(from: checkpoint) }
    }
    #expect(try message().isEmpty)
    // Another rank; every weight; another optimizer; another length.
    let others = try [OptimizerConfiguration.Kind.sgd, .adafactor, .lion].map { name in
      let trainer = try Self.trainer(folder.appendingPathComponent("other"), dropout: 0.2, optimizer: name)
      return TinyTrainer.message { try trainer.resume(from: checkpoint) }
    }
    for text in others + [
      try message(0.0), try message(nil),
      TinyTrainer.message {
        try TinyTrainer.trainer(dropout: 0.2) { $0.maxSteps = 12 }.resume(from: checkpoint)
      },
    ] { #expect(!text.isEmpty && !text.contains("\n"), "\(text)") }
    let state = checkpoint.appendingPathComponent("trainer_state.json")
    let saved = try String(contentsOf: state, encoding: .utf8)
    let beyond = saved.replacingOccurrences(of: "\"global_step\": 8", with: "\"global_step\": 9007199254740992")
    try Data(beyond.utf8).write(to: state)
    #expect(try message().contains("global_step is 9007199254740992"))
    try Data(saved.utf8).write(to: state)
    for name in ["optimizer.safetensors", "adapter_model.safetensors", "trainer_state.json"] {
      let url = checkpoint.appendingPathComponent(name)
      let bytes = try Data(contentsOf: url)
      try bytes.prefix(bytes.count / 2).write(to: url)
      #expect(try message().contains(name))
      try FileManager.default.removeItem(at: url)
      #expect(try message().contains(name))
      try bytes.write(to: url)
    }
    #expect(try message().isEmpty)
  }
}
