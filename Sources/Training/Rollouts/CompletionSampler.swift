import Diagnostics
import Models

/// A completion as tokens.
package struct TokenCompletion: Sendable, Hashable {
  /// The tokens, with the stop token if there is one.
  package var ids: [Int32]
  /// Whether it reached the limit before a stop token.
  package var isTruncated: Bool

  package init(ids: [Int32], isTruncated: Bool) {
    self.ids = ids
    self.isTruncated = isTruncated
  }
}

/// Where the completions come from that a run learns from.
package protocol CompletionSource {
  /// `count` completions of each prompt, one prompt after the other.
  /// - Parameter number: how often completions were sampled in the run before; negative in evaluations. Completions of the
  ///   same model, prompts and number are the same.
  func completions(of prompts: [[Int32]], count: Int, number: Int) throws -> [TokenCompletion]
}

/// Samples completions from a model as it is.
package struct CompletionSampler: CompletionSource {
  private let model: CausalLM
  private let sampling: SamplingConfiguration
  private let maxLength: Int

  /// - Parameters:
  ///   - sampling: how tokens are sampled, with the seed of the run.
  ///   - maxLength: the most tokens of a completion.
  package init(model: CausalLM, sampling: SamplingConfiguration, maxLength: Int) {
    self.model = model
    self.sampling = sampling
    self.maxLength = maxLength
  }

  /// The most completions that advance in one pass, which bounds the memory of their caches.
  static let batchSize = 32

  package func completions(of prompts: [[Int32]], count: Int, number: Int) throws -> [TokenCompletion] {
    // Neighboring seeds would draw overlapping numbers.
    var random = RandomSource(seed: sampling.seed)
    random = RandomSource(seed: random.next() &+ UInt64(bitPattern: Int64(number)))
    random = RandomSource(seed: random.next())
    var groups = PromptGroups(prompts: prompts, count: count)
    var running: [(index: Int, tokens: TokenGenerator)] = []
    var found = [TokenCompletion](
      repeating: TokenCompletion(ids: [], isTruncated: true), count: prompts.count * count)
    while true {
      while running.count < Self.batchSize, let next = groups.next(model.transformer, room: maxLength) {
        running.append((next.index, generator(next.rest, next.cache, seed: random.next())))
      }
      if running.isEmpty { break }
      let progress = TokenGenerator.advance(running.map(\.tokens))
      try model.transformer.backend.check()
      for (generation, progress) in zip(running, progress) where progress == .ended {
        let result = generation.tokens.generation
        found[generation.index] = TokenCompletion(
          ids: result.ids + (result.stopToken.map { [$0] } ?? []), isTruncated: result.finishReason == .length)
      }
      running = zip(running, progress).filter { $1 != .ended }.map(\.0)
    }
    return found
  }

  private func generator(_ rest: [Int32], _ cache: KeyValueCache, seed: UInt64) -> TokenGenerator {
    var sampling = sampling
    sampling.seed = seed
    return TokenGenerator(
      model.transformer, prompt: rest, cache: cache, sampling: sampling, maxNewTokens: maxLength,
      stopTokens: model.stopTokens)
  }
}

/// The caches with which the completions of each prompt begin. A prompt is read once.
private struct PromptGroups {
  let prompts: [[Int32]]
  let count: Int
  private var started = 0
  /// The cache of the current prompt without its last token.
  private var cache: KeyValueCache?

  init(prompts: [[Int32]], count: Int) {
    (self.prompts, self.count) = (prompts, count)
  }

  /// The next completion's index, the tokens before it that its cache lacks, and the cache.
  mutating func next(
    _ transformer: Transformer, room: Int
  ) -> (index: Int, rest: [Int32], cache: KeyValueCache)? {
    guard started < prompts.count * count else { return nil }
    defer { started += 1 }
    let prompt = prompts[started / count]
    let capacity = prompt.count + min(room, 256)
    // A recurrent state cannot be copied, and some rotary embeddings depend on the whole length.
    guard transformer.canSharePrefix, !transformer.configuration.isRecurrent, prompt.count > 1 else {
      return (started, prompt, KeyValueCache(for: transformer, capacity: capacity))
    }
    if started % count == 0 {
      let cache = KeyValueCache(for: transformer, capacity: prompt.count)
      transformer.read(Array(prompt.dropLast()), into: cache)
      self.cache = cache
    }
    let own =
      cache?.copy(first: prompt.count - 1, capacity: capacity) ?? KeyValueCache(for: transformer, capacity: capacity)
    return (started, Array(prompt[own.count...]), own)
  }
}
