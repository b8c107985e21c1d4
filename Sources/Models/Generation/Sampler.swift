import Foundation

/// How the next token is chosen, in transformers' words (`GenerationConfig`).
public struct SamplingOptions: Sendable, Hashable {
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
  private let options: SamplingOptions
  private var random: RandomSource
  private var seen: Set<Int32>

  /// A sampler; `prompt` counts as said where repetition is penalized.
  public init(_ options: SamplingOptions, prompt: [Int32]) {
    self.options = options
    random = RandomSource(seed: options.seed)
    seen = options.repetitionPenalty == 1 ? [] : Set(prompt)
  }

  /// The next token.
  public mutating func choose(_ logits: [Float]) -> Int32 {
    var logits = logits
    let penalty = options.repetitionPenalty
    if penalty != 1 {
      for id in seen where logits.indices.contains(Int(id)) {
        let value = logits[Int(id)]
        logits[Int(id)] = value > 0 ? value / penalty : value * penalty
      }
    }
    let id = options.temperature <= 0 ? Self.largest(logits) : draw(logits)
    if penalty != 1 { seen.insert(id) }
    return id
  }

  private static func largest(_ logits: [Float]) -> Int32 {
    var best = 0
    for index in logits.indices where logits[index] > logits[best] { best = index }
    return Int32(best)
  }

  private mutating func draw(_ logits: [Float]) -> Int32 {
    var candidates = logits.indices.map { (id: Int32($0), logit: logits[$0] / options.temperature) }
    candidates.sort { $0.logit == $1.logit ? $0.id < $1.id : $0.logit > $1.logit }
    if options.topK > 0 { candidates = Array(candidates.prefix(options.topK)) }
    let highest = candidates.first?.logit ?? 0
    var weights = candidates.map { Double(exp($0.logit - highest)) }
    if options.topP < 1 {
      let enough = Double(options.topP) * weights.reduce(0, +)
      var sum = 0.0
      let kept = weights.firstIndex { weight in
        sum += weight
        return sum >= enough
      }
      weights = Array(weights.prefix((kept ?? weights.count - 1) + 1))
    }
    if options.minP > 0 { weights = Array(weights.prefix { $0 >= Double(options.minP) }) }
    var left = Double(random.uniform()) * weights.reduce(0, +)
    for (index, weight) in weights.enumerated() {
      left -= weight
      if left < 0 { return candidates[index].id }
    }
    return candidates[max(0, weights.count - 1)].id
  }
}
