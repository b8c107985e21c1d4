import Tensors

/// Why a generation ended.
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
  /// Why it ended.
  public var finishReason: FinishReason
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
    var generation = Generation(ids: [], finishReason: .length)
    guard !prompt.isEmpty, maxNewTokens > 0 else { return generation }
    let cache = cache ?? KeyValueCache(for: self, capacity: prompt.count + min(maxNewTokens, 1024))
    var sampler = Sampler(sampling, prompt: prompt)
    var hidden = extend(cache, by: prompt)
    while true {
      let logits = backend.floats(logits(hidden.rows(hidden.rows - 1..<hidden.rows)))
      let id = sampler.sample(logits)
      if stopTokens.contains(id) {
        generation.finishReason = .stop
        return generation
      }
      generation.ids.append(id)
      let continues = each(id)
      if !continues || generation.ids.count == maxNewTokens || cache.count >= configuration.contextLength {
        return generation
      }
      hidden = extend(cache, by: [id])
    }
  }

  /// Adds tokens to the cache and returns the hidden states of the last ones. Long prompts are processed in chunks, so
  /// that they need no more memory than short ones.
  private func extend(_ cache: KeyValueCache, by newIDs: [Int32]) -> Tensor {
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
