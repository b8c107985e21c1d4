import TensorReferences
import Tensors
import Testing

/// Products of every shape, orientation and storage format.
struct ProductTests {
  private static let rowCounts = [1, 2, 3, 4, 5, 6, 7, 13, 64, 97]

  private func expectClose(
    _ results: [(target: ComputeTarget, values: [[Float]])], _ expected: [Double], _ name: String,
    tolerance: Double = 2e-6, sourceLocation: SourceLocation = #_sourceLocation
  ) {
    for (target, values) in results {
      let error = worstError(values[0], expected)
      #expect(error < tolerance, "\(target), \(name)", sourceLocation: sourceLocation)
    }
  }

  @Test(
    arguments: [
      (1, 1), (2, 7), (7, 2), (15, 31), (16, 32), (17, 33), (31, 15), (32, 16), (33, 17), (48, 191), (63, 192),
      (64, 193), (65, 385), (191, 40), (193, 5),
    ], [false, true])
  func shapes(_ size: (n: Int, k: Int), transposed: Bool) {
    let (n, k) = size
    let b = Operand(transposed ? [n, k] : [k, n], seed: 2)
    for m in Self.rowCounts {
      for leftTransposed in [false, true] {
        let a = Operand(leftTransposed ? [k, m] : [m, k], seed: m)
        let results = Backends.results { backend in
          let left = backend.leftOperand(Columns(backend.tensor(a.values, a.shape)), transposed: leftTransposed)
          let into = backend.tensor([Float](repeating: .nan, count: m * n), [m, n])
          let term = ProductTerm(left, backend.tensor(b.values, b.shape), transposed: transposed)
          backend.compute([Product([term], into: Columns(into))])
          let once = backend.floats(into)
          backend.compute([Product([term], into: Columns(into), accumulate: true)])
          return [once, backend.floats(into)]
        }
        let expected = referenceProduct(
          a.values, b.values, m: m, n: n, k: k, leftTransposed: leftTransposed, transposed: transposed)
        let name = "\(m) rows, left operand transposed: \(leftTransposed)"
        expectClose(results, expected, name)
        expectClose(results.map { ($0.target, [$0.values[1]]) }, expected.map { 2 * $0 }, name + ", added twice")
      }
    }
  }

  /// Operands and results that are columns of wider matrices, whose other columns don't change.
  @Test(arguments: [1, 3, 6, 20], [false, true])
  func columnViews(m: Int, leftTransposed: Bool) {
    let (n, k) = (37, 50)
    let b = Operand([n, k], seed: 2)
    let wide = Operand(leftTransposed ? [k, m + 9] : [m, k + 9], seed: 3)
    let a = stride(from: 0, to: wide.values.count, by: wide.shape[1]).flatMap {
      Array(wide.values[$0 + 4..<$0 + wide.shape[1] - 5])
    }
    let results = Backends.results { backend in
      let columns = 4..<wide.shape[1] - 5
      let left = backend.leftOperand(
        Columns(backend.tensor(wide.values, wide.shape), columns), transposed: leftTransposed)
      let into = backend.tensor([Float](repeating: 9, count: m * (n + 8)), [m, n + 8])
      let term = ProductTerm(left, backend.tensor(b.values, b.shape), transposed: true)
      backend.compute([Product([term], into: Columns(into, 3..<3 + n))])
      return [backend.floats(into)]
    }
    let product = referenceProduct(a, b.values, m: m, n: n, k: k, leftTransposed: leftTransposed, transposed: true)
    var expected = [Double](repeating: 9, count: m * (n + 8))
    for i in 0..<m {
      expected.replaceSubrange(i * (n + 8) + 3..<i * (n + 8) + 3 + n, with: product[i * n..<(i + 1) * n])
    }
    expectClose(results, expected, "\(m) rows")
    for (_, values) in results {
      #expect(values[0].indices.allSatisfy { (3..<3 + n).contains($0 % (n + 8)) || values[0][$0] == 9 })
    }
  }

  /// Terms of different depths and orientations; several products in one call, some of them GEMV.
  @Test(arguments: [2, 4, 5, 30])
  func sumsOfTerms(m: Int) {
    let n = 41
    let operands = [(3, true), (200, true), (64, false)].enumerated().map { index, term in
      let (k, transposed) = term
      return (
        a: Operand([m, k], seed: index), b: Operand(transposed ? [n, k] : [k, n], seed: 10 + index), k: k,
        transposed: transposed
      )
    }
    for count in 1...3 {
      let results = Backends.results { backend in
        let terms = operands.prefix(count).map {
          ProductTerm(
            backend.leftOperand(Columns(backend.tensor($0.a.values, $0.a.shape)), transposed: false),
            backend.tensor($0.b.values, $0.b.shape), transposed: $0.transposed)
        }
        let into = [0, 1].map { _ in backend.tensor([Float](repeating: 1, count: m * n), [m, n]) }
        backend.compute([
          Product(terms, into: Columns(into[0]), accumulate: true),
          Product(terms.reversed(), into: Columns(into[1])),
        ])
        return into.map(backend.floats)
      }
      let sum = operands.prefix(count).reduce(into: [Double](repeating: 0, count: m * n)) { sum, term in
        let product = referenceProduct(term.a.values, term.b.values, m: m, n: n, k: term.k, transposed: term.transposed)
        for i in sum.indices { sum[i] += product[i] }
      }
      expectClose(results, sum.map { $0 + 1 }, "\(count) terms, added")
      expectClose(results.map { ($0.target, [$0.values[1]]) }, sum, "\(count) terms")
    }
  }

  /// An empty sum gives zeros, or keeps the result if it accumulates.
  @Test func depthZero() {
    for (_, values) in Backends.results({ backend in
      let left = backend.leftOperand(Columns(backend.empty([0, 7], .float32)), transposed: true)
      let term = ProductTerm(left, backend.empty([0, 20], .float32), transposed: false)
      return [false, true].map { accumulate in
        let into = backend.tensor([Float](repeating: 3, count: 140), [7, 20])
        backend.compute([Product([term], into: Columns(into), accumulate: accumulate)])
        return backend.floats(into)
      }
    }) {
      #expect(values[0] == [Float](repeating: 0, count: 140))
      #expect(values[1] == [Float](repeating: 3, count: 140))
    }
  }

  /// Few rows are multiplied by GEMV, without packing; the results agree with the same rows in a larger product.
  @Test func gemvAgreesWithGEMM() {
    let (n, k) = (70, 333)
    let (a, b) = (Operand([8, k], seed: 1), Operand([n, k], seed: 2))
    for (target, values) in Backends.results({ backend in
      (1...8).map { m in
        let left = backend.leftOperand(Columns(backend.tensor(a.values, a.shape).rows(0..<m)), transposed: false)
        let into = backend.empty([m, n], .float32)
        backend.compute([
          Product([ProductTerm(left, backend.tensor(b.values, b.shape), transposed: true)], into: Columns(into))
        ])
        return backend.floats(into)
      }
    }) {
      for found in values {
        #expect(worstError(found, values[7].prefix(found.count).map(Double.init)) < 2e-6, "\(target)")
      }
    }
  }

  // MARK: Storage formats

  @Test(arguments: StoredBlocks.all)
  func formats(_ blocks: StoredBlocks) {
    // 4 rows as stored; more by repeating them.
    let copies = 10
    let rows = 4 * copies
    let columns = blocks.columns
    let wide = (0..<copies).flatMap { _ in blocks.values }
    for m in [1, 2, 4, 7, 33] {
      for transposed in [true, false] {
        let (n, k) = transposed ? (rows, columns) : (columns, rows)
        let a = Operand([m, k], seed: m)
        let results = Backends.results { backend in
          let right = backend.permutedRows(blocks.tensor(backend), (0..<rows).map { $0 % 4 })
          let into = backend.empty([m, n], .float32)
          let left = backend.leftOperand(Columns(backend.tensor(a.values, a.shape)), transposed: false)
          backend.compute([Product([ProductTerm(left, right, transposed: transposed)], into: Columns(into))])
          return [backend.floats(into)]
        }
        let expected = referenceProduct(a.values, wide, m: m, n: n, k: k, transposed: transposed)
        expectClose(results, expected, "\(blocks), \(m) rows, transposed: \(transposed)")
      }
    }
  }

  /// GEMV takes blocks of 32 in groups of four: no whole group, only whole ones, and each remainder.
  @Test(arguments: StoredBlocks.all.filter { $0.type.blockLength == 32 })
  func gemvOfBlockFormats(_ blocks: StoredBlocks) {
    let (m, n) = (2, 7)
    for k in [32, 64, 96, 128, 160, 320, 480, 512] {
      let a = Operand([m, k], seed: k)
      var wide: [Float] = []
      let results = Backends.results { backend in
        let right = blocks.matrix(rows: n, columns: k, backend)
        wide = right.values
        let into = backend.empty([m, n], .float32)
        let left = backend.leftOperand(Columns(backend.tensor(a.values, a.shape)), transposed: false)
        backend.compute([Product([ProductTerm(left, right.tensor, transposed: true)], into: Columns(into))])
        return [backend.floats(into)]
      }
      let expected = referenceProduct(a.values, wide, m: m, n: n, k: k, transposed: true)
      expectClose(results, expected, "\(blocks), \(k) columns")
    }
  }

  /// float16 and bfloat16 have no blocks: any shape will do.
  @Test(arguments: [ElementType.float16, .bfloat16], [(5, 3), (19, 45), (40, 200)])
  func float16Operands(type: ElementType, size: (n: Int, k: Int)) {
    for m in [1, 3, 9] {
      for transposed in [true, false] {
        let a = Operand([m, size.k], seed: 1)
        let b = Operand(transposed ? [size.n, size.k] : [size.k, size.n], seed: 2)
        let results = Backends.results { backend in
          let right = backend.converted(backend.tensor(b.values, b.shape), to: type)
          let into = backend.empty([m, size.n], .float32)
          let left = backend.leftOperand(Columns(backend.tensor(a.values, a.shape)), transposed: false)
          backend.compute([Product([ProductTerm(left, right, transposed: transposed)], into: Columns(into))])
          return [backend.floats(into), backend.floats(right)]
        }
        let expected = referenceProduct(
          a.values, results[0].values[1], m: m, n: size.n, k: size.k, transposed: transposed)
        expectClose(results, expected, "\(m) rows, transposed: \(transposed)")
      }
    }
  }
}
