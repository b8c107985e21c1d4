import Models
import OrderedJSON
import Tensors
import Testing

/// Greedy continuations against transformers' `generate`, for every family.
@Suite struct GenerationTests {
  static func greedy(_ transformer: Transformer, _ prompt: [Int32], count: Int) -> [Int32] {
    transformer.generate(prompt, maxNewTokens: count, stopTokens: []).ids
  }

  /// Computes every token from the whole sequence before it, without a cache.
  static func greedyWithoutCache(_ transformer: Transformer, _ prompt: [Int32], count: Int) -> [Int32] {
    var ids = prompt
    for _ in 0..<count {
      let tape = Tape(on: transformer.backend, isRecording: false)
      let hidden = transformer.hiddenStates(TokenBatch([ids]), on: tape).value
      let width = transformer.configuration.vocabularySize
      let last = Array(transformer.backend.floats(transformer.logits(hidden)).suffix(width))
      let best = last.indices.reduce(0) { last[$1] > last[$0] ? $1 : $0 }
      ids.append(Int32(best))
    }
    return Array(ids.dropFirst(prompt.count))
  }

  @Test(arguments: FamilyTests.names) func greedyEqualsTheReference(_ name: String) throws {
    let greedy = try #require(Goldens.json("models/\(name)/golden.json")["greedy"])
    let prompt = try #require(greedy["prompt"]?.ids)
    let expected = try #require(greedy["ids"]?.ids)
    #expect(expected.count == 32)
    let transformer = try FamilyTests.transformer(name)
    #expect(Self.greedy(transformer, prompt, count: expected.count) == expected)
    // They may differ (dynamic scaling doesn't change cached keys); then the golden has both.
    let whole = greedy["ids_without_cache"]?.ids ?? expected
    #expect(Self.greedyWithoutCache(transformer, prompt, count: expected.count) == whole)
  }

  @Test(arguments: FamilyTests.ggufNames) func greedyFromGGUFEqualsTheReference(_ name: String) throws {
    let greedy = try #require(Goldens.json("models/\(name)/golden.json")["greedy"])
    let prompt = try #require(greedy["prompt"]?.ids)
    let expected = try #require(greedy["ids"]?.ids)
    let transformer = try FamilyTests.transformer(name, gguf: true)
    #expect(Self.greedy(transformer, prompt, count: expected.count) == expected)
  }

  /// A conversation that continues on its cache gives the same answer as a new one with the same tokens.
  @Test(arguments: [
    "llama", "qwen3", "mistral", "gemma3_text", "lfm2", "qwen3_5", "gemma4", "gemma4_keys", "gpt_oss", "granitemoe",
    "lfm3",
  ])
  func cacheContinues(_ name: String)
    throws
  {
    let transformer = try FamilyTests.transformer(name)
    let prompt: [Int32] = [9, 30, 4, 77, 5]
    let cache = KeyValueCache(for: transformer)
    let first = transformer.generate(prompt, cache: cache, maxNewTokens: 6, stopTokens: [])
    // The last token was sampled, but has not been processed by the model.
    #expect(cache.count == prompt.count + first.ids.count - 1)
    let next: [Int32] = [first.ids.last ?? 0, 12, 13]
    let second = transformer.generate(next, cache: cache, maxNewTokens: 6, stopTokens: [])
    let whole = Self.greedy(transformer, prompt + first.ids.dropLast() + next, count: 6)
    #expect(second.ids == whole)
  }

  /// What a state has forgotten can't be brought back: the cache is emptied.
  @Test func recurrentCachesAreKeptOrEmptied() throws {
    let transformer = try FamilyTests.transformer("lfm2")
    let cache = KeyValueCache(for: transformer)
    _ = transformer.generate([9, 30, 4, 77, 5], cache: cache, maxNewTokens: 3, stopTokens: [])
    #expect(cache.truncate(to: 7) == 7 && cache.truncate(to: 9) == 7)
    #expect(cache.truncate(to: 6) == 0 && cache.count == 0)
    let again = transformer.generate([12, 13, 14], cache: cache, maxNewTokens: 6, stopTokens: [])
    #expect(again.ids == Self.greedy(transformer, [12, 13, 14], count: 6))
  }

  @Test func longPromptsAreProcessedInChunks() throws {
    let transformer = try FamilyTests.transformer("smollm3")
    let prompt = (0..<1200).map { Int32(3 + $0 * 37 % 250) }
    let fresh = KeyValueCache(for: transformer, capacity: 64)
    let generation = transformer.generate(prompt, cache: fresh, maxNewTokens: 3, stopTokens: [])
    // The model's context ends before the prompt does: one token, no more.
    #expect(generation.ids.count == 1)
    #expect(generation.finishReason == .length)
    let expected = Self.greedyWithoutCache(transformer, prompt, count: 1)
    #expect(generation.ids == expected)
  }

  @Test func readingALongPromptCanBeFollowedAndStopped() throws {
    let transformer = try FamilyTests.transformer("llama")
    let prompt = (0..<1100).map { Int32(3 + $0 % 50) }
    func chunks(of prompt: [Int32], until last: Int = .max) -> (read: [Int], ids: [Int32], cached: Int) {
      let cache = KeyValueCache(for: transformer, capacity: 2048)
      var read: [Int] = []
      let generation = transformer.generate(
        prompt, cache: cache, maxNewTokens: 1, stopTokens: [],
        reading: { done, total in
          read.append(done)
          return total == prompt.count && done < last
        })
      return (read, generation.ids, cache.count)
    }
    let whole = chunks(of: prompt)
    #expect(whole.read == [0, 512, 1024] && whole.cached == 1100)
    #expect(whole.ids == transformer.generate(prompt, maxNewTokens: 1, stopTokens: []).ids)
    let stopped = chunks(of: prompt, until: 512)
    #expect(stopped.read == [0, 512] && stopped.ids.isEmpty && stopped.cached == 512)
    #expect(chunks(of: Array(prompt.prefix(512))).read.isEmpty)
  }

  @Test func endsAtStopTokensAndLimits() throws {
    let transformer = try FamilyTests.transformer("llama")
    let golden = try #require(Goldens.json("models/llama/golden.json")["greedy"])
    let prompt = try #require(golden["prompt"]?.ids)
    let ids = try #require(golden["ids"]?.ids)
    let stopped = transformer.generate(prompt, maxNewTokens: 32, stopTokens: [ids[3]])
    #expect(stopped.ids == Array(ids.prefix(3)))
    #expect(stopped.finishReason == .stop)
    var seen: [Int32] = []
    let cut = transformer.generate(prompt, maxNewTokens: 32, stopTokens: []) { id in
      seen.append(id)
      return seen.count < 5
    }
    #expect(cut.ids == Array(ids.prefix(5)))
    #expect(seen == cut.ids)
    #expect(transformer.generate([], maxNewTokens: 4, stopTokens: []).ids.isEmpty)
    #expect(transformer.generate(prompt, maxNewTokens: 0, stopTokens: []).ids.isEmpty)
  }

  @Test func theSameSeedGeneratesTheSame() throws {
    let transformer = try FamilyTests.transformer("llama")
    var options = SamplingConfiguration()
    options.temperature = 1.2
    options.topP = 0.9
    func ids(_ seed: UInt64) -> [Int32] {
      options.seed = seed
      return transformer.generate([5, 6, 7], sampling: options, maxNewTokens: 20, stopTokens: []).ids
    }
    #expect(ids(3) == ids(3))
    #expect(ids(3) != ids(4))
  }
}
