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

extension Decoder {
  /// Continues `prompt` token by token.
  ///
  /// - Parameters:
  ///   - prompt: at least one token.
  ///   - cache: tokens before the prompt, if this continues a conversation; the prompt and the new tokens are added.
  ///   - each: called with each new token as soon as it is chosen; `false` ends the generation.
  public func generate(
    _ prompt: [Int32], cache: KeyValueCache? = nil, sampling: SamplingOptions = SamplingOptions(), maxNewTokens: Int,
    stopTokens: Set<Int32>, each: (Int32) -> Bool = { _ in true }
  ) -> Generation {
    var generation = Generation(ids: [], finishReason: .length)
    guard !prompt.isEmpty, maxNewTokens > 0 else { return generation }
    let cache = cache ?? KeyValueCache(for: self, capacity: prompt.count + min(maxNewTokens, 1024))
    var sampler = Sampler(sampling, prompt: prompt)
    var hidden = prefill(prompt, cache)
    while true {
      let logits = backend.floats(logits(hidden.rows(hidden.rows - 1..<hidden.rows)))
      let id = sampler.choose(logits)
      if stopTokens.contains(id) {
        generation.finishReason = .stop
        return generation
      }
      generation.ids.append(id)
      let goesOn = each(id)
      if !goesOn || generation.ids.count == maxNewTokens || cache.count >= configuration.longestContext {
        return generation
      }
      hidden = hiddenStates([id], cache: cache)
    }
  }

  /// The prompt goes through in stretches, so that a long one needs no more memory than a short one.
  private func prefill(_ prompt: [Int32], _ cache: KeyValueCache) -> Tensor {
    let stretch = 512
    var hidden = hiddenStates(Array(prompt.prefix(stretch)), cache: cache)
    for start in Swift.stride(from: stretch, to: prompt.count, by: stretch) {
      hidden = hiddenStates(Array(prompt[start..<min(prompt.count, start + stretch)]), cache: cache)
    }
    return hidden
  }
}
