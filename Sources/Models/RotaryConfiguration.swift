import Diagnostics
import Essentials
import OrderedJSON
import Tensors

/// Rotary position embeddings (RoPE, Su et al. 2021, arXiv:2104.09864) and the ways to scale them beyond the length a
/// model was trained on, as in transformers' `modeling_rope_utils`.
public struct RotaryConfiguration: Sendable, Hashable, Codable {
  /// The base of the frequencies (`rope_theta`): pair i rotates by base^(−2i/rotaryDim) per position.
  public var base: Double
  /// The number of rotated dimensions of a head: `head_dim` times `partial_rotary_factor`. Even.
  public var rotaryDim: Int
  /// How frequencies are scaled for sequences longer than those of pretraining.
  public var scaling: Scaling
  /// Whether queries are multiplied by a factor that grows with the position.
  public var queryGrowth: QueryGrowth?

  /// Llama 4's scaling of queries, 1 + beta · log(1 + ⌊position / original⌋), which Ministral 3 has too.
  public struct QueryGrowth: Sendable, Hashable, Codable {
    /// `llama_4_scaling_beta`
    public var beta: Double
    /// `original_max_position_embeddings`
    public var original: Int

    /// The factor at a position.
    func factor(at position: Int32) -> Float { Float(1 + beta * log(Double(1 + Int(position) / original))) }
  }

  /// The scaling method (`rope_type`) and its parameters. Lengths are in tokens.
  public enum Scaling: Sendable, Hashable, Codable {
    /// Frequencies as in pretraining, without scaling.
    case none
    /// Positions are divided by `factor` (position interpolation, Chen et al. 2023, arXiv:2306.15595).
    case linear(factor: Double)
    /// NTK-aware scaling with a base that grows once a sequence is longer than `limit` tokens.
    case dynamic(factor: Double, limit: Int)
    /// Llama 3.1: low frequencies are divided by `factor`, high ones are kept, with a smooth transition in between.
    case llama3(factor: Double, lowFrequencyFactor: Double, highFrequencyFactor: Double, original: Int)
    /// Phi-3: one divisor per frequency, from `short` for sequences of up to `original` tokens and from `long` beyond.
    /// Cosines and sines are multiplied by `attentionFactor`.
    case longrope(short: [Double], long: [Double], original: Int, attentionFactor: Double)
    /// YaRN (Peng et al. 2023, arXiv:2309.00071): high frequencies are kept and low ones divided by its factor, with a
    /// linear transition in between. Cosines and sines are multiplied by its attention factor.
    case yarn(YaRN)
    /// Only the first `rotated` frequencies are above zero. Unlike with a smaller rotary dim, pairs are half a head apart, and
    /// frequencies are those of the whole head (Gemma 4).
    case proportional(rotated: Int, factor: Double)
    /// One divisor per frequency (`rope_freqs.weight` of a GGUF file).
    case factors([Double])
  }

  /// The parameters of YaRN.
  public struct YaRN: Sendable, Hashable, Codable {
    /// `factor`
    public var factor: Double
    /// `original_max_position_embeddings`
    public var original: Int
    /// `beta_fast`: rotations over the original length above which a frequency is kept.
    public var fast = 32.0
    /// `beta_slow`: rotations over the original length below which a frequency is divided.
    public var slow = 1.0
    /// `truncate`: whether the ends of the transition are whole dimensions.
    public var truncates = true
    /// Multiplies cosines and sines.
    public var attentionFactor: Double

    /// How much of the frequency `index` is divided: 0 for none, 1 for all.
    func dividedShare(_ index: Int, base: Double, rotaryDim: Int) -> Float {
      func dimension(_ rotations: Double) -> Double {
        Double(rotaryDim) * log(Double(original) / (rotations * 2 * Double.pi)) / (2 * log(base))
      }
      var (low, high) = (dimension(fast), dimension(slow))
      if truncates { (low, high) = (low.rounded(.down), high.rounded(.up)) }
      (low, high) = (max(low, 0), min(high, Double(rotaryDim - 1)))
      if low == high { high += 0.001 }
      return max(0, min(1, (Float(index) - Float(low)) / Float(high - low)))
    }
  }

  /// Creates a rotary embedding; `rotaryDim` must be even and at most the head dim.
  public init(base: Double, rotaryDim: Int, scaling: Scaling = .none) {
    self.base = base
    self.rotaryDim = rotaryDim
    self.scaling = scaling
  }

  /// Reads `rope_parameters` (transformers 5) or `rope_theta` and `rope_scaling` (before).
  init(_ config: ConfigurationReader, headDim: Int, maxPositions: Int) throws(SwiftletError) {
    let section = config.section("rope_parameters") ?? config.section("rope_scaling")
    try self.init(config, section: section, headDim: headDim, maxPositions: maxPositions)
  }

  init(
    _ config: ConfigurationReader, section: ConfigurationReader?, headDim: Int, maxPositions: Int
  ) throws(SwiftletError) {
    func number(_ key: String) throws(SwiftletError) -> Double? {
      if let value = try section?.optionalNumber(key) { return value }
      return try config.optionalNumber(key)
    }
    base = try number("rope_theta") ?? 10000
    let share = try number("partial_rotary_factor") ?? 1
    guard base > 0, share > 0, share <= 1 else {
      throw config.error(
        "rope_theta must be positive and partial_rotary_factor between 0 and 1 (got \(base) and \(share))")
    }
    let type = section?.json["rope_type"]?.string
    let isProportional = type == "proportional"
    rotaryDim = isProportional ? headDim : Int(Double(headDim) * share) / 2 * 2
    guard rotaryDim > 0 else {
      throw config.error("partial_rotary_factor leaves no dimension of a head to rotate (got \(share))")
    }
    scaling = .none
    guard let section else { return }
    if isProportional {
      let factor = try section.optionalNumber("factor") ?? 1
      guard factor > 0 else { throw section.error("\"factor\" must be positive (got \(factor))") }
      scaling = .proportional(rotated: Int(share * Double(headDim)) / 2, factor: factor)
      return
    }
    scaling = try scaling(config, section: section, maxPositions: maxPositions)
    if let beta = try section.optionalNumber("llama_4_scaling_beta"), beta != 0 {
      guard rotaryDim == headDim else {
        throw section.error("llama_4_scaling_beta with partial rotation is not supported")
      }
      queryGrowth = QueryGrowth(beta: beta, original: try section.size("original_max_position_embeddings"))
    }
  }

  private func scaling(
    _ config: ConfigurationReader, section: ConfigurationReader, maxPositions: Int
  ) throws(SwiftletError) -> Scaling {
    func required(_ key: String) throws(SwiftletError) -> Double {
      guard let value = try section.optionalNumber(key) else { throw section.error("\"\(key)\" is missing") }
      guard value > 0 else { throw section.error("\"\(key)\" must be positive (got \(value))") }
      return value
    }
    let type = section.json["rope_type"]?.string ?? section.json["type"]?.string ?? "default"
    switch type {
    case "default": return .none
    case "factors":
      let factors = try section.numbers("factors")
      try checkCount(section, "factors", factors)
      return .factors(factors)
    case "linear": return .linear(factor: try required("factor"))
    case "dynamic": return .dynamic(factor: try required("factor"), limit: maxPositions)
    case "llama3":
      return .llama3(
        factor: try required("factor"), lowFrequencyFactor: try required("low_freq_factor"),
        highFrequencyFactor: try required("high_freq_factor"),
        original: try section.size("original_max_position_embeddings"))
    case "yarn": return .yarn(try yarn(section, maxPositions: maxPositions))
    case "longrope", "su": return try longRope(config, section: section, maxPositions: maxPositions)
    default:
      throw section.error(
        "rope_type \(type.quotedExcerpt) is not supported; use default, linear, dynamic, llama3, longrope, "
          + "proportional or yarn")
    }
  }

  private func yarn(_ section: ConfigurationReader, maxPositions: Int) throws(SwiftletError) -> YaRN {
    func positive(_ key: String) throws(SwiftletError) -> Double? {
      guard let value = try section.optionalNumber(key) else { return nil }
      guard value > 0 else { throw section.error("\"\(key)\" must be positive (got \(value))") }
      return value
    }
    let original = try section.size("original_max_position_embeddings")
    let factor = try positive("factor") ?? Double(maxPositions) / Double(original)
    func growth(_ mscale: Double) -> Double { factor <= 1 ? 1 : 0.1 * mscale * log(factor) + 1 }
    var usual = growth(1)
    if let all = try section.optionalNumber("mscale_all_dim"), let mscale = try section.optionalNumber("mscale"),
      all != 0, mscale != 0
    {
      usual = growth(mscale) / growth(all)
    }
    guard base > 1 else { throw section.error("rope_theta must be above 1 with yarn (got \(base))") }
    return YaRN(
      factor: factor, original: original, fast: try positive("beta_fast") ?? 32, slow: try positive("beta_slow") ?? 1,
      truncates: try section.optionalBool("truncate") ?? true,
      attentionFactor: try section.optionalNumber("attention_factor") ?? usual)
  }

  private func longRope(
    _ config: ConfigurationReader, section: ConfigurationReader, maxPositions: Int
  ) throws(SwiftletError) -> Scaling {
    let key = "original_max_position_embeddings"
    let inner = try section.optionalSize(key)
    let outer = try config.optionalSize(key)
    let original = inner ?? outer ?? maxPositions
    let (short, long) = (try section.numbers("short_factor"), try section.numbers("long_factor"))
    try checkCount(section, "short_factor", short)
    try checkCount(section, "long_factor", long)
    let factor = try section.optionalNumber("factor") ?? Double(maxPositions) / Double(original)
    let usual = factor <= 1 || original < 2 ? 1 : (1 + log(factor) / log(Double(original))).squareRoot()
    return .longrope(
      short: short, long: long, original: original,
      attentionFactor: try section.optionalNumber("attention_factor") ?? usual)
  }

  private func checkCount(_ section: ConfigurationReader, _ key: String, _ factors: [Double]) throws(SwiftletError) {
    guard factors.count == rotaryDim / 2 else {
      throw section.error("\"\(key)\" must have \(rotaryDim / 2) numbers, one per frequency (got \(factors.count))")
    }
  }

  /// Whether the angles of a position depend on the length of its sequence.
  var dependsOnLength: Bool {
    switch scaling {
    case .dynamic, .longrope: true
    case .none, .linear, .llama3, .yarn, .proportional, .factors: false
    }
  }

  /// Whether keys that were rotated for a sequence of `old` tokens must be recomputed for one of `new`. Dynamic scaling
  /// would need it too, but keeps old keys as they are, in transformers as well as here.
  func changes(from old: Int, to new: Int) -> Bool {
    guard case .longrope(_, _, let original, _) = scaling else { return false }
    return (old <= original) != (new <= original)
  }

  /// The frequencies for a sequence of `length` tokens, in float32 as in transformers: `[rotaryDim / 2]`.
  func frequencies(length: Int) -> [Float] {
    var base = base
    if case .dynamic(let factor, let limit) = scaling, length > limit {
      let growth = factor * Double(length) / Double(limit) - (factor - 1)
      base *= pow(growth, Double(rotaryDim) / Double(max(1, rotaryDim - 2)))
    }
    return (0..<rotaryDim / 2).map { i in
      let power = Float(pow(base, Double(Float(2 * i) / Float(rotaryDim))))
      return scaled(1 / power, power, index: i, length: length)
    }
  }

  private func scaled(_ frequency: Float, _ power: Float, index: Int, length: Int) -> Float {
    switch scaling {
    case .none, .dynamic: return frequency
    case .linear(let factor): return frequency / Float(factor)
    case .proportional(let rotated, let factor): return index < rotated ? frequency / Float(factor) : 0
    case .factors(let factors): return frequency / Float(factors[index])
    case .yarn(let yarn):
      let share = yarn.dividedShare(index, base: base, rotaryDim: rotaryDim)
      return 1 / (Float(yarn.factor) * power) * share + frequency * (1 - share)
    case .longrope(let short, let long, let original, _):
      return 1 / (Float(length > original ? long[index] : short[index]) * power)
    case .llama3(let factor, let low, let high, let original):
      let wavelength = 2 * Float.pi / frequency
      if wavelength > Float(Double(original) / low) { return frequency / Float(factor) }
      if wavelength < Float(Double(original) / high) { return frequency }
      let smooth = (Float(original) / wavelength - Float(low)) / Float(high - low)
      return (1 - smooth) * frequency / Float(factor) + smooth * frequency
    }
  }

  /// The factor of cosines and sines.
  var amplitude: Float {
    switch scaling {
    case .longrope(_, _, _, let attentionFactor): Float(attentionFactor)
    case .yarn(let yarn): Float(yarn.attentionFactor)
    default: 1
    }
  }

  /// The cosines and sines of `positions`; each segment belongs to a sequence of `length` tokens.
  func angles(positions: [Int32], segments: [(tokens: Range<Int>, length: Int)], on backend: any Backend)
    -> RotaryAngles
  {
    let half = rotaryDim / 2
    var cosines = [Float](repeating: 0, count: positions.count * half)
    var sines = cosines
    for (tokens, length) in segments {
      let frequencies = frequencies(length: length)
      for row in tokens {
        for i in 0..<half {
          let angle = Double(Float(positions[row]) * frequencies[i])
          cosines[row * half + i] = Float(cos(angle)) * amplitude
          sines[row * half + i] = Float(sin(angle)) * amplitude
        }
      }
    }
    func tensor(_ values: [Float]) -> Tensor { backend.tensor(values, [positions.count, half]) }
    var queries: (cosines: Tensor, sines: Tensor)?
    if let queryGrowth {
      let factors = positions.flatMap { Array(repeating: queryGrowth.factor(at: $0), count: half) }
      queries = (tensor(zip(cosines, factors).map(*)), tensor(zip(sines, factors).map(*)))
    }
    return RotaryAngles(cosines: tensor(cosines), sines: tensor(sines), queries: queries)
  }
}
