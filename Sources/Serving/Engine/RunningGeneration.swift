import Essentials
import Models
import Tokenizers

/// A generation in progress: its tokens, its text, and the client that waits for it.
final class RunningGeneration {
  let id: Int
  let cache: KeyValueCache
  let tokens: TokenGenerator
  private let updates: AsyncThrowingStream<GenerationUpdate, any Error>.Continuation
  private var decoder: StreamDecoder
  private var stops: StopStrings
  private let logprobs = LogprobCollector()

  init(
    _ id: Int, _ request: GenerationRequest, model: CausalLM, cache: KeyValueCache,
    _ updates: AsyncThrowingStream<GenerationUpdate, any Error>.Continuation
  ) throws {
    (self.id, self.cache, self.updates) = (id, cache, updates)
    let cached = cache.count
    tokens = TokenGenerator(
      model.transformer, prompt: Array(request.prompt[cached...]), cache: cache, sampling: request.sampling,
      maxNewTokens: request.maxNewTokens, stopTokens: model.stopTokens)
    decoder = model.tokenizer.streamDecoder(skipSpecialTokens: true)
    stops = StopStrings(request.stopStrings)
    let constraint = try request.format.constraint(model.tokenizer, stopTokens: model.stopTokens)
    if request.topLogprobs != nil || constraint != nil {
      let (logprobs, top) = (logprobs, request.topLogprobs)
      tokens.choice = { logits, sampler in
        let raw = top == nil ? [] : logits
        let id = constraint?.sample(&logits, &sampler) ?? sampler.sample(logits)
        if let top { logprobs.add(id, raw, top: top) }
        return id
      }
    }
    updates.yield(.began(promptTokens: request.prompt.count, cachedTokens: cached))
  }

  /// Passes on what the last pass did.
  /// - Returns: whether the generation has ended.
  func receive(_ progress: TokenGenerator.Progress) -> Bool {
    switch progress {
    case .prompt: return false
    case .token(let id):
      let text = stops.append(decoder.append(id))
      let logprobs = logprobs.take()
      if !text.isEmpty || !logprobs.isEmpty { updates.yield(.text(text, logprobs)) }
      guard stops.hasStopped else { return false }
      end(.stop)
    case .ended:
      let text = stops.append(decoder.finish()) + stops.finish()
      _ = logprobs.take()
      if !text.isEmpty { updates.yield(.text(text, [])) }
      end(stops.hasStopped ? .stop : tokens.generation.finishReason)
    }
    return true
  }

  /// Tells the client that the generation can't go on.
  func fail(_ error: any Error) { updates.finish(throwing: error) }

  private func end(_ reason: FinishReason) {
    let endsWithStopToken = tokens.generation.finishReason == .stop
    updates.yield(.ended(reason, tokens: tokens.generation.ids.count + (endsWithStopToken ? 1 : 0)))
    updates.finish()
  }
}

/// Collects the probabilities of the sampled tokens until they are sent.
private final class LogprobCollector {
  private var collected: [TokenLogprob] = []

  func add(_ id: Int32, _ logits: [Float], top count: Int) {
    var ranking = TokenRanking(logits, temperature: 1)
    let logSum = Float(log(ranking?.total ?? 1)) + (ranking?.highest ?? 0)
    let top = count > 0 ? ranking?.mostLikely(count).prefix(count).map { (id: $0.id, logprob: $0.logit - logSum) } : []
    collected.append(TokenLogprob(id: id, logprob: logits[Int(id)] - logSum, top: top ?? []))
  }

  func take() -> [TokenLogprob] {
    defer { collected = [] }
    return collected
  }
}
