import Tensors

/// How a generation ended.
public enum FinishReason: String, Sendable {
  /// With a stop token.
  case stop
  /// At the limit of new tokens, or of the model's context.
  case length
}

/// What a generation gave.
public struct Generation: Sendable {
  /// The new tokens; a stop token at the end is not among them.
  public var ids: [Int32]
  /// How it ended.
  public var finishReason: FinishReason
}

extension Transformer {
  /// Continues `prompt` token by token.
  ///
  /// - Parameters:
  ///   - prompt: at least one token.
  ///   - cache: tokens before the prompt, if this continues a conversation; the prompt and the new tokens are added.
  ///   - each: called with each new token as soon as it is chosen; `false` ends the generation.
  public func generate(
    _ prompt: [Int32], cache: KeyValueCache? = nil, sampling: SamplingConfiguration = SamplingConfiguration(),
    maxNewTokens: Int,
    stopTokens: Set<Int32>, each: (Int32) -> Bool = { _ in true }
  ) -> Generation {
    var generation = Generation(ids: [], finishReason: .length)
    guard !prompt.isEmpty, maxNewTokens > 0 else { return generation }
    let cache = cache ?? KeyValueCache(for: self, capacity: prompt.count + min(maxNewTokens, 1024))
    var sampler = Sampler(sampling, prompt: prompt)
    var hidden = extend(cache, by: prompt)
    while true {
      let logits = backend.floats(logits(hidden.rows(hidden.rows - 1..<hidden.rows)))
      let id = sampler.choose(logits)
      if stopTokens.contains(id) {
        generation.finishReason = .stop
        return generation
      }
      generation.ids.append(id)
      let goesOn = each(id)
      if !goesOn || generation.ids.count == maxNewTokens || cache.count >= configuration.contextLength {
        return generation
      }
      hidden = extend(cache, by: [id])
    }
  }

  /// The hidden states of the last of these tokens, which are added to the cache. They go through in stretches, so that
  /// a long prompt needs no more memory than a short one.
  private func extend(_ cache: KeyValueCache, by new: [Int32]) -> Tensor {
    let length = cache.count + new.count
    var new = new
    if cache.count > 0,
      configuration.layers.contains(where: { layer in
        layer.rotary?.changes(from: cache.rotatedLength, to: length) == true
      })
    {
      new = cache.ids + new
      cache.truncate(to: 0)
    }
    let stretch = 512
    var hidden = hiddenStates(Array(new.prefix(stretch)), cache: cache, length: length)
    for start in Swift.stride(from: stretch, to: new.count, by: stretch) {
      hidden = hiddenStates(Array(new[start..<min(new.count, start + stretch)]), cache: cache, length: length)
    }
    return hidden
  }
}
