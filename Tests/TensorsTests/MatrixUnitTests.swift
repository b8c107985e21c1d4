import TensorReferences
import Tensors
import Testing

/// Products on a GPU's matrix units, which take float16. `Scripts/check-gpu --matrix-units` runs these; `BFloat16Tests`
/// checks all shapes and formats.
@Suite(.enabled(if: Backends.expectsMatrixUnits)) struct MatrixUnitTests {
  private static func product(
    _ a: [Float], _ b: [Float], m: Int, n: Int, k: Int, leftTransposed: Bool, transposed: Bool
  ) throws -> [Float] {
    let gpu = try #require(Backends.gpu)
    #expect(gpu.multipliesBFloat16)
    let left = gpu.tensor(a, leftTransposed ? [k, m] : [m, k])
    let right = gpu.tensor(b, transposed ? [n, k] : [k, n])
    let operand = gpu.leftOperand(Columns(left), transposed: leftTransposed, precision: .bfloat16)
    let into = gpu.empty([m, n], .float32)
    gpu.compute([Product([ProductTerm(operand, right, transposed: transposed)], into: Columns(into))])
    return gpu.floats(into)
  }

  /// Rows and columns of very different magnitudes keep their precision: each is within 2e-3 relative to its own scale.
  @Test(arguments: [false, true], [false, true]) func magnitudes(_ leftTransposed: Bool, transposed: Bool) throws {
    let (m, n, k) = (37, 41, 90)
    let magnitudes: [Float] = [1e-9, 1, 1e-20, 1e6, 3e-5, 1e20]
    var a = Operand([m, k], seed: 1).values
    var b = Operand([n, k], seed: 2).values
    for i in a.indices { a[i] *= magnitudes[i / k % magnitudes.count] }
    for i in b.indices { b[i] *= i / k % 2 == 0 ? 1e-7 : 100 }
    let expected = referenceProduct(a, b, m: m, n: n, k: k, transposed: true)
    func transpose(_ x: [Float], _ rows: Int) -> [Float] {
      (0..<k).flatMap { column in (0..<rows).map { x[$0 * k + column] } }
    }
    let found = try Self.product(
      leftTransposed ? transpose(a, m) : a, transposed ? b : transpose(b, n), m: m, n: n, k: k,
      leftTransposed: leftTransposed, transposed: transposed)
    for row in 0..<m {
      for parity in 0..<2 {
        let places = stride(from: parity, to: n, by: 2).map { row * n + $0 }
        let error = worstError(places.map { found[$0] }, places.map { expected[$0] })
        #expect(error < 2e-3, "row \(row) of magnitude \(magnitudes[row % magnitudes.count])")
      }
    }
  }

  /// NaN and infinity make only their own rows non-finite.
  @Test func nonFiniteValuesStayInTheirRows() throws {
    let (m, n, k) = (8, 5, 20)
    var a = Operand([m, k], seed: 1).values
    a[2 * k + 3] = .nan
    a[4 * k + 7] = .infinity
    let found = try Self.product(
      a, Operand([n, k], seed: 2).values, m: m, n: n, k: k, leftTransposed: false, transposed: true)
    for row in 0..<m {
      #expect(found[row * n..<(row + 1) * n].allSatisfy(\.isFinite) == (row != 2 && row != 4), "row \(row)")
    }
  }
}
