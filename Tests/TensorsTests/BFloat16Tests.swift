import TensorReferences
import Tensors
import Testing

/// Products whose operands are rounded to bfloat16 if the processor multiplies it, or to float16 on a GPU's matrix
/// units; otherwise they are float32 products.
struct BFloat16Tests {
  /// The processors that round operands to bfloat16.
  private static let rounding: [ComputeTarget] = [.processor(.amx), .processor(.avx512bf16)]

  /// Rounds to the nearest bfloat16, ties to even.
  private func rounded(_ x: Float) -> Float {
    let bits = x.bitPattern
    return Float(bitPattern: (bits &+ 0x7FFF &+ (bits >> 16 & 1)) & 0xFFFF_0000)
  }

  /// Expects the result of `reference` for rounded operands if the target rounds, otherwise for the operands
  /// themselves. Products of bfloat16 are exact in float32, so only the additions round: 2e-6.
  private func expectProduct(
    _ a: [Float], _ b: [Float], m: Int, n: Int, k: Int, leftTransposed: Bool = false, transposed: Bool,
    _ left: (any Backend) -> Tensor, _ right: (any Backend) -> Tensor,
    _ name: String
  ) {
    func reference(_ a: [Float], _ b: [Float]) -> [Double] {
      referenceProduct(a, b, m: m, n: n, k: k, leftTransposed: leftTransposed, transposed: transposed)
    }
    let exact = reference(a, b)
    let coarse = reference(a.map(rounded), b.map(rounded))
    let results = Backends.results { backend in
      let operand = backend.leftOperand(Columns(left(backend)), transposed: leftTransposed, precision: .bfloat16)
      let into = backend.tensor([Float](repeating: 1, count: m * n), [m, n])
      backend.compute([
        Product([ProductTerm(operand, right(backend), transposed: transposed)], into: Columns(into), accumulate: true)
      ])
      return [backend.floats(into), [backend.multipliesBFloat16 ? 1 : 0]]
    }
    for (target, values) in results {
      let isRounded = values[1] == [1] && m > 4
      let expected = (isRounded && target != .gpu ? coarse : exact).map { $0 + 1 }
      #expect(worstError(values[0], expected) < (isRounded && target == .gpu ? 2e-3 : 2e-6), "\(target), \(name)")
      let hasUnits =
        target == .gpu ? Backends.gpu?.information.hasMatrixUnits == true : Self.rounding.contains(target)
      #expect((values[1] == [1]) == hasUnits)
    }
  }

  @Test(
    arguments: [
      (1, 1), (2, 7), (7, 2), (15, 31), (16, 32), (17, 33), (31, 15), (33, 17), (48, 191), (64, 193), (40, 384),
      (65, 385), (35, 801),
    ], [false, true])
  func shapes(_ size: (n: Int, k: Int), transposed: Bool) {
    let (n, k) = size
    let b = Operand(transposed ? [n, k] : [k, n], seed: 2)
    for m in [1, 4, 5, 8, 11, 12, 13, 64, 97] {
      for leftTransposed in [false, true] {
        let a = Operand(leftTransposed ? [k, m] : [m, k], seed: m)
        expectProduct(
          a.values, b.values, m: m, n: n, k: k, leftTransposed: leftTransposed, transposed: transposed,
          { $0.tensor(a.values, a.shape) }, { $0.tensor(b.values, b.shape) },
          "\(m) rows, left operand transposed: \(leftTransposed)")
      }
    }
  }

  @Test(arguments: StoredBlocks.all)
  func formats(_ blocks: StoredBlocks) {
    let rows = 40
    let values = (0..<rows / 4).flatMap { _ in blocks.values }
    for transposed in [true, false] {
      let (n, k) = transposed ? (rows, blocks.columns) : (blocks.columns, rows)
      let a = Operand([17, k], seed: 3)
      expectProduct(
        a.values, values, m: 17, n: n, k: k, transposed: transposed,
        { $0.tensor(a.values, a.shape) },
        { $0.permutedRows(blocks.tensor($0), (0..<rows).map { $0 % 4 }) }, "\(blocks), transposed: \(transposed)")
    }
  }

  /// A sum of a rounded and an unrounded term of different depths.
  @Test func sumsOfTerms() {
    let (m, n) = (30, 41)
    let a = [Operand([m, 200], seed: 1), Operand([m, 7], seed: 2)]
    let b = [Operand([n, 200], seed: 3), Operand([n, 7], seed: 4)]
    for (target, values) in Backends.results({ backend in
      let terms = zip(a, b).enumerated().map { index, pair in
        ProductTerm(
          backend.leftOperand(
            Columns(backend.tensor(pair.0.values, pair.0.shape)), transposed: false,
            precision: index == 0 ? .bfloat16 : .float32),
          backend.tensor(pair.1.values, pair.1.shape), transposed: true)
      }
      let into = backend.empty([m, n], .float32)
      backend.compute([Product(terms, into: Columns(into))])
      return [backend.floats(into)]
    }) {
      let rounds = Self.rounding.contains(target)
      var expected = referenceProduct(
        rounds ? a[0].values.map(rounded) : a[0].values, rounds ? b[0].values.map(rounded) : b[0].values, m: m, n: n,
        k: 200, transposed: true)
      let rest = referenceProduct(a[1].values, b[1].values, m: m, n: n, k: 7, transposed: true)
      for i in expected.indices { expected[i] += rest[i] }
      #expect(worstError(values[0], expected) < 2e-6, "\(target)")
    }
  }
}
