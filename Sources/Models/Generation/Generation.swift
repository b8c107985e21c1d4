import Tensors

/// Why a generation ended, as in OpenAI's API.
public enum FinishReason: String, Sendable, Codable {
  /// The model produced a stop token.
  case stop
  /// The limit of new tokens, or the end of the model's context, was reached.
  case length
}

/// The result of a generation.
public struct Generation: Sendable {
  /// The new tokens, without the stop token.
  public var ids: [Int32]
  /// Whether the model ended it with a stop token.
  public var finishReason: FinishReason
}

/// A generation that advances one token at a time.
public final class TokenGenerator {
  /// The tokens so far, and how the generation ended.
  public private(set) var generation = Generation(ids: [], finishReason: .length)
  private let transformer: Transformer
  private let cache: KeyValueCache
  private let maxNewTokens: Int
  private let stopTokens: Set<Int32>
  private var sampler: Sampler
  /// The tokens that are not in the cache yet; empty once the generation has ended.
  private var pending: [Int32]

  /// Starts a generation.
  /// - Parameters:
  ///   - transformer: the transformer.
  ///   - prompt: at least one token.
  ///   - cache: the tokens before the prompt, if this continues a conversation. The prompt and all new tokens but the
  ///     last are added.
  ///   - sampling: how tokens are chosen.
  ///   - maxNewTokens: the most tokens to generate.
  ///   - stopTokens: tokens that end the generation.
  public init(
    _ transformer: Transformer, prompt: [Int32], cache: KeyValueCache? = nil,
    sampling: SamplingConfiguration = SamplingConfiguration(),
    maxNewTokens: Int, stopTokens: Set<Int32>
  ) {
    self.transformer = transformer
    self.cache = cache ?? KeyValueCache(for: transformer, capacity: prompt.count + min(max(0, maxNewTokens), 1024))
    self.maxNewTokens = maxNewTokens
    self.stopTokens = stopTokens
    sampler = Sampler(sampling, prompt: prompt)
    pending = maxNewTokens > 0 ? prompt : []
  }

  /// Generates the next token.
  /// - Returns: `nil` if the generation has ended, or the device has failed.
  public func next() -> Int32? {
    guard !pending.isEmpty else { return nil }
    let isFull = !generation.ids.isEmpty && cache.count >= transformer.configuration.contextLength
    guard generation.ids.count < maxNewTokens, !isFull else {
      pending = []
      return nil
    }
    let hidden = transformer.extend(cache, by: pending)
    let logits = transformer.logits(hidden.rows(hidden.rows - 1..<hidden.rows))
    let id = sampler.sample(logits, on: transformer.backend)
    // A device that has failed gives zeros, which would pass for a token. Whoever asked finds out with `Backend.check`.
    guard (try? transformer.backend.check()) != nil else {
      pending = []
      return nil
    }
    if stopTokens.contains(id) {
      generation.finishReason = .stop
      pending = []
      return nil
    }
    generation.ids.append(id)
    pending = [id]
    return id
  }
}

extension Transformer {
  /// Continues `prompt` token by token.
  ///
  /// - Parameters:
  ///   - prompt: at least one token.
  ///   - cache: the KV cache of an earlier part of the conversation, to be continued. The prompt and the new tokens are
  ///     added to it.
  ///   - each: called with each new token as soon as it is sampled; return `false` to stop.
  public func generate(
    _ prompt: [Int32], cache: KeyValueCache? = nil, sampling: SamplingConfiguration = SamplingConfiguration(),
    maxNewTokens: Int, stopTokens: Set<Int32>, each: (Int32) -> Bool = { _ in true }
  ) -> Generation {
    let generator = TokenGenerator(
      self, prompt: prompt, cache: cache, sampling: sampling, maxNewTokens: maxNewTokens, stopTokens: stopTokens)
    while let id = generator.next(), each(id) {}
    return generator.generation
  }

  /// Adds tokens to the cache and returns the hidden states of the last ones. Long prompts are processed in chunks, so
  /// that they need no more memory than short ones.
  fileprivate func extend(_ cache: KeyValueCache, by newIDs: [Int32]) -> Tensor {
    let length = cache.count + newIDs.count
    var ids = newIDs
    if cache.count > 0,
      configuration.layers.contains(where: { layer in
        layer.rotary?.changes(from: cache.rotatedLength, to: length) == true
      })
    {
      ids = cache.ids + newIDs
      cache.truncate(to: 0)
    }
    let chunk = 512
    var hidden = hiddenStates(Array(ids.prefix(chunk)), cache: cache, length: length)
    for start in Swift.stride(from: chunk, to: ids.count, by: chunk) {
      hidden = hiddenStates(Array(ids[start..<min(ids.count, start + chunk)]), cache: cache, length: length)
    }
    return hidden
  }
}
