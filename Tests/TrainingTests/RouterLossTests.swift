import Datasets
import Foundation
import Models
import Tensors
import TestSupport
import Testing
import Training

/// Training with the auxiliary loss of routers. That it equals TRL's is tested with the other goldens.
@Suite struct RouterLossTests {
  /// A trainer of a tiny mixture of experts: of an adapter, or of every weight.
  private static func trainer(
    adapts: Bool, output: URL? = nil, set: TrainingSet? = nil, activationBudget: Int = .max,
    on backend: any Backend = CPUBackend.shared, _ change: (inout TrainingConfiguration) -> Void = { _ in }
  ) throws -> Trainer {
    var configuration = TinyTrainer.arguments(batch: 2, accumulation: 2, steps: 6)
    configuration.routerLossCoefficient = 0.1
    change(&configuration)
    let model = try TinyModel.model("qwen3_moe", inFloat32: !adapts, on: backend)
    return try Trainer(
      model, adapter: adapts ? TinyModel.adapter("lora_experts", on: model) : nil, configuration: configuration,
      trainingSet: set ?? TinyModel.rows(), validationSet: TinyModel.rows(32..<40), output: output,
      activationBudget: activationBudget)
  }

  private static func log(_ trainer: Trainer) throws -> String {
    try trainer.train()
    #expect(trainer.state.logHistory.allSatisfy { $0["aux_loss"] != nil || $0["eval_aux_loss"] != nil })
    return TinyTrainer.log(trainer)
  }

  @Test(arguments: [true, false]) func threadsAndCheckpointsChangeNoBit(adapts: Bool) throws {
    let kept = try Self.log(Self.trainer(adapts: adapts, on: CPUBackend(threads: 1)))
    #expect(try Self.log(Self.trainer(adapts: adapts, on: CPUBackend(threads: 3))) == kept)
    #expect(try Self.log(Self.trainer(adapts: adapts, activationBudget: 0)) == kept)
  }

  @Test(.enabled(if: TestGPU.isExpected), arguments: [true, false])
  func checkpointsChangeNoBitOnAGPU(adapts: Bool) throws {
    let gpu = try #require(TestGPU.backend)
    let kept = try Self.log(Self.trainer(adapts: adapts, on: gpu))
    #expect(try Self.log(Self.trainer(adapts: adapts, activationBudget: 0, on: gpu)) == kept)
  }

  /// A run that is resumed between two logs.
  @Test func aResumedRunHasTheSameLog() throws {
    let folder = try scratchFolder("resume-router")
    defer { try? FileManager.default.removeItem(at: folder) }
    func trainer(_ name: String) throws -> Trainer {
      try Self.trainer(adapts: true, output: folder.appendingPathComponent(name)) {
        ($0.loggingSteps, $0.saveStrategy, $0.saveSteps) = (3, .steps, 2)
        ($0.evalStrategy, $0.evalSteps) = (.steps, 3)
      }
    }
    let whole = try Self.log(trainer("one"))
    let first = try trainer("two")
    first.callbacks = [Kill(after: 3)]
    try first.train()
    let second = try trainer("two")
    try second.resume(from: folder.appendingPathComponent("two/checkpoint-2"))
    #expect(try Self.log(second) == whole)
  }

  /// A prefix that is computed once counts for every row, as it does where each row has its own.
  @Test(arguments: [true, false]) func sharedPrefixesCountForEachRow(adapts: Bool) throws {
    let set = try TinyModel.rows(0..<8, beginning: (0..<30).map { Int32(5 + $0 * 13 % 200) })
    #expect(set.sharedPrefix() == 29)
    var logs: [[String: Double]] = []
    // Noise of nearly nothing keeps rows from sharing a prefix.
    for noise in [nil, 1e-9] {
      let trainer = try Self.trainer(adapts: adapts, set: set) {
        ($0.trainBatchSize, $0.gradientAccumulationSteps, $0.maxSteps) = (8, 1, 1)
        $0.neftuneNoiseAlpha = noise
      }
      try trainer.train()
      let log = try #require(trainer.state.logHistory.first)
      logs.append(
        Dictionary(uniqueKeysWithValues: ["loss", "grad_norm", "aux_loss"].map { ($0, log[$0]?.double ?? .nan) }))
    }
    for (key, value) in logs[0] { #expect(relativeError(logs[1][key] ?? .nan, value) < 2e-6, "\(key)") }
  }

  /// The validation loss includes that of each batch by the tokens that the batch predicts.
  @Test func theValidationLossIncludesIt() throws {
    let set = try TinyModel.rows(0..<12)
    func evaluate(_ rows: TrainingSet, _ coefficient: Double) throws -> LossSums {
      let trainer = try Self.trainer(adapts: true) { $0.routerLossCoefficient = coefficient }
      return try trainer.evaluate(rows)
    }
    let (with, without) = (try evaluate(set, 0.1), try evaluate(set, 0))
    let parts = try [0..<8, 8..<12].map { try evaluate(TinyModel.rows($0), 0.1) }
    let losses = try parts.map { try #require($0.metrics["aux_loss"]) }
    let added = zip(parts, losses).reduce(0) { $0 + 0.1 * $1.1.mean * Double($1.0.count) }
    #expect(relativeError(with.loss - without.loss, added) < 1e-6 && without.metrics.isEmpty)
    #expect(with.metrics["aux_loss"] == losses[0] + losses[1] && with.count == without.count)
  }

  /// The loss that is logged is the rows' and the routers', and smoothed labels leave the latter out.
  @Test func theLoggedLossIncludesIt() throws {
    func first(_ change: (inout TrainingConfiguration) -> Void) throws -> (loss: Double, norm: Double, routers: Double?)
    {
      let trainer = try Self.trainer(adapts: true) {
        $0.maxSteps = 1
        change(&$0)
      }
      try trainer.train()
      let log = try #require(trainer.state.logHistory.first)
      return (
        try #require(log["loss"]?.double), try #require(log["grad_norm"]?.double), log["aux_loss"]?.double
      )
    }
    let (plain, added) = (try first { $0.routerLossCoefficient = 0 }, try first { $0.routerLossCoefficient = 10 })
    #expect(plain.routers == nil)
    #expect(relativeError(added.loss - plain.loss, 10 * (added.routers ?? .nan)) < 1e-6)
    #expect(abs(added.norm - plain.norm) > 1e-2)
    let smoothed = try [0, 10].map { coefficient in
      try first { ($0.labelSmoothing, $0.routerLossCoefficient) = (0.1, coefficient) }
    }
    #expect(smoothed[0].loss == smoothed[1].loss && smoothed[0].norm == smoothed[1].norm)
    #expect(smoothed[0].routers == nil && smoothed[1].routers == added.routers)
  }

  /// Which coefficient counts: what TRL takes without the key.
  @Test func theModelsConfigurationHasTheDefault() throws {
    func configuration(_ method: TrainingMethod.Name, _ coefficient: Double? = nil) -> TrainingConfiguration {
      var configuration = TrainingConfiguration(method: TrainingMethod(method))
      configuration.routerLossCoefficient = coefficient
      return configuration
    }
    var experts = try #require(TinyModel.model("gpt_oss").transformer.configuration.experts)
    #expect(experts.routerLossCoefficient == 0.001 && !experts.returnsRouterLogits)
    experts.routerLossCoefficient = 0.9
    for method in TrainingMethod.Name.allCases {
      let isDefault = [.sft, .dpo, .kto, .grpo].contains(method)
      #expect(configuration(method).routerLossCoefficient(experts) == (isDefault ? 0.9 : 0), "\(method)")
      #expect(
        configuration(method).routerLossCoefficient(nil) == 0
          && configuration(method, 0).routerLossCoefficient(experts) == 0)
      let scores = [.reward, .classify].contains(method)
      #expect(configuration(method, 0.5).routerLossCoefficient(experts) == (scores ? 0 : 0.5), "\(method)")
      #expect((configuration(method, 0.5).routerLossProblem(experts) != nil) == scores, "\(method)")
      #expect(configuration(method, 0.5).routerLossProblem(nil)?.contains("mixture of experts") == true)
      #expect(configuration(method, 0).routerLossProblem(nil) == nil)
    }
    experts.returnsRouterLogits = true
    #expect(configuration(.orpo).routerLossCoefficient(experts) == 0.9)
    #expect(configuration(.classify).routerLossCoefficient(experts) == 0)
    var distilled = configuration(.sft)
    distilled.distillation = DistillationConfiguration(teacher: "")
    #expect(distilled.routerLossCoefficient(experts) == 0)
    distilled.routerLossCoefficient = 0.5
    #expect(distilled.routerLossProblem(experts)?.contains("distillation") == true)
  }

  /// TRL's trainer saves `output_router_logits: true`.
  @Test(arguments: ["qwen3_moe", "gpt_oss", "granitemoe"]) func theConfigurationIsRead(_ name: String) throws {
    let folder = try scratchFolder("router")
    defer { try? FileManager.default.removeItem(at: folder) }
    let copy = folder.appendingPathComponent(name)
    try FileManager.default.copyItem(at: TinyModel.folder.appendingPathComponent("models/\(name)"), to: copy)
    let file = copy.appendingPathComponent("config.json")
    var text = try String(contentsOf: file, encoding: .utf8)
    for (key, old, new) in [("output_router_logits", "false", "true"), ("router_aux_loss_coef", "0.001", "0.25")] {
      #expect(text.contains("\"\(key)\": \(old)"))
      text = text.replacingOccurrences(of: "\"\(key)\": \(old)", with: "\"\(key)\": \(new)")
    }
    try Data(text.utf8).write(to: file)
    let experts = try #require(ModelFiles(opening: copy).configuration.experts)
    #expect(experts.returnsRouterLogits && experts.routerLossCoefficient == 0.25)
  }

  /// A coefficient for a model without experts is an error, as in TRL.
  @Test func modelsWithoutExpertsAreRefused() throws {
    let message = TinyTrainer.message { _ = try TinyTrainer.trainer { $0.routerLossCoefficient = 0.001 } }
    #expect(message.contains("`routerLossCoefficient` needs a mixture of experts"), "\(message)")
    #expect(try TinyTrainer.trainer { $0.routerLossCoefficient = 0 }.configuration.routerLossCoefficient == 0)
  }

  /// The wait for losses is the only one.
  @Test(.enabled(if: TestGPU.isExpected)) func nobodyWaitsForEachLayer() throws {
    // A backend of its own, for which nobody else waits.
    let gpu = try VulkanBackend(try #require(TestGPU.information))
    let waits = try [0, 0.1].map { coefficient in
      let trainer = try Self.trainer(adapts: true, on: gpu) { $0.routerLossCoefficient = coefficient }
      let before = gpu.counts.waits
      try trainer.train()
      return gpu.counts.waits - before
    }
    #expect(waits[0] == waits[1] && waits[0] > 0)
  }
}
