/// The 256 levels of the dynamic code (Dettmers 2015) by which bitsandbytes holds optimizer states in bytes: decades
/// from 10⁻⁷ to 1, each with twice the levels of the one below it, and 0 and 1.
public struct ByteMap: Sendable {
  /// For values of either sign.
  public static let signed = ByteMap(isSigned: true)
  /// For values from 0 up; twice as fine.
  public static let unsigned = ByteMap(isSigned: false)

  /// The levels, rising, as shares of a block's largest magnitude.
  public let values: [Float]
  /// Halfway between neighbours; the last one infinite, so that every level has one above it.
  let boundaries: [Float]
  /// The level of the least number whose first 16 bits are the index.
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
      let least = min(low, high)  // not a number where both are none: then any level does
      return UInt8(clamping: boundaries.firstIndex { !(least > $0) } ?? 255)
    }
  }

  /// As torch computes it in float32: from both ends towards the middle, each product and sum rounded once.
  private static func linearSpace(from start: Float, to end: Float, count: Int) -> [Float] {
    let step = (end - start) / Float(count - 1)
    return (0..<count).map { index in
      index < count / 2
        ? start.addingProduct(step, Float(index)) : end.addingProduct(-step, Float(count - 1 - index))
    }
  }
}
