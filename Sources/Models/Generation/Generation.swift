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
  /// The stop token, if there was one.
  public var stopToken: Int32?
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
  /// Chooses the next token in place of the sampler, which it may use; it may also change the logits.
  package var choice: ((inout [Float], inout Sampler) -> Int32)?
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
    sampler = Sampler(sampling, prompt: self.cache.ids + prompt)
    pending = maxNewTokens > 0 ? prompt : []
  }

  /// Generates the next token.
  /// - Parameter reading: called before each chunk of a long prompt with the number of its tokens that have been read,
  ///   and of all; return `false` to end the generation.
  /// - Returns: `nil` if the generation has ended, or the device has failed.
  public func next(reading: (_ read: Int, _ total: Int) -> Bool = { _, _ in true }) -> Int32? {
    guard isGoing else { return nil }
    guard let hidden = transformer.extend(cache, by: pending, reading: reading) else {
      pending = []
      return nil
    }
    return choose(transformer.logits(hidden.rows(hidden.rows - 1..<hidden.rows)))
  }

  /// Whether there may be another token; ends the generation if its limit is reached.
  private var isGoing: Bool {
    let isFull = !generation.ids.isEmpty && cache.count >= transformer.configuration.contextLength
    if generation.ids.count >= maxNewTokens || isFull { pending = [] }
    return !pending.isEmpty
  }

  /// Samples the next token from its logits, one row on the device.
  private func choose(_ row: Tensor) -> Int32? {
    let id: Int32
    if let choice {
      var logits = transformer.backend.floats(row)
      id = choice(&logits, &sampler)
    } else {
      id = sampler.sample(row, on: transformer.backend)
    }
    // A device that has failed gives zeros, which would be taken for a token. `Backend.check` tells the caller why.
    guard (try? transformer.backend.check()) != nil else {
      pending = []
      return nil
    }
    if stopTokens.contains(id) {
      generation.finishReason = .stop
      generation.stopToken = id
      pending = []
      return nil
    }
    generation.ids.append(id)
    pending = [id]
    return id
  }

  /// What a pass over several generations did for one of them.
  package enum Progress: Sendable, Hashable {
    /// It read a part of its prompt.
    case prompt
    /// It generated a token.
    case token(Int32)
    case ended
  }

  /// Advances several generations of the same transformer in one pass: each reads at most `chunk` tokens of its prompt,
  /// or generates a token. Weights are read once for all of them.
  package static func advance(_ generators: [TokenGenerator], chunk: Int = 512) -> [Progress] {
    var progress = [Progress](repeating: .ended, count: generators.count)
    let going = generators.indices.filter { generators[$0].isGoing }
    guard let first = going.first else { return progress }
    let transformer = generators[first].transformer
    guard transformer.canSharePrefix else {
      for index in going { progress[index] = generators[index].next().map { .token($0) } ?? .ended }
      return progress
    }
    let steps = going.map { index in
      let (pending, cache) = (generators[index].pending, generators[index].cache)
      return Transformer.CachedStep(
        ids: Array(pending.prefix(chunk)), cache: cache, length: cache.count + pending.count)
    }
    let hidden = transformer.hiddenStates(steps)
    var end: Int32 = -1
    var lastRows: [Int32] = []
    var sampled: [Int] = []
    for (index, step) in zip(going, steps) {
      end += Int32(step.ids.count)
      let generator = generators[index]
      generator.pending.removeFirst(step.ids.count)
      progress[index] = .prompt
      guard generator.pending.isEmpty else { continue }
      lastRows.append(end)
      sampled.append(index)
    }
    guard !sampled.isEmpty else { return progress }
    let logits = transformer.logits(transformer.backend.gatherRows(hidden, lastRows))
    for (row, index) in sampled.enumerated() {
      let id = generators[index].choose(logits.rows(row..<row + 1))
      progress[index] = id.map { .token($0) } ?? .ended
    }
    return progress
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
  ///   - reading: called before each chunk of a long prompt with the number of its tokens that have been read, and of
  ///     all; return `false` to stop.
  public func generate(
    _ prompt: [Int32], cache: KeyValueCache? = nil, sampling: SamplingConfiguration = SamplingConfiguration(),
    maxNewTokens: Int, stopTokens: Set<Int32>, each: (Int32) -> Bool = { _ in true },
    reading: (_ read: Int, _ total: Int) -> Bool = { _, _ in true }
  ) -> Generation {
    let generator = TokenGenerator(
      self, prompt: prompt, cache: cache, sampling: sampling, maxNewTokens: maxNewTokens, stopTokens: stopTokens)
    while let id = generator.next(reading: reading), each(id) {}
    return generator.generation
  }

  /// Adds a prompt to the cache.
  package func read(_ prompt: [Int32], into cache: KeyValueCache) {
    _ = extend(cache, by: prompt) { _, _ in true }
  }

  /// Adds tokens to the cache and returns the hidden states of the last ones; `nil` if `reading` stopped it. Long prompts
  /// are processed in chunks, so that they need no more memory than short ones.
  fileprivate func extend(
    _ cache: KeyValueCache, by newIDs: [Int32], reading: (_ read: Int, _ total: Int) -> Bool
  ) -> Tensor? {
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
    var hidden: Tensor?
    for start in Swift.stride(from: 0, to: ids.count, by: chunk) {
      guard ids.count <= chunk || reading(start, ids.count) else { return nil }
      let part = Array(ids[start..<min(ids.count, start + chunk)])
      hidden = hiddenStates([CachedStep(ids: part, cache: cache, length: length)])
    }
    return hidden
  }
}
