import TensorReferences
import Tensors
import Testing

/// Products of rows in groups, such as the tokens of each expert.
struct GroupedProductTests {
  /// The rows of each group: with some that have none, with one that has all, and so few that tiles have four.
  private static let sizes = [
    [0, 5, 0, 70, 1, 129, 0], [200, 0, 0], [0, 0, 3], [1, 0, 2, 0, 0, 1], [0, 6, 0, 0, 0, 0], [64, 65], [1], [0, 0],
  ]

  private func groups(_ sizes: [Int], _ backend: any Backend) -> RowGroups {
    let group = sizes.enumerated().flatMap { [Int](repeating: $0.offset, count: $0.element) }
    let logits = group.flatMap { own in sizes.indices.map { $0 == own ? Float(9) : 0 } }
    return backend.route(backend.tensor(logits, [group.count, sizes.count]), chosen: 1, normalizes: false).groups
  }

  /// The values of the rows of each group.
  private func divided(_ operand: Operand, _ sizes: [Int]) -> [[Float]] {
    var first = 0
    return sizes.map { size in
      let columns = operand.shape[1]
      defer { first += size }
      return Array(operand.values[first * columns..<(first + size) * columns])
    }
  }

  private func expectClose(
    _ results: [(target: ComputeTarget, values: [[Float]])], _ index: Int, _ expected: [Double], _ name: String,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    for (target, values) in results {
      #expect(worstError(values[index], expected) < 2e-6, "\(target), \(name)", sourceLocation: sourceLocation)
    }
  }

  /// A sum of two terms, stored and added, in columns of a wider matrix.
  @Test(arguments: sizes, [(1, 1), (7, 5), (33, 70), (130, 19)])
  func groupsHaveRightOperands(_ sizes: [Int], _ size: (n: Int, k: Int)) {
    let (rows, (n, k)) = (sizes.reduce(0, +), size)
    let a = [Operand([rows, k], seed: 1), Operand([rows, 3], seed: 2)]
    for transposed in [true, false] {
      let b = sizes.indices.map { group in
        [k, 3].map { Operand(transposed ? [n, $0] : [$0, n], seed: 10 + 2 * group + $0) }
      }
      let results = Backends.results { backend in
        let groups = groups(sizes, backend)
        let rights = b.map { $0.map { backend.tensor($0.values, $0.shape) } }
        let terms = a.enumerated().map { index, operand in
          let left = backend.leftOperand(
            Columns(backend.tensor(operand.values, operand.shape)), transposed: false, precision: .float32,
            groups: groups)
          return ProductTerm(left, rights: { rights[$0][index] }, transposed: transposed)
        }
        let into = backend.tensor([Float](repeating: 9, count: rows * (n + 3)), [rows, n + 3])
        backend.compute([Product(terms, into: Columns(into, 2..<2 + n), groups: groups)])
        let once = backend.floats(into)
        backend.compute([Product(terms, into: Columns(into, 2..<2 + n), accumulate: true, groups: groups)])
        return [once, backend.floats(into)]
      }
      let lefts = a.map { divided($0, sizes) }
      let product = sizes.indices.flatMap { group in
        let parts = [k, 3].enumerated().map { index, depth in
          referenceProduct(
            lefts[index][group], b[group][index].values, m: sizes[group], n: n, k: depth, transposed: transposed)
        }
        return zip(parts[0], parts[1]).map { $0 + $1 }
      }
      for index in 0..<2 {
        let expected = (0..<rows * (n + 3)).map { place in
          let column = place % (n + 3) - 2
          return (0..<n).contains(column) ? Double(index + 1) * product[place / (n + 3) * n + column] : 9
        }
        expectClose(results, index, expected, "transposed: \(transposed), \(index)")
      }
    }
  }

  /// Every group has a result, to which the sum is added or not. Without rows it is zero.
  @Test(arguments: sizes, [(1, 1), (5, 70), (66, 9)])
  func groupsHaveResults(_ sizes: [Int], _ size: (m: Int, n: Int)) {
    let (rows, (m, n)) = (sizes.reduce(0, +), size)
    let left = Operand([rows, 2 * m], seed: 1)
    let right = [Operand([rows, n], seed: 2), Operand([rows, n], seed: 3)]
    let results = Backends.results { backend in
      let groups = groups(sizes, backend)
      let whole = backend.tensor(left.values, left.shape)
      let terms = right.enumerated().map { index, operand in
        ProductTerm(
          backend.leftOperand(
            Columns(whole, index * m..<(index + 1) * m), transposed: true, precision: .float32, groups: groups),
          backend.tensor(operand.values, operand.shape), transposed: false)
      }
      let sums = sizes.map { _ in backend.tensor([Float](repeating: 2, count: m * n), [m, n]) }
      backend.compute([
        Product(terms, into: sums.enumerated().map { (Columns($0.element), $0.offset % 2 == 1) }, groups: groups)
      ])
      return backend.floats(sums)
    }
    let (lefts, rights) = (divided(left, sizes), right.map { divided($0, sizes) })
    for group in sizes.indices {
      var expected = [Double](repeating: group % 2 == 1 ? 2 : 0, count: m * n)
      for index in 0..<2 {
        let columns = (0..<sizes[group]).flatMap { row -> ArraySlice<Float> in
          let first = (2 * row + index) * m
          return lefts[group][first..<first + m]
        }
        let product = referenceProduct(
          columns, rights[index][group], m: m, n: n, k: sizes[group], leftTransposed: true, transposed: false)
        for place in expected.indices { expected[place] += product[place] }
      }
      expectClose(results, group, expected, "group \(group)")
    }
  }

  /// A processor doesn't touch the operands of groups without rows, which may be in a file of which nobody has read them.
  @Test func operandsOfEmptyGroupsAreNotTouched() {
    let backend = Backends.single
    let groups = groups([0, 3, 0, 40], backend)
    let (x, right) = (backend.tensor(Operand([43, 8], seed: 1).values, [43, 8]), backend.empty([5, 8], .float32))
    backend.clear(right)
    let left = backend.leftOperand(Columns(x), transposed: false, precision: .float32, groups: groups)
    var touched: [Int] = []
    let term = ProductTerm(
      left,
      rights: { group in
        touched.append(group)
        return right
      }, transposed: true)
    backend.compute([Product([term], into: Columns(backend.empty([43, 5], .float32)), groups: groups)])
    #expect(touched == [1, 3])
  }

  /// Groups whose operands are stored in different formats, and terms of several formats in one group.
  @Test(arguments: [[3, 0, 70, 5], [0, 1, 1, 1]]) func formatsOfGroups(_ sizes: [Int]) throws {
    let (rows, n, k) = (sizes.reduce(0, +), 12, 256)
    let a = Operand([rows, k], seed: 1)
    let formats: [[ElementType]] = [[.q8_0, .q6_K], [.q4_K, .q4_K], [.q8_0, .float32], [.float32, .q5_0]]
    let blocks = try formats.map { try $0.map { $0 == .float32 ? nil : try StoredBlocks($0) } }
    let plain = Operand([n, k], seed: 5)
    var wide: [[[Float]]] = []
    let results = Backends.results { backend in
      let groups = groups(sizes, backend)
      let rights = blocks.map { own in
        own.map {
          $0?.matrix(rows: n, columns: k, backend) ?? (backend.tensor(plain.values, plain.shape), plain.values)
        }
      }
      wide = rights.map { $0.map { $0.1 } }
      let left = backend.leftOperand(
        Columns(backend.tensor(a.values, a.shape)), transposed: false, precision: .float32, groups: groups)
      let into = backend.empty([rows, n], .float32)
      let terms = (0..<2).map { index in
        ProductTerm(left, rights: { rights[$0][index].0 }, transposed: true)
      }
      backend.compute([Product(terms, into: Columns(into), groups: groups)])
      return [backend.floats(into)]
    }
    let lefts = divided(a, sizes)
    let expected = sizes.indices.flatMap { group in
      let parts = wide[group].map {
        referenceProduct(lefts[group], $0, m: sizes[group], n: n, k: k, transposed: true)
      }
      return zip(parts[0], parts[1]).map { $0 + $1 }
    }
    expectClose(results, 0, expected, "\(sizes)")
  }
}
