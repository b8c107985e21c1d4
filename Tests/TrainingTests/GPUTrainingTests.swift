import Diagnostics
import Foundation
import Models
import OrderedJSON
import Synchronization
import Tensors
import TestSupport
import Testing
import Training

/// Training on a GPU: the reference's results within the CPU's tolerances, and the same bits when repeated.
@Suite(.enabled(if: TestGPU.isExpected)) struct GPUTrainingTests {
  private static func gpu() throws -> VulkanBackend { try #require(TestGPU.backend) }

  @Test(arguments: TrainingGoldenTests.runs) func runEqualsTRL(_ name: String) throws {
    try TrainingGoldenTests.checkRun(name, on: Self.gpu())
  }

  /// On matrix units losses stay within 1e-2.
  @Test(.enabled(if: TestGPU.backend?.multipliesBFloat16 == true), arguments: TrainingGoldenTests.runs)
  func lossesOnMatrixUnits(_ name: String) throws {
    try TrainingGoldenTests.checkRun(name, on: Self.gpu(), lossTolerance: 1e-2)
  }

  /// Losses and norms as close as the CPU's. If a gradient is near zero, AdamW's step depends on rounding, which
  /// differs here.
  @Test func trainingOverFourBitsEqualsTRL() throws {
    try TrainingGoldenTests.checkFourBits(on: Self.gpu(), tolerance: 2e-5)
  }

  /// The losses and norms of a run on the CPU, and the same bits when repeated.
  @Test(arguments: [nil, 0, 0.3]) func runEqualsTheCPU(_ dropout: Double?) throws {
    let gpu = try Self.gpu()
    let run = try EquivalenceTests.run(dropout: dropout, on: gpu)
    #expect(try run.isSame(as: EquivalenceTests.run(dropout: dropout, on: gpu)))
    try EquivalenceTests.expectClose(run, EquivalenceTests.run(dropout: dropout), tolerance: 1e-5, mean: 2e-6)
  }

  @Test(arguments: [nil, 0.3]) func checkpointingChangesNoBit(_ dropout: Double?) throws {
    let gpu = try Self.gpu()
    let kept = try EquivalenceTests.run(dropout: dropout, steps: 3, on: gpu)
    #expect(try kept.isSame(as: EquivalenceTests.run(dropout: dropout, steps: 3, activationBudget: 0, on: gpu)))
  }

  @Test(arguments: EquivalenceTests.methods) func sharedPrefixesChangeNothing(_ dropout: Double?) throws {
    let gpu = try Self.gpu()
    let set = try TinyModel.rows(beginning: (0..<30).map { Int32(5 + $0 * 13 % 200) })
    let shared = try EquivalenceTests.run(dropout: dropout, batch: 8, steps: 3, set: set, on: gpu)
    let apart = try EquivalenceTests.run(dropout: dropout, batch: 1, accumulation: 8, steps: 3, set: set, on: gpu)
    EquivalenceTests.expectClose(shared, apart, tolerance: 2e-6, mean: 1e-6)
  }

  @Test func packingChangesNoLoss() throws {
    let gpu = try Self.gpu()
    let rows = try TinyModel.rows()
    let packs = try TinyModel.rows(packing: .bfd, length: 64)
    let apart = try EquivalenceTests.run(batch: rows.items.count, steps: 2, set: rows, on: gpu)
    let packed = try EquivalenceTests.run(batch: packs.items.count, steps: 2, set: packs, on: gpu)
    EquivalenceTests.expectClose(apart, packed, tolerance: 2e-6, mean: 1e-6)
  }

  @Test(arguments: [OptimizerConfiguration.Kind.adamWTorch, .adamW8Bit, .pagedLion8Bit, .adafactor, .sgd])
  func resumedIsUninterrupted(_ optimizer: OptimizerConfiguration.Kind) throws {
    try ResumeTests.checkResumed(optimizer == .adamWTorch ? 0.2 : nil, 4, optimizer, on: Self.gpu())
  }

  /// A run that was started on one device is resumed on another.
  @Test func checkpointsMoveBetweenDevices() throws {
    let folder = try scratchFolder("devices")
    defer { try? FileManager.default.removeItem(at: folder) }
    let gpu = try Self.gpu()
    func losses(_ backends: [any Backend], _ name: String) throws -> [Double] {
      let output = folder.appendingPathComponent(name)
      let first = try ResumeTests.trainer(output, dropout: 0.2, on: backends[0])
      first.callbacks = [Kill(after: 5)]
      try first.train()
      let second = try ResumeTests.trainer(output, dropout: 0.2, on: backends[1])
      try second.resume(from: output.appendingPathComponent("checkpoint-4"))
      try second.train()
      return second.state.logHistory.compactMap { $0["loss"]?.double }
    }
    let cpu = try losses([CPUBackend.shared, CPUBackend.shared], "cpu")
    #expect(cpu.count == 5)
    for (name, order) in [("to-gpu", [CPUBackend.shared, gpu]), ("to-cpu", [gpu, CPUBackend.shared])]
      as [(String, [any Backend])]
    {
      for (a, b) in zip(try losses(order, name), cpu) { #expect(relativeError(a, b) < 1e-5, "\(name)") }
    }
  }

  /// The host waits for the device twice per step: for the gradient norm, and for the losses.
  @Test(arguments: [(nil, 1), (0.3, 4)] as [(Double?, Int)]) func aStepWaitsTwice(_ dropout: Double?, _ batches: Int)
    throws
  {
    let gpu = try VulkanBackend(try #require(TestGPU.information))
    let counter = WaitCounter(gpu)
    let trainer = try TinyTrainer.trainer(rows: 0..<16, dropout: dropout, callbacks: [counter], on: gpu) {
      $0.trainBatchSize = 2
      $0.gradientAccumulationSteps = batches
      $0.maxSteps = 3
      $0.saveStrategy = .no
    }
    try trainer.train()
    #expect(counter.waits.count == 3)
    for (before, after) in zip(counter.waits, counter.waits.dropFirst()) { #expect(after - before <= 2) }
  }

  /// Mixtures of experts, with updates on experts and with every weight trained.
  @Test(arguments: ["qwen3_moe", "gpt_oss", "granitemoe"], [true, false])
  func aStepOfExpertsWaitsTwice(_ name: String, hasAdapter: Bool) throws {
    let gpu = try VulkanBackend(try #require(TestGPU.information))
    let counter = WaitCounter(gpu)
    let model = try TinyModel.model(name, inFloat32: !hasAdapter, on: gpu)
    let trainer = try Trainer(
      model, adapter: hasAdapter ? RunPlanTests.adapter(on: model) : nil,
      configuration: TinyTrainer.arguments(batch: 2, steps: 3), trainingSet: TinyModel.rows(0..<16),
      callbacks: [counter])
    try trainer.train()
    #expect(counter.waits.count == 3)
    for (before, after) in zip(counter.waits, counter.waits.dropFirst()) { #expect(after - before <= 2) }
  }

  /// Runs that share a device compute the same bits as each alone.
  @Test func runsShareADevice() throws {
    let gpu = try Self.gpu()
    let seeds = [1, 2, 3]
    let alone = try seeds.map { try EquivalenceTests.run(dropout: 0.3, batch: 4, steps: 3, seed: $0, on: gpu) }
    let same = Mutex<[Int: Bool]>([:])
    let group = DispatchGroup()
    for (seed, expected) in zip(seeds, alone) {
      group.enter()
      Thread {
        let run = try? EquivalenceTests.run(dropout: 0.3, batch: 4, steps: 3, seed: seed, on: gpu)
        same.withLock { $0[seed] = run?.isSame(as: expected) }
        group.leave()
      }.start()
    }
    group.wait()
    #expect(same.withLock { $0 } == [1: true, 2: true, 3: true])
  }

  enum Fault: CaseIterable {
    case lost, lostWhileSaving, outOfMemory

    /// Parts of the error that ends the run.
    var words: [String] {
      switch self {
      case .lost: ["was lost", "resume from the last checkpoint"]
      case .lostWhileSaving: ["checkpoint-8 could not be saved", "was lost", "checkpoint-4 is complete"]
      case .outOfMemory: ["is out of memory", "per_device_train_batch_size", "gradient_checkpointing"]
      }
    }
  }

  /// A fault ends the run with an error, and the last checkpoint is intact.
  @Test(arguments: Fault.allCases) func aFaultLeavesTheCheckpoint(_ fault: Fault) throws {
    let folder = try scratchFolder("fault")
    defer { try? FileManager.default.removeItem(at: folder) }
    let gpu = try VulkanBackend(try #require(TestGPU.information))
    let trainer = try ResumeTests.trainer(folder, dropout: 0, on: gpu)
    trainer.callbacks = [Injection(fault, into: gpu)]
    let message = TinyTrainer.message { try trainer.train() }
    for words in fault.words { #expect(message.contains(words), "\(message)") }
    #expect(!message.contains("\n"))
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["checkpoint-4"])
    let second = try ResumeTests.trainer(folder, dropout: 0, on: Self.gpu())
    try second.resume(from: folder.appendingPathComponent("checkpoint-4"))
    try second.train()
    #expect(second.state.globalStep == 13)
  }

  /// A device that is too small for the run.
  @Test func aBatchThatDoesNotFitIsReported() throws {
    let gpu = try VulkanBackend(try #require(TestGPU.information))
    let trainer = try TinyTrainer.trainer(dropout: 0, on: gpu) { $0.trainBatchSize = 40 }
    gpu.limitMemory(to: gpu.memoryStatistics.inUse)
    let message = TinyTrainer.message { try trainer.train() }
    #expect(message.contains("is out of memory") && message.contains("per_device_train_batch_size"), "\(message)")
  }

  private final class Injection: TrainerCallback {
    private let fault: Fault
    private let gpu: VulkanBackend

    init(_ fault: Fault, into gpu: VulkanBackend) {
      self.fault = fault
      self.gpu = gpu
    }

    func shouldStop(_ state: TrainerState) -> Bool {
      switch (fault, state.globalStep) {
      case (.lost, 6), (.lostWhileSaving, 8): gpu.simulateDeviceLoss()
      case (.outOfMemory, 6): gpu.simulateOutOfMemory()
      default: break
      }
      return false
    }
  }

  /// Counts waits at the end of each step.
  private final class WaitCounter: TrainerCallback {
    private let gpu: VulkanBackend
    private(set) var waits: [Int] = []

    init(_ gpu: VulkanBackend) { self.gpu = gpu }

    func stepEnded(_ report: StepReport, _ state: TrainerState) { waits.append(gpu.counts.waits) }
  }
}
