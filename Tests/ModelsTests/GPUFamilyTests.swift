import Diagnostics
import Foundation
import Models
import OrderedJSON
import Tensors
import TestSupport
import Testing

/// Every family on a GPU, within the CPU's tolerances.
@Suite(.enabled(if: TestGPU.isExpected)) struct GPUFamilyTests {
  static let names = FamilyTests.names
  static let ggufNames = FamilyTests.ggufNames

  /// Weights with scales apart, whose goldens the CPU's tests compare with.
  @Test(arguments: [
    "mlx/llama_4bit", "mlx/qwen3_8bit", "mlx/qwen3_5_4bit", "mlx/llama_mxfp4", "mlx/qwen3_moe_4bit",
    "mlx/granitemoe_4bit", "quantization/llama_fp8", "quantization/gpt_oss_mxfp4",
    "mlx/gpt_oss_mxfp4",
  ])
  func logitsOfStoredFormatsEqualTheCPUs(_ path: String) throws {
    let files = try ModelFiles(opening: Goldens.folder.appendingPathComponent(path))
    let ids: [Int32] = [5, 9, 2, 7, 7, 1, 30]
    let found = try AdapterTests.logits(Transformer(files, on: Self.gpu()), ids)
    #expect(relativeError(found, try AdapterTests.logits(Transformer(files), ids)) < 1e-5)
  }

  private static func gpu() throws -> VulkanBackend { try #require(TestGPU.backend) }

  @Test(arguments: names) func logitsEqualTheReference(_ name: String) throws {
    try FamilyTests.checkLogits(
      FamilyTests.transformer(name, on: Self.gpu()), Goldens.json("models/\(name)/golden.json"), tolerance: 1e-5)
  }

  @Test(arguments: ggufNames) func logitsFromGGUFEqualTheReference(_ name: String) throws {
    try FamilyTests.checkLogits(
      FamilyTests.transformer(name, gguf: true, on: Self.gpu()), Goldens.json("models/\(name)/golden.json"),
      tolerance: 1e-5)
  }

  @Test(arguments: names) func gradientsEqualTheReference(_ name: String) throws {
    try FamilyTests.checkGradients(name, checkpointed: false, on: Self.gpu())
  }

  /// A layer whose weight has its columns in an order of its own.
  @Test func columnsInTheFilesOrderMeanTheSame() throws {
    let gpu = try Self.gpu()
    try Qwen35GGUFTests.withBlocks { file, folder in
      let (read, written) = (try Qwen35GGUFTests.model(file, on: gpu), try Qwen35GGUFTests.model(folder))
      #expect(relativeError(Qwen35GGUFTests.logits(read), Qwen35GGUFTests.logits(written)) < 1e-5)
      let again = file.deletingLastPathComponent().appendingPathComponent("again")
      try FileManager.default.createDirectory(at: again, withIntermediateDirectories: true)
      try read.write(to: again, type: .float32)
      let name = "model.safetensors"
      #expect(
        try Data(contentsOf: again.appendingPathComponent(name))
          == Data(contentsOf: folder.appendingPathComponent(name)))
    }
  }

  /// Mixtures of experts, whose layers choose the same experts when they are recomputed.
  @Test(arguments: ["qwen3_moe", "gpt_oss", "granitemoe"]) func checkpointedGradientsEqualTheReference(_ name: String)
    throws
  {
    try FamilyTests.checkGradients(name, checkpointed: true, on: Self.gpu())
  }

  /// LoRA on experts.
  @Test(arguments: AdapterTests.expertNames) func gradientsOfExpertsEqualPEFT(_ name: String) throws {
    try ExpertAdapterTests.checkGradients(name, on: Self.gpu())
  }

  /// In the middle of a batch the host doesn't wait for the device, whatever the family.
  @Test(arguments: ["gemma4", "lfm3", "qwen3_5", "gpt_oss", "qwen3_moe", "granitemoe"])
  func nothingWaitsInABatch(_ name: String) throws {
    let gpu = try VulkanBackend(try #require(TestGPU.information))
    let transformer = try FamilyTests.transformer(name, inFloat32: true, on: gpu)
    for parameter in transformer.parameters { parameter.isTrainable = true }
    let batch = TokenBatch([[5, 6, 7, 8, 9, 10, 11], [12, 13]])
    let before = gpu.counts.waits
    let tape = Tape(on: gpu, isRecording: true)
    _ = tape.linearCrossEntropy(
      transformer.hiddenStates(batch, on: tape), head: transformer.head, targets: batch.targets, gradientScale: 1,
      softcap: transformer.configuration.logitSoftcap)
    tape.backward()
    #expect(gpu.counts.waits == before)
    try gpu.finish()
  }

  /// The prompt and each further token are waited for once.
  @Test(arguments: ["llama", "gpt_oss", "qwen3_moe", "granitemoe"]) func aTokenWaitsOnce(_ name: String) throws {
    let gpu = try VulkanBackend(try #require(TestGPU.information))
    let transformer = try FamilyTests.transformer(name, on: gpu)
    let generator = TokenGenerator(transformer, prompt: [5, 6, 7], maxNewTokens: 4, stopTokens: [])
    for _ in 0..<4 {
      let before = gpu.counts.waits
      #expect(generator.next() != nil && gpu.counts.waits - before == 1)
    }
  }

  @Test(arguments: names) func greedyTokensEqualTheReference(_ name: String) throws {
    let greedy = try #require(Goldens.json("models/\(name)/golden.json")["greedy"])
    let prompt = try #require(greedy["prompt"]?.ids)
    let expected = try #require(greedy["ids"]?.ids)
    let transformer = try FamilyTests.transformer(name, on: Self.gpu())
    #expect(GenerationTests.greedy(transformer, prompt, count: expected.count) == expected)
  }

  /// The device finds the most likely tokens itself; sampling then is what it is with all logits.
  @Test(arguments: [(0, 0), (1, 5), (0.7, 1), (3, 40)] as [(Float, Int)])
  func samplingReadsWhatItNeeds(_ temperature: Float, _ topK: Int) throws {
    let gpu = try Self.gpu()
    var configuration = SamplingConfiguration()
    (configuration.temperature, configuration.topK, configuration.topP) = (temperature, topK, 0.95)
    var (near, far) = (Sampler(configuration, prompt: []), Sampler(configuration, prompt: []))
    var state: UInt64 = 7
    for round in 0..<30 {
      let logits = (0..<300).map { _ -> Float in
        state = state &* 6_364_136_223_846_793_005 &+ 1
        // Every third round has many equal logits.
        return round % 3 == 0 ? Float(state >> 61) : Float(state >> 40) / Float(1 << 21)
      }
      #expect(near.sample(gpu.tensor(logits, [1, 300]), on: gpu) == far.sample(logits))
    }
  }

  /// A device that fails ends a generation, without a token that it did not compute.
  @Test func aLostDeviceEndsTheGeneration() throws {
    let gpu = try VulkanBackend(try #require(TestGPU.information))
    let transformer = try FamilyTests.transformer("llama", on: gpu)
    let generator = TokenGenerator(transformer, prompt: [5, 6, 7], maxNewTokens: 5, stopTokens: [])
    #expect(generator.next() != nil)
    gpu.simulateDeviceLoss()
    #expect(generator.next() == nil && generator.next() == nil)
    #expect(generator.generation.ids.count == 1)
    #expect(throws: SwiftletError.self) { try gpu.check() }
  }
}
