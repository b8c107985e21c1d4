import Diagnostics
import Foundation
import Models
import OrderedJSON
import Tensors
import TestSupport
import Testing
import Training

/// Training on a GPU: the reference's figures within the CPU's tolerances, and the same bits again.
@Suite(.enabled(if: TestGPU.isAvailable)) struct GPUTrainingTests {
  private static func gpu() throws -> VulkanBackend { try #require(TestGPU.backend) }

  @Test(arguments: TrainingGoldenTests.runs) func runEqualsTRL(_ name: String) throws {
    try TrainingGoldenTests.checkRun(name, on: Self.gpu())
  }

  /// Losses and norms as close as the CPU's. Where a gradient is near zero, AdamW's step is all rounding, which is another
  /// one here.
  @Test func trainingOverFourBitsEqualsTRL() throws {
    try TrainingGoldenTests.checkFourBits(on: Self.gpu(), tolerance: 2e-5)
  }

  /// Losses and norms of the CPU's run, and the same bits twice.
  @Test(arguments: [nil, 0, 0.3]) func runEqualsTheCPUs(_ dropout: Double?) throws {
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

  /// What was trained on one device goes on on the other.
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

  /// The processor waits for the device twice a step: for the gradient norm, and for the losses.
  @Test(arguments: [(nil, 1), (0.3, 4)] as [(Double?, Int)]) func twoWaitsAStep(_ dropout: Double?, _ batches: Int)
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

  /// A lost device ends the run with one sentence, and the last checkpoint is whole.
  @Test func aLostDeviceLeavesTheCheckpoint() throws {
    let folder = try scratchFolder("lost")
    defer { try? FileManager.default.removeItem(at: folder) }
    let gpu = try VulkanBackend(try #require(TestGPU.information))
    let trainer = try ResumeTests.trainer(folder, dropout: 0, on: gpu)
    trainer.callbacks = [Loss(of: gpu, after: 6)]
    do {
      try trainer.train()
      Issue.record("the device was lost")
    } catch {
      #expect("\(error)".contains("was lost") && "\(error)".contains("resume"))
    }
    #expect(TinyTrainer.names(folder) == ["checkpoint-4"])
    let second = try ResumeTests.trainer(folder, dropout: 0, on: Self.gpu())
    try second.resume(from: folder.appendingPathComponent("checkpoint-4"))
    try second.train()
    #expect(second.state.globalStep == 13)
  }

  /// Loses the device after a step.
  private final class Loss: TrainerCallback {
    private let gpu: VulkanBackend
    private let step: Int

    init(of gpu: VulkanBackend, after step: Int) {
      self.gpu = gpu
      self.step = step
    }

    func shouldStop(_ state: TrainerState) -> Bool {
      if state.globalStep == step { gpu.simulateDeviceLoss() }
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
