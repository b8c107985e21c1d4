import Models
import TestSupport
import Testing
import Training

/// Groups of completions, whose prompt the model reads once.
@Suite struct CompletionSamplerTests {
  private static let prompts: [[Int32]] = [[5, 9, 21, 40, 7], [33], [8, 8, 3]]

  private static func sample(_ family: String, topK: Int = 0, number: Int = 0) throws -> (CausalLM, [TokenCompletion]) {
    let model = try TinyModel.model(family)
    var sampling = SamplingConfiguration()
    (sampling.temperature, sampling.topK, sampling.seed) = (1, topK, 42)
    let sampler = CompletionSampler(model: model, sampling: sampling, maxLength: 12)
    return (model, try sampler.completions(of: prompts, count: 20, number: number))
  }

  /// With a single candidate, sampling is greedy decoding. 60 completions take turns in a batch.
  @Test(arguments: ["llama", "qwen3_5", "gemma4"]) func equalsGreedyDecoding(_ family: String) throws {
    let (model, found) = try Self.sample(family, topK: 1)
    #expect(found.count == 60)
    for (index, completion) in found.enumerated() {
      let greedy = model.transformer.generate(
        Self.prompts[index / 20], maxNewTokens: 12, stopTokens: model.stopTokens)
      #expect(completion.ids == greedy.ids + (greedy.stopToken.map { [$0] } ?? []), "\(index)")
      #expect(completion.isTruncated == (greedy.finishReason == .length))
    }
  }

  @Test func numbersDecideWhatIsDrawn() throws {
    let first = try Self.sample("llama").1
    #expect(try Self.sample("llama").1 == first)
    #expect(try Self.sample("llama", number: 1).1 != first)
    #expect(Set(first).count > 50)
  }
}
