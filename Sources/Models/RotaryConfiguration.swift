import Diagnostics
import Foundation
import OrderedJSON
import Tensors

/// Rotary positions (Su et al. 2021) and the ways to stretch them beyond the length a model was trained on, as
/// transformers' `modeling_rope_utils` computes them.
public struct RotaryConfiguration: Sendable, Hashable {
  /// `rope_theta`
  public var base: Double
  /// Dimensions of a head that are rotated: `head_dim` times `partial_rotary_factor`.
  public var rotated: Int
  /// How frequencies change with length.
  public var scaling: Scaling

  /// `rope_type` and its parameters.
  public enum Scaling: Sendable, Hashable {
    case none
    /// Positions divided by `factor`.
    case linear(factor: Double)
    /// A base that grows once a sequence is longer than `limit`.
    case dynamic(factor: Double, limit: Int)
    /// Llama 3.1: low frequencies divided, high ones kept, a smooth change between.
    case llama3(factor: Double, lowFrequencyFactor: Double, highFrequencyFactor: Double, original: Int)
    /// Phi-3: a factor for each frequency, one set up to `original` and one beyond; cosines and sines scaled.
    case longrope(short: [Double], long: [Double], original: Int, attentionFactor: Double)
    /// Frequencies divided by given factors (`rope_freqs.weight` of a GGUF file).
    case factors([Double])
  }

  /// Positions of these parts.
  public init(base: Double, rotated: Int, scaling: Scaling = .none) {
    self.base = base
    self.rotated = rotated
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
      throw config.error("rope_theta and partial_rotary_factor must be positive, the latter at most 1")
    }
    rotated = Int(Double(headDim) * share) / 2 * 2
    guard rotated > 0 else { throw config.error("partial_rotary_factor rotates no dimension of a head") }
    scaling = .none
    guard let section else { return }
    var type = section.json["rope_type"]?.string ?? section.json["type"]?.string ?? "default"
    if type == "su" { type = "longrope" }
    func required(_ key: String) throws(SwiftletError) -> Double {
      guard let value = try section.optionalNumber(key) else { throw section.error("\"\(key)\" is missing") }
      guard value > 0 else { throw section.error("\"\(key)\" must be positive") }
      return value
    }
    switch type {
    case "default": break
    case "factors":
      let factors = try section.numbers("factors")
      guard factors.count == rotated / 2 else { throw section.error("factors needs \(rotated / 2) numbers") }
      scaling = .factors(factors)
    case "linear": scaling = .linear(factor: try required("factor"))
    case "dynamic": scaling = .dynamic(factor: try required("factor"), limit: maxPositions)
    case "llama3":
      scaling = .llama3(
        factor: try required("factor"), lowFrequencyFactor: try required("low_freq_factor"),
        highFrequencyFactor: try required("high_freq_factor"),
        original: try section.size("original_max_position_embeddings"))
    case "longrope":
      let key = "original_max_position_embeddings"
      let inner = try section.optionalSize(key)
      let outer = try config.optionalSize(key)
      let original = inner ?? outer ?? maxPositions
      let short = try section.numbers("short_factor")
      let long = try section.numbers("long_factor")
      guard short.count == rotated / 2, long.count == rotated / 2 else {
        throw section.error("short_factor and long_factor need \(rotated / 2) numbers each")
      }
      let factor = try section.optionalNumber("factor") ?? Double(maxPositions) / Double(original)
      let usual = factor <= 1 || original < 2 ? 1 : (1 + log(factor) / log(Double(original))).squareRoot()
      scaling = .longrope(
        short: short, long: long, original: original,
        attentionFactor: try section.optionalNumber("attention_factor") ?? usual)
    default:
      throw section.error(
        "rope_type \"\(type)\" is not supported; known are default, linear, dynamic, llama3, longrope")
    }
  }

  /// Whether the angles of a position depend on how long its sequence is.
  var dependsOnLength: Bool {
    switch scaling {
    case .dynamic, .longrope: true
    case .none, .linear, .llama3, .factors: false
    }
  }

  /// Whether keys that were rotated for a sequence of `old` positions must be made again for one of `new`. Dynamic
  /// scaling would need it too, but leaves them as they were, in transformers and here.
  func changes(from old: Int, to new: Int) -> Bool {
    guard case .longrope(_, _, let original, _) = scaling else { return false }
    return (old <= original) != (new <= original)
  }

  /// Frequencies for a sequence of `length` positions, in float32 as the reference has them.
  func frequencies(length: Int) -> [Float] {
    var base = base
    if case .dynamic(let factor, let limit) = scaling, length > limit {
      let growth = factor * Double(length) / Double(limit) - (factor - 1)
      base *= pow(growth, Double(rotated) / Double(max(1, rotated - 2)))
    }
    return (0..<rotated / 2).map { i in
      let power = Float(pow(base, Double(Float(2 * i) / Float(rotated))))
      return scaled(1 / power, power, index: i, length: length)
    }
  }

  private func scaled(_ frequency: Float, _ power: Float, index: Int, length: Int) -> Float {
    switch scaling {
    case .none, .dynamic: return frequency
    case .linear(let factor): return frequency / Float(factor)
    case .factors(let factors): return frequency / Float(factors[index])
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

  /// What cosines and sines are multiplied by.
  var amplitude: Float {
    if case .longrope(_, _, _, let attentionFactor) = scaling { Float(attentionFactor) } else { 1 }
  }

  /// Cosines and sines for `positions`, in stretches that each belong to a sequence of the given length.
  func angles(positions: [Int32], segments: [(tokens: Range<Int>, length: Int)], on backend: any Backend)
    -> RotaryAngles
  {
    let half = rotated / 2
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
    return RotaryAngles(
      cosines: backend.tensor(cosines, [positions.count, half]), sines: backend.tensor(sines, [positions.count, half]))
  }
}
