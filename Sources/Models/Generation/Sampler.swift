import Tensors

/// How the next token is sampled, as in transformers' `GenerationConfig`.
public struct SamplingConfiguration: Sendable, Hashable, Codable {
  /// Divides the logits; 0 always takes the most likely token (greedy decoding).
  public var temperature: Float = 0
  /// Keeps only this many of the most likely tokens; 0 keeps all.
  public var topK = 0
  /// Keeps only the smallest set of most likely tokens whose probabilities add up to this; 1 keeps all.
  public var topP: Float = 1
  /// Keeps only tokens with at least this probability relative to the most likely one; 0 keeps all.
  public var minP: Float = 0
  /// Divides positive logits of tokens that have occurred, and multiplies negative ones (Keskar et al. 2019,
  /// arXiv:1909.05858); 1 changes nothing.
  public var repetitionPenalty: Float = 1
  /// The seed of the random numbers.
  public var seed: UInt64 = 0

  /// Creates a configuration for greedy decoding.
  public init() {}
}

/// Samples tokens from logits. Filters apply in transformers' order: repetition penalty, temperature, top-k, top-p,
/// min-p.
public struct Sampler: Sendable {
  private let configuration: SamplingConfiguration
  private var random: RandomSource
  private var seen: Set<Int32>

  /// Creates a sampler; tokens of `prompt` count as occurred for the repetition penalty.
  public init(_ configuration: SamplingConfiguration, prompt: [Int32]) {
    self.configuration = configuration
    random = RandomSource(seed: configuration.seed)
    seen = configuration.repetitionPenalty == 1 ? [] : Set(prompt)
  }

  /// Returns the next token, given the logits of all tokens.
  public mutating func sample(_ logits: [Float]) -> Int32 {
    let logits = penalized(logits)
    let id = configuration.temperature <= 0 ? LogitScan.argmax(logits) : draw(logits)
    if configuration.repetitionPenalty != 1 { seen.insert(id) }
    return id
  }

  /// Returns the next token, given the logits of all tokens in the memory of `backend`. Reads no more than sampling
  /// needs: a GPU finds the largest ones itself.
  package mutating func sample(_ logits: Tensor, on backend: any Backend) -> Int32 {
    guard let count = neededCount, let largest = backend.largest(logits, count: count) else {
      return sample(backend.floats(logits))
    }
    if configuration.temperature <= 0 { return Int32(largest[0].column) }
    // As in transformers, ties with the last one are kept, and more of them may follow.
    let (last, next) = (largest[count - 2].value, largest[count - 1].value)
    guard last / configuration.temperature > next / configuration.temperature else {
      return sample(backend.floats(logits))
    }
    let tokens = largest.sorted { $0.column < $1.column }
    return Int32(tokens[Int(draw(tokens.map(\.value)))].column)
  }

  /// How many of the largest logits decide the next token; `nil` if all do.
  private var neededCount: Int? {
    guard configuration.repetitionPenalty == 1 else { return nil }
    if configuration.temperature <= 0 { return 1 }
    return configuration.topK > 0 ? configuration.topK + 1 : nil
  }

  /// Samples the next token among those that `isAllowed` accepts. If it rejects a token, another one is drawn, so it is
  /// called for few tokens.
  package mutating func sample(_ logits: inout [Float], where isAllowed: (Int32) -> Bool) -> Int32 {
    for _ in 0..<100 {
      var next = self
      let id = next.sample(logits)
      random = next.random
      if isAllowed(id) {
        self = next
        return id
      }
      logits[Int(id)] = -.infinity
    }
    for id in logits.indices where logits[id] > -.infinity && !isAllowed(Int32(id)) { logits[id] = -.infinity }
    return sample(logits)
  }

  private func penalized(_ logits: [Float]) -> [Float] {
    let penalty = configuration.repetitionPenalty
    guard penalty != 1 else { return logits }
    var logits = logits
    for id in seen where logits.indices.contains(Int(id)) {
      let value = logits[Int(id)]
      logits[Int(id)] = value > 0 ? value / penalty : value * penalty
    }
    return logits
  }

  private mutating func draw(_ logits: [Float]) -> Int32 {
    let share = Double(random.uniform())
    guard isFiltered(logits.count) else { return unfilteredDraw(logits, share) }
    guard let (tokens, total) = candidates(logits) else { return LogitScan.argmax(logits) }
    var left = share * total
    for token in tokens {
      left -= token.weight
      if left < 0 { return token.id }
    }
    return tokens.last?.id ?? 0
  }

  private func isFiltered(_ count: Int) -> Bool {
    configuration.topK > 0 && configuration.topK < count || configuration.topP < 1 || configuration.minP > 0
  }

  /// The token at `share` of the sum of all weights, which needs no ranking: at a high temperature, most of a vocabulary
  /// is likely enough to be ranked.
  private func unfilteredDraw(_ logits: [Float], _ share: Double) -> Int32 {
    let temperature = configuration.temperature
    guard let ranking = TokenRanking(logits, temperature: temperature) else { return LogitScan.argmax(logits) }
    let total = ranking.total
    guard total.isFinite else { return LogitScan.argmax(logits) }
    return LogitScan.pick(logits, temperature: temperature, highest: ranking.highest, position: share * total)
  }

  /// The distribution of the next token, most likely first.
  package func distribution(_ logits: [Float]) -> [(id: Int32, probability: Double)] {
    guard let (tokens, total) = candidates(penalized(logits)) else { return [] }
    return tokens.map { ($0.id, $0.weight / total) }
  }

  /// The tokens that pass the filters, most likely first, and the sum of their weights.
  /// - Returns: `nil` if the temperature is so low that quotients overflow, or if a logit isn't a number.
  private func candidates(_ logits: [Float]) -> (tokens: [RankedToken], total: Double)? {
    guard var ranking = TokenRanking(logits, temperature: configuration.temperature) else { return nil }
    var tokens: [RankedToken] = []
    let total: Double
    if configuration.topK > 0, configuration.topK < logits.count {
      tokens = ranking.mostLikely(configuration.topK)
      total = tokens.reduce(0) { $0 + $1.weight }
    } else {
      total = ranking.total
      guard total.isFinite else { return nil }
      if configuration.topP < 1 {
        tokens = ranking.covering(Double(configuration.topP) * total)
      } else if configuration.minP > 0 {
        tokens = ranking.atLeast(configuration.minP)
      } else {
        tokens = ranking.covering(.infinity)
      }
    }
    if configuration.topP < 1 {
      let mass = Double(configuration.topP) * total
      var sum = 0.0
      let last = tokens.firstIndex { token in
        sum += token.weight
        return sum >= mass
      }
      tokens = Array(tokens.prefix((last ?? tokens.count) + 1))
    }
    if configuration.minP > 0 { tokens = Array(tokens.prefix { $0.weight >= Double(configuration.minP) }) }
    let isFiltered = configuration.topP < 1 || configuration.minP > 0
    return (tokens, isFiltered ? tokens.reduce(0) { $0 + $1.weight } : total)
  }
}
