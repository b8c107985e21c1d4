import Essentials

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

/// Samples tokens from logits. Filters apply in transformers' order: repetition penalty, temperature, top-k, top-p, min-p.
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
    let id = configuration.temperature <= 0 ? Self.argmax(logits) : draw(logits)
    if configuration.repetitionPenalty != 1 { seen.insert(id) }
    return id
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

  private static func argmax(_ logits: [Float]) -> Int32 {
    var best = 0
    for index in logits.indices where logits[index] > logits[best] { best = index }
    return Int32(best)
  }

  private mutating func draw(_ logits: [Float]) -> Int32 {
    let candidates = candidates(logits)
    var left = Double(random.uniform()) * candidates.reduce(0) { $0 + $1.weight }
    for candidate in candidates {
      left -= candidate.weight
      if left < 0 { return candidate.id }
    }
    return candidates.last?.id ?? 0
  }

  /// The tokens that pass the filters, most likely first, with their probabilities relative to the most likely one.
  private func candidates(_ logits: [Float]) -> [(id: Int32, weight: Double)] {
    var candidates = logits.indices.map { (id: Int32($0), logit: logits[$0] / configuration.temperature) }
    candidates.sort { $0.logit == $1.logit ? $0.id < $1.id : $0.logit > $1.logit }
    if configuration.topK > 0, configuration.topK < candidates.count {
      // As in transformers, ties with the last one are kept.
      let lowest = candidates[configuration.topK - 1].logit
      candidates = Array(candidates.prefix { $0.logit >= lowest })
    }
    let highest = candidates.first?.logit ?? 0
    var weighted = candidates.map { (id: $0.id, weight: Double(exp($0.logit - highest))) }
    if configuration.topP < 1 {
      let mass = Double(configuration.topP) * weighted.reduce(0) { $0 + $1.weight }
      var sum = 0.0
      let last = weighted.firstIndex { candidate in
        sum += candidate.weight
        return sum >= mass
      }
      weighted = Array(weighted.prefix((last ?? weighted.count) + 1))
    }
    if configuration.minP > 0 { weighted = Array(weighted.prefix { $0.weight >= Double(configuration.minP) }) }
    return weighted
  }

  /// The distribution of the next token, most likely first.
  package func distribution(_ logits: [Float]) -> [(id: Int32, probability: Double)] {
    let candidates = candidates(penalized(logits))
    let sum = candidates.reduce(0) { $0 + $1.weight }
    return candidates.map { ($0.id, $0.weight / sum) }
  }
}
