import Datasets
import TestSupport
import Training
import Foundation
import Models
import Recipes
import Tensors
import Testing

/// The plan of a run compared with what it really needs.
@Suite struct RunPlanTests {
  static let megabyte = 1 << 20

  static func machine(megabytes: Int) -> SystemMemory {
    SystemMemory(total: megabytes * megabyte, available: megabytes * megabyte, resident: 0)
  }

  static func adapter(on model: CausalLM) throws -> Adapter {
    var configuration = LoRAConfiguration()
    configuration.rank = 8
    configuration.targetModules = .allLinear
    if !model.transformer.expertParameters.isEmpty {
      configuration.targetParameters = ["experts.gate_up_proj", "experts.down_proj"]
    }
    return try Adapter(configuration, on: model.transformer, seed: 1)
  }

  /// The tape keeps what `ActivationMemory` predicts, apart from rounding buffer sizes to eight classes per power of
  /// two.
  @Test(
    arguments: [
      "llama", "qwen2", "qwen3", "phi3", "gemma3_text", "gemma3_vision", "granite", "phi4_mini", "olmo2", "gemma2",
      "lfm2", "qwen3_5", "qwen3_moe", "qwen3_moe_mixed", "gemma4", "gemma4_keys", "gpt_oss", "granitemoe", "lfm3",
    ], [true, false])
  func activationsAreCounted(_ name: String, trainsWeights: Bool) throws {
    let backend = CPUBackend(threads: 1)
    let model = try TinyModel.model(name, inFloat32: trainsWeights, on: backend)
    if trainsWeights {
      for parameter in model.transformer.parameters { parameter.isTrainable = true }
    } else {
      _ = try Self.adapter(on: model)
    }
    let planned = ActivationMemory(model.transformer)
    let tokens = TokenBatch((0..<12).map { row in (0..<50).map { Int32(3 + ($0 + row) % 200) } })
    func keptBytes(_ checkpointed: Int) -> (kept: Int, before: Int) {
      let tape = Tape(on: backend, isRecording: true)
      let before = backend.memoryStatistics.inUse
      let hidden = model.transformer.hiddenStates(tokens, on: tape, checkpointed: Set(0..<checkpointed))
      return withExtendedLifetime(hidden) { (backend.memoryStatistics.inUse - before, before) }
    }
    let edges = planned.edges(tokens: 600)
    for checkpointed in [0, 1] {
      let kept = keptBytes(checkpointed).kept
      let expected = planned.kept(tokens: 600, checkpointed: checkpointed) + edges
      #expect(Double(kept) < 1.13 * Double(expected), "\(kept) bytes kept, \(expected) planned")
      #expect(Double(kept) > 0.85 * Double(expected), "\(kept) bytes kept, \(expected) planned")
    }
  }

  /// The peak of forward and backward pass, with an adapter and, where there are routers, their loss.
  @Test(arguments: ["llama", "qwen3_moe", "gpt_oss", "granitemoe", "qwen3_5"], [false, true])
  func peaksAreCounted(_ name: String, checkpointed: Bool) throws {
    let backend = CPUBackend(threads: 1)
    let model = try TinyModel.model(name, on: backend)
    _ = try Self.adapter(on: model)
    let batch = TokenBatch((0..<4).map { row in (0..<300).map { Int32(3 + ($0 + row) % 200) } })
    let layers = checkpointed ? model.transformer.configuration.layers.count : 0
    let before = backend.memoryStatistics.inUse
    let tape = Tape(on: backend, isRecording: true)
    let loss = RouterLoss(counts: batch.sequenceCounts, gradientScale: 1, on: backend)
    _ = tape.linearCrossEntropy(
      model.transformer.hiddenStates(batch, on: tape, checkpointed: Set(0..<layers), routerLoss: loss),
      head: model.transformer.head, targets: batch.targets, gradientScale: 1,
      softcap: model.transformer.configuration.logitSoftcap)
    tape.backward()
    var size = Workload.Size()
    (size.tokens, size.sequences, size.squares) = (1200, 4, 4 * 300 * 300)
    let planned = ActivationMemory(model.transformer).peak(size, targets: 1196, checkpointed: layers)
    let needed = backend.memoryStatistics.peak - before
    #expect((0.8..<1.1).contains(Double(needed) / Double(planned)), "\(needed) bytes needed, \(planned) planned")
  }

  /// Linear attention computes the states of long sequences again, which takes more memory than those of short ones.
  @Test func statesOfLinearAttentionAreCounted() throws {
    let transformer = try TinyModel.model("qwen3_5").transformer
    let shapes = transformer.configuration.layers.compactMap { layer -> DeltaShape? in
      guard case .gatedDelta(let shape, _) = layer.mixer else { return nil }
      return shape
    }
    let shape = try #require(shapes.first)
    let (peaks, states) = (
      [1, 10].map { sequences -> Int in
        var size = Workload.Size()
        (size.tokens, size.sequences, size.squares) = (6400, sequences, 6400 * 6400 / Double(sequences))
        return ActivationMemory(transformer).peak(size, targets: 0, checkpointed: 0)
      },
      [1, 10].map { sequences in
        transformer.backend.deltaRuleBackwardMemory(sequences: sequences, rows: 6400 / sequences, shape: shape)
      }
    )
    #expect(states[0] != states[1] && peaks[0] - peaks[1] == states[0] - states[1])
  }

  @Test func workloadIsCounted() throws {
    let set = try TinyModel.rows()
    var arguments = TrainingConfiguration()
    arguments.trainBatchSize = 4
    arguments.gradientAccumulationSteps = 2
    arguments.epochs = 2
    arguments.samplingStrategy = .sequential
    let workload = Workload(Workload.itemSizes(set), arguments)
    let order = BatchOrder(itemCount: set.items.count, arguments)
    let batches = order.steps(epoch: 0).flatMap { $0 }.map { set.batch($0) }
    #expect(workload.steps == 2 * order.stepsPerEpoch)
    #expect(workload.total.tokens == 2 * set.tokenCount)
    #expect(workload.largest.tokens == batches.map(\.ids.count).max())
    #expect(workload.mostTargets == batches.map(\.targetCount).max())
    #expect(workload.total.targets == 2 * batches.reduce(0) { $0 + $1.targetCount })
    let cut = Workload(Workload.itemSizes(set, maxLength: 3), arguments)
    #expect(cut.largest.tokens <= 12 && cut.steps == workload.steps)
  }

  /// A document without tokens doesn't prevent the others from sharing a prefix.
  @Test func emptyDocumentsShareNothing() {
    var set = TrainingSet()
    #expect(set.sharedPrefix() == 0)
    for ids: [Int32] in [[], [5, 6, 7, 8], [], [5, 6, 9]] {
      let labels = ids.indices.map { $0 < 2 ? TokenBatch.ignoredLabel : ids[$0] }
      set.append(Example(ids: ids, labels: labels, row: set.documentCount))
    }
    #expect(set.sharedPrefix() == 1)
    set.append(Example(ids: [5], labels: [5], row: 4))
    #expect(set.sharedPrefix() == 0)
  }

  /// The counted tokens are those of the trainer's batches.
  @Test func sharedPrefixesAreCountedOnce() throws {
    #expect(try TinyModel.rows().sharedPrefix() == 0)
    let set = try TinyModel.rows(beginning: [7, 8, 9, 10, 11, 12])
    var arguments = TrainingConfiguration()
    arguments.trainBatchSize = 4
    arguments.epochs = 1
    arguments.samplingStrategy = .sequential
    let workload = Workload(Workload.itemSizes(set), arguments, shared: set.sharedPrefix())
    let order = BatchOrder(itemCount: set.items.count, arguments)
    let batches = order.steps(epoch: 0).flatMap { $0 }.map { set.batch($0) }
    let shared = batches.map { $0.sharingPrefix() }
    #expect(workload.tokens == set.tokenCount)
    #expect(workload.total.tokens == set.tokenCount - 5 * (set.items.count - batches.count))
    #expect(workload.total.tokens == shared.reduce(0) { $0 + $1.ids.count })
    #expect(workload.largest.tokens == shared.map(\.ids.count).max())
    for (batch, shared) in zip(batches, shared) {
      #expect(shared.sequenceStarts.first == 5 && shared.targets.count == shared.ids.count)
      #expect(
        shared.targets.filter { $0 != TokenBatch.ignoredLabel }
          == batch.targets.filter { $0 != TokenBatch.ignoredLabel })
    }
  }

  @Test func smallerBatchesKeepTheRowsOfAStep() {
    func path(_ size: Int) -> [[Int]] {
      var arguments = TrainingConfiguration()
      arguments.trainBatchSize = size
      arguments.gradientAccumulationSteps = 3
      var steps: [[Int]] = []
      while arguments.reduceBatch() { steps.append([arguments.trainBatchSize, arguments.gradientAccumulationSteps]) }
      return steps
    }
    #expect(path(8) == [[4, 6], [2, 12], [1, 24]])
    #expect(path(6) == [[3, 6], [1, 18]])
    #expect(path(15) == [[5, 9], [1, 45]])
    #expect(path(1) == [])
  }

  /// With less and less memory, first layers are checkpointed, then batches get smaller, then nothing helps.
  @Test func alternativesThatFitAreFound() throws {
    let model = try TinyModel.model(inFloat32: true)
    let set = try TinyModel.rows()
    var arguments = TrainingConfiguration()
    arguments.trainBatchSize = 16
    func estimator(_ megabytes: Double) -> RunEstimator {
      let bytes = Int(megabytes * Double(Self.megabyte))
      return RunEstimator(
        model, adapter: nil, trainingSet: set,
        system: SystemMemory(total: bytes, available: bytes, resident: 0))
    }
    let ample = try estimator(4096).plan(arguments, calibrated: false)
    #expect(ample.fits && ample.remedy == nil && ample.memory.checkpointedLayers == 0)
    #expect(ample.verdict.hasPrefix("The run fits"))
    #expect(try estimator(4096).fittingBatch(arguments).trainBatchSize == 16)

    let total = Double(ample.memory.total) / Double(Self.megabyte)
    let tight = try estimator(total * 0.97).plan(arguments, calibrated: false)
    #expect(tight.memory.checkpointedLayers > 0)
    arguments.checkpointing = .never
    let kept = try estimator(total * 0.9).plan(arguments, calibrated: false)
    #expect(!kept.fits && kept.memory.checkpointedLayers == 0)
    guard case .batch? = kept.remedy?.change else {
      Issue.record("\(String(describing: kept.remedy))")
      return
    }
    let fitting = try estimator(total * 0.9).fittingBatch(arguments)
    #expect(fitting.trainBatchSize < 16 && fitting.trainBatchSize * fitting.gradientAccumulationSteps == 16)

    let hopeless = try estimator(0.1).plan(arguments, calibrated: false)
    #expect(!hopeless.fits && hopeless.remedy == nil && hopeless.verdict.contains("No single change"))
    #expect(try estimator(0.1).fittingBatch(arguments).trainBatchSize == 1)
  }

  /// Validation rows count if their batch needs more memory than training.
  @Test func evaluationIsCounted() throws {
    let model = try TinyModel.model()
    let adapter = try Self.adapter(on: model)
    func estimate(trainBatch: Int, evalBatch: Int) throws -> MemoryEstimate {
      var arguments = TrainingConfiguration()
      (arguments.trainBatchSize, arguments.evalBatchSize) = (trainBatch, evalBatch)
      return try RunEstimator(
        model, adapter: adapter, trainingSet: TinyModel.rows(0..<20), validationSet: TinyModel.rows(20..<40),
        system: Self.machine(megabytes: 4096)
      ).plan(arguments, calibrated: false).memory
    }
    #expect(try estimate(trainBatch: 16, evalBatch: 1).evaluation == 0)
    let (few, many) = (try estimate(trainBatch: 1, evalBatch: 10), try estimate(trainBatch: 1, evalBatch: 20))
    #expect(few.evaluation > 0 && many.evaluation > few.evaluation)
    #expect(many.parts.reduce(0) { $0 + $1.bytes } == many.total)
  }

  /// Gemma 4's table of per-layer embeddings is most of the file, but only the rows of the tokens are read.
  @Test func tablesAreCountedWhereTheyAreRead() throws {
    let rows = 262_144
    let table = rows * 35 * 256 * 2
    func bytes(_ read: Int) -> Int { RunEstimator.residentBytes(ofTable: table, rows: rows, read: read) }
    #expect(bytes(0) == 0 && bytes(1000) == 1000 << 16 && bytes(10 * rows) == table)
    #expect(RunEstimator.residentBytes(ofTable: 1000, rows: 10, read: 3) == 1000)
    let names = try TinyModel.model("gemma4").transformer.lookupTables.map(\.name)
    #expect(names == ["model.embed_tokens_per_layer.weight"], "\(names)")
    #expect(try TinyModel.model("phi3").transformer.lookupTables.map(\.name) == ["model.embed_tokens.weight"])
  }

  #if os(Linux)
    /// A huge page around each row would take 30 times the planned memory.
    @Test(.enabled(if: FileManager.default.fileExists(atPath: "/sys/kernel/mm/transparent_hugepage")))
    func tablesAreNotMappedInHugePages() throws {
      let table = try #require(TinyModel.model("phi3").transformer.lookupTables.first).value
      try #require(table.storage.isMappedFile)
      let address = UInt(bitPattern: table.storage.base + table.byteOffset)
      let file = try #require(FileHandle(forReadingAtPath: "/proc/self/smaps"))
      var text = Data()
      // Each read ends at a page.
      while let data = try file.read(upToCount: 1 << 16), !data.isEmpty { text += data }
      var (isInside, flags) = (false, "")
      for line in String(decoding: text, as: UTF8.self).split(separator: "\n") {
        let bounds = line.prefix { $0 != " " }.split(separator: "-").compactMap { UInt($0, radix: 16) }
        if bounds.count == 2 { isInside = bounds[0] <= address && address < bounds[1] }
        if isInside, line.hasPrefix("VmFlags:") { flags = String(line) }
      }
      #expect(flags.split(separator: " ").contains("nh"), "\(flags)")
    }
  #endif

  /// A head that scores whole sequences has no logits of tokens.
  @Test func noTargetsNeedNoLogits() throws {
    let planned = ActivationMemory(try TinyModel.model().transformer)
    #expect(planned.head(targets: 0) == 0)
    #expect(planned.head(targets: 1) > 0 && planned.head(targets: 2) == 2 * planned.head(targets: 1))
  }

  @Test func optimizersAreCounted() throws {
    let model = try TinyModel.model(inFloat32: true)
    let weights = model.transformer.parameters.reduce(0) { $0 + $1.value.count }
    func plan(_ optimizer: OptimizerConfiguration.Kind) throws -> MemoryEstimate {
      var arguments = TrainingConfiguration()
      arguments.optimizer.kind = optimizer
      return try RunEstimator(model, adapter: nil, trainingSet: TinyModel.rows(), system: Self.machine(megabytes: 4096))
        .plan(arguments, calibrated: false).memory
    }
    #expect(try plan(.adamWTorch).optimizer == 8 * weights)
    #expect(try plan(.lion).optimizer == 4 * weights)
    #expect(try plan(.sgd).optimizer == 0)
    let eight = try plan(.adamW8Bit).optimizer
    let embedding = model.transformer.embedding.value.count
    #expect((2 * weights + 6 * embedding..<4 * weights + 4 * embedding).contains(eight))
    let paged = try plan(.pagedAdamW32Bit)
    #expect(paged.needed == paged.total - 8 * weights)
  }

  @Test func ranksDivideTheStateAndTheWork() throws {
    let model = try TinyModel.model(inFloat32: true)
    let weights = model.transformer.parameters.reduce(0) { $0 + $1.value.count }
    var configuration = TrainingConfiguration()
    configuration.optimizer.kind = .adamWTorch
    configuration.trainBatchSize = 2
    let estimator = try RunEstimator(
      model, adapter: nil, trainingSet: TinyModel.rows(), system: Self.machine(megabytes: 4096))
    let network = Network(bitsPerSecond: 1e9)
    let alone = try estimator.plan(configuration, calibrated: true)
    let four = try estimator.plan(configuration, calibrated: true, ranks: 4, network: network)
    #expect(four.memory.optimizer == 2 * weights && alone.memory.optimizer == 8 * weights)
    #expect(four.memory.gradients == 4 * weights && four.memory.exchange == 4 * weights)
    #expect(4 * four.steps == alone.steps && four.tokens == alone.tokens)
    let exchange = try #require(four.exchange)
    #expect(exchange.bytes == 6 * weights && exchange.exposed <= exchange.seconds)
    #expect(try #require(four.efficiency) < 1 && alone.efficiency == nil)
    #expect(four.json["exchange"]?["bytes"]?.integer == exchange.bytes)
    // Adafactor needs whole matrices, and an adapter's state is not divided.
    configuration.optimizer.kind = .adafactor
    let whole = try estimator.plan(configuration, calibrated: false).memory.optimizer
    #expect(try estimator.plan(configuration, calibrated: false, ranks: 4).memory.optimizer > whole / 4)
  }

  /// A rule that keeps a copy of each weight and one number for it.
  private struct Averaging: UpdateRule {
    func state(for shape: [Int]) -> [StateTensor] {
      [StateTensor(name: "average", shape: shape), StateTensor(name: "count", shape: [1])]
    }

    func update(_ weight: Tensor, gradient: Tensor, state: [Tensor], _ step: UpdateStep, on backend: any Backend) {}
  }

  @Test func stateOfACustomRuleIsCounted() throws {
    let model = try TinyModel.model(inFloat32: true)
    let weights = model.transformer.parameters
    var configuration = TrainingConfiguration()
    configuration.optimizer.kind = .sgd
    let plan = try RunEstimator(
      model, adapter: nil, trainingSet: TinyModel.rows(), updateRule: Averaging(), system: Self.machine(megabytes: 4096)
    ).plan(configuration, calibrated: true)
    #expect(plan.memory.optimizer == weights.reduce(0) { $0 + 4 * $1.value.count } + 4 * weights.count)
    // 8-bit moments are no alternative to it.
    #expect(!plan.alternatives.contains { if case .optimizer = $0.change { true } else { false } })
  }

  /// Every figure is positive, and the JSON has everything that the command shows.
  @Test func calibratedPlan() throws {
    let model = try TinyModel.model()
    let adapter = try Self.adapter(on: model)
    var arguments = TrainingConfiguration()
    arguments.trainBatchSize = 4
    let plan = try RunEstimator(model, adapter: adapter, trainingSet: TinyModel.rows())
      .plan(arguments, calibrated: true)
    let time = try #require(plan.time)
    #expect(time.step > 0 && time.total >= time.step && time.operationsPerSecond > 0)
    let json = plan.json
    #expect(json["memory"]?["total"]?.integer == plan.memory.total)
    #expect(json["time"]?["step_s"]?.double == time.step)
    #expect(json["alternatives"]?.array?.count == plan.alternatives.count)
    #expect(plan.alternatives.contains { $0.change == .quantization && $0.changesResult })
    // Calibration leaves no gradients behind.
    #expect(adapter.parameters.allSatisfy { $0.gradient == nil })
  }
}
