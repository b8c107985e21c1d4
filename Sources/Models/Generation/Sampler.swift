import Foundation

/// How the next token is chosen, in transformers' words (`GenerationConfig`).
public struct SamplingConfiguration: Sendable, Hashable {
  /// 0 means the most likely token, always.
  public var temperature: Float = 0
  /// Only the `topK` most likely tokens; 0 for all.
  public var topK = 0
  /// Only the fewest most likely tokens that together have this probability; 1 for all.
  public var topP: Float = 1
  /// Only tokens at least this likely, relative to the most likely one; 0 for all.
  public var minP: Float = 0
  /// Logits of tokens that have occurred are divided by this if positive, multiplied if negative (Keskar et al. 2019).
  public var repetitionPenalty: Float = 1
  /// Where the random numbers start.
  public var seed: UInt64 = 0

  /// Greedy.
  public init() {}
}

/// Chooses tokens from logits. Filters come in transformers' order: repetition, temperature, top-k, top-p, min-p.
public struct Sampler: Sendable {
  private let options: SamplingConfiguration
  private var random: RandomSource
  private var seen: Set<Int32>

  /// A sampler; `prompt` counts as said where repetition is penalized.
  public init(_ options: SamplingConfiguration, prompt: [Int32]) {
    self.options = options
    random = RandomSource(seed: options.seed)
    seen = options.repetitionPenalty == 1 ? [] : Set(prompt)
  }

  /// The next token.
  public mutating func choose(_ logits: [Float]) -> Int32 {
    let logits = penalized(logits)
    let id = options.temperature <= 0 ? Self.largest(logits) : draw(logits)
    if options.repetitionPenalty != 1 { seen.insert(id) }
    return id
  }

  private func penalized(_ logits: [Float]) -> [Float] {
    let penalty = options.repetitionPenalty
    guard penalty != 1 else { return logits }
    var logits = logits
    for id in seen where logits.indices.contains(Int(id)) {
      let value = logits[Int(id)]
      logits[Int(id)] = value > 0 ? value / penalty : value * penalty
    }
    return logits
  }

  private static func largest(_ logits: [Float]) -> Int32 {
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

  /// The tokens that the filters leave, the likeliest first, each with its probability relative to the likeliest.
  private func candidates(_ logits: [Float]) -> [(id: Int32, weight: Double)] {
    var candidates = logits.indices.map { (id: Int32($0), logit: logits[$0] / options.temperature) }
    candidates.sort { $0.logit == $1.logit ? $0.id < $1.id : $0.logit > $1.logit }
    if options.topK > 0, options.topK < candidates.count {
      // As in transformers, tokens as likely as the last of them stay.
      let lowest = candidates[options.topK - 1].logit
      candidates = Array(candidates.prefix { $0.logit >= lowest })
    }
    let highest = candidates.first?.logit ?? 0
    var weighted = candidates.map { (id: $0.id, weight: Double(exp($0.logit - highest))) }
    if options.topP < 1 {
      let enough = Double(options.topP) * weighted.reduce(0) { $0 + $1.weight }
      var sum = 0.0
      let last = weighted.firstIndex { candidate in
        sum += candidate.weight
        return sum >= enough
      }
      weighted = Array(weighted.prefix((last ?? weighted.count) + 1))
    }
    if options.minP > 0 { weighted = Array(weighted.prefix { $0.weight >= Double(options.minP) }) }
    return weighted
  }

  /// The probabilities that the next token would be drawn with: id and probability, the likeliest first.
  package func distribution(_ logits: [Float]) -> [(id: Int32, probability: Double)] {
    let candidates = candidates(penalized(logits))
    let sum = candidates.reduce(0) { $0 + $1.weight }
    return candidates.map { ($0.id, $0.weight / sum) }
  }
}
