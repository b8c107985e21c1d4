/// Reproducible random numbers (SplitMix64).
package struct Samples: RandomNumberGenerator {
  private var state: UInt64

  package init(_ seed: Int) { state = UInt64(seed) }

  package mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  /// Uniform in ±range.
  package mutating func floats(_ count: Int, range: Float = 1) -> [Float] {
    (0..<count).map { _ in Float.random(in: -range...range, using: &self) }
  }
}

/// The largest |found − expected|, relative to the expected value or, if that is larger, to the root mean square of
/// all of them; infinite if the counts differ or a value is NaN.
package func worstError(_ found: [Float], _ expected: [Double]) -> Double {
  guard found.count == expected.count else { return .infinity }
  let mean = (expected.reduce(0) { $0 + $1 * $1 } / Double(max(1, expected.count))).squareRoot()
  var worst = 0.0
  for (x, y) in zip(found, expected) where Double(x) != y {
    let error = abs(Double(x) - y) / max(abs(y), mean)
    if !(error <= worst) { worst = error.isNaN ? .infinity : error }
  }
  return worst
}

/// Whether two arrays have the same bits.
package func sameBits(_ a: [Float], _ b: [Float]) -> Bool { a.map(\.bitPattern) == b.map(\.bitPattern) }

/// The product of a left and a right operand, in double precision: a [m, k], b [n, k] or, if not transposed, [k, n].
package func referenceProduct(
  _ a: [Float], _ b: [Float], m: Int, n: Int, k: Int, leftTransposed: Bool = false, transposed: Bool
) -> [Double] {
  var result = [Double](repeating: 0, count: m * n)
  for i in 0..<m {
    for p in 0..<k {
      let x = Double(leftTransposed ? a[p * m + i] : a[i * k + p])
      for j in 0..<n { result[i * n + j] += x * Double(transposed ? b[j * k + p] : b[p * n + j]) }
    }
  }
  return result
}
