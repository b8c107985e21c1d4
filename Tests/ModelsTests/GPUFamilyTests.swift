import Models
import OrderedJSON
import Tensors
import TestSupport
import Testing

/// Every family on a GPU, within the CPU's tolerances.
@Suite(.enabled(if: TestGPU.isExpected)) struct GPUFamilyTests {
  private static func gpu() throws -> VulkanBackend { try #require(TestGPU.backend) }

  @Test(arguments: FamilyTests.names) func logitsEqualTheReference(_ name: String) throws {
    try FamilyTests.checkLogits(
      FamilyTests.transformer(name, on: Self.gpu()), Goldens.json("models/\(name)/golden.json"), tolerance: 1e-5)
  }

  @Test(arguments: FamilyTests.ggufNames) func logitsFromGGUFEqualTheReference(_ name: String) throws {
    try FamilyTests.checkLogits(
      FamilyTests.transformer(name, gguf: true, on: Self.gpu()), Goldens.json("models/\(name)/golden.json"),
      tolerance: 1e-5)
  }

  @Test(arguments: FamilyTests.names) func gradientsEqualTheReference(_ name: String) throws {
    try FamilyTests.checkGradients(name, checkpointed: false, on: Self.gpu())
  }

  @Test(arguments: FamilyTests.names) func greedyTokensEqualTheReference(_ name: String) throws {
    let greedy = try #require(Goldens.json("models/\(name)/golden.json")["greedy"])
    let prompt = try #require(greedy["prompt"]?.ids)
    let expected = try #require(greedy["ids"]?.ids)
    let transformer = try FamilyTests.transformer(name, on: Self.gpu())
    #expect(GenerationTests.greedy(transformer, prompt, count: expected.count) == expected)
  }
}
