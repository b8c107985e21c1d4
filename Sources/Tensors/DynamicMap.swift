/// The 256 levels that an 8-bit code can stand for: bitsandbytes' dynamic map (Dettmers 2015, arXiv:1511.04561;
/// `create_dynamic_map`). The decades from 10⁻⁷ to 1, each with twice as many levels as the one below it, and 0 and 1.
///
/// Moments of 8-bit optimizers use both maps, scales with double quantization the signed one.
public struct DynamicMap: Sendable {
  /// For values of either sign.
  public static let signed = DynamicMap(isSigned: true)
  /// For values from 0 up, at twice the resolution.
  public static let unsigned = DynamicMap(isSigned: false)

  /// The levels in ascending order, relative to a block's largest magnitude.
  public let values: [Float]
  /// The midpoints between neighboring levels; the last one is infinite, so that every level has one above it.
  let boundaries: [Float]
  /// The level of the smallest number whose upper 16 bits are the index.
  let first: [UInt8]

  init(isSigned: Bool) {
    var values: [Float] = [0, 1]
    for exponent in 0..<7 {
      let scale = Float([1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1][exponent])
      let edges = Self.linearSpace(from: 0.1, to: 1, count: (isSigned ? 1 : 2) << exponent + 1)
      for (low, high) in zip(edges, edges.dropFirst()) {
        let level = scale * ((low + high) / 2)
        values.append(level)
        if isSigned { values.append(-level) }
      }
    }
    values.sort()
    let boundaries = zip(values, values.dropFirst()).map { ($0 + $1) / 2 } + [.infinity]
    self.values = values
    self.boundaries = boundaries
    first = (0..<1 << 16).map { bits in
      let (low, high) = (Float(bitPattern: UInt32(bits) << 16), Float(bitPattern: UInt32(bits) << 16 | 0xFFFF))
      let least = min(low, high)  // NaN if both are; then any level will do
      return UInt8(clamping: boundaries.firstIndex { !(least > $0) } ?? 255)
    }
  }

  /// `torch.linspace` in float32: computed from both ends toward the middle, each product and sum rounded once.
  private static func linearSpace(from start: Float, to end: Float, count: Int) -> [Float] {
    let step = (end - start) / Float(count - 1)
    return (0..<count).map { index in
      index < count / 2
        ? start.addingProduct(step, Float(index)) : end.addingProduct(-step, Float(count - 1 - index))
    }
  }

  // MARK: bitsandbytes' lookup table

  /// The signed code that bitsandbytes' CPU kernels choose for a scale: they don't search for the nearest level but
  /// look up the number, rounded to one of 65,536 even steps from −1 to 1. Numbers outside are clamped; NaN has code 0.
  static func lookupCode(of number: Float) -> UInt8 {
    if number.isNaN { return 0 }
    let clamped = min(max(number, -1), 1)
    return lookupTable[Int((clamped + 1) * 32767.5 + 0.5)]
  }

  /// The signed code nearest to each step.
  private static let lookupTable: [UInt8] = {
    let values = signed.values
    var code = 0
    return (0..<1 << 16).map { index in
      let number = -1 + 2 * Double(index) / 65535
      func distance(_ code: Int) -> Double { abs(number - Double(values[code])) }
      while code < 255, distance(code + 1) < distance(code) { code += 1 }
      return UInt8(code)
    }
  }()
}
