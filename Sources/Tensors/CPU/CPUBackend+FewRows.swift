import CKernels

/// Products of a few rows, as in generation. They read their right operands straight from memory, each once.
extension CPUBackend {
  /// Up to this many rows a product packs neither operand.
  static let fewRows = 4

  /// Whether a product is one of few rows with matrices whose rows run along the depth.
  func isOfFewRows(_ product: Product) -> Bool {
    product.terms.allSatisfy { $0.left.packed == nil && !$0.left.isTransposed && $0.transposed }
  }

  /// Computes products that are all of few rows. The rows of their matrices are shared out in a single round.
  func computeFewRows(_ products: [Product]) {
    var rows: [PreparedRows] = []
    var terms: [FewRowsTerm] = []
    var sums: [FewRowsSum] = []
    for product in products {
      let first = terms.count
      for term in product.terms {
        guard let right = term.right.matrix else { preconditionFailure("a product reads float and block types only") }
        let source = term.left.source
        terms.append(
          FewRowsTerm(
            x: source.pointer, stride: source.stride, prepared: prepared(source, for: right.format, &rows),
            right: right))
      }
      let n = product.into.count
      // Long enough to be worth a hand-over, and for reading ahead; short enough to share evenly.
      let shares = (n + 2 * threadCount - 1) / (2 * threadCount)
      sums.append(
        FewRowsSum(
          terms: first..<terms.count, m: product.into.rows, n: n, out: product.into.pointer,
          stride: product.into.stride, accumulate: product.accumulate,
          rowsPerTask: max(8, min(shares, 262_144 / max(1, product.terms[0].left.depth))),
          firstTask: sums.last?.endTask ?? 0))
    }
    pool.run(sums.last?.endTask ?? 0) { task in
      var index = 0
      while sums[index].endTask <= task { index += 1 }
      let sum = sums[index]
      let begin = (task - sum.firstTask) * sum.rowsPerTask
      for number in sum.terms {
        withUnsafePointer(to: terms[number].right) {
          ck_few_rows(
            terms[number].x, terms[number].stride, terms[number].prepared, sum.m, $0, sum.out, sum.stride,
            sum.accumulate || number > sum.terms.lowerBound, begin, min(sum.n, begin + sum.rowsPerTask))
        }
      }
    }
    withExtendedLifetime(rows) {}
  }

  private struct FewRowsTerm {
    let x: UnsafePointer<Float>
    let stride: Int
    let prepared: UnsafePointer<Float>
    let right: ck_matrix
  }

  private struct FewRowsSum {
    let terms: Range<Int>
    let m: Int
    let n: Int
    let out: UnsafeMutablePointer<Float>
    let stride: Int
    let accumulate: Bool
    let rowsPerTask: Int
    let firstTask: Int

    var endTask: Int { firstTask + (n + rowsPerTask - 1) / rowsPerTask }
  }

  /// Few rows as their products with matrices of a format read them.
  private struct PreparedRows {
    let source: UnsafePointer<Float>
    let count: Int
    let depth: Int
    let format: ck_format
    let memory: Tensor
  }

  /// Layers that share their input mostly share its format, and prepare it once.
  private func prepared(
    _ rows: Columns, for format: ck_format, _ known: inout [PreparedRows]
  ) -> UnsafePointer<Float> {
    let source = UnsafePointer(rows.pointer)
    for other in known where other.source == source && other.format == format {
      if other.count == rows.rows && other.depth == rows.count { return UnsafePointer(other.memory.pointer()) }
    }
    let memory = empty([rows.rows * ck_prepared_count(format, rows.count)])
    ck_prepare_few_rows(source, rows.stride, rows.rows, format, rows.count, memory.pointer())
    known.append(PreparedRows(source: source, count: rows.rows, depth: rows.count, format: format, memory: memory))
    return UnsafePointer(memory.pointer())
  }
}
