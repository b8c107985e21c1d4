import CKernels

/// Products of a few rows, as in generation. They read their right operands straight from memory, each once.
extension CPUBackend {
  /// Up to this many rows a product packs neither operand.
  static let maxGEMVRows = 4

  /// Whether a product is one of few rows with matrices whose rows run along the depth.
  func isGEMV(_ product: Product) -> Bool {
    product.terms.allSatisfy { $0.left.packed == nil && !$0.left.isTransposed && $0.transposed }
  }

  /// Computes products that are all of few rows. The rows of their matrices are shared out in a single round.
  func computeGEMV(_ products: [Product]) {
    var rows: [PreparedRows] = []
    var terms: [GEMVTerm] = []
    var sums: [GEMVSum] = []
    terms.reserveCapacity(2 * products.count)
    sums.reserveCapacity(products.count)
    for product in products {
      let first = terms.count
      for term in product.terms {
        guard let right = term.right.matrix else { preconditionFailure("a product reads float and block types only") }
        let source = term.left.source
        terms.append(
          GEMVTerm(
            x: source.pointer, stride: source.stride, prepared: prepared(source, for: right.format, &rows),
            right: right))
      }
      sums.append(
        GEMVSum(
          terms: first..<terms.count, m: product.into.rows, out: product.into.pointer, stride: product.into.stride,
          accumulate: product.accumulate, firstRow: sums.last?.endRow ?? 0, n: product.into.count))
    }
    let shares = GEMVRanges(
      rows: sums.last?.endRow ?? 0, depth: terms.first?.right.columns ?? 0, threads: threadCount)
    pool.run(shares.count) { task in
      let range = shares[task]
      for sum in sums where range.overlaps(sum.firstRow..<sum.endRow) {
        let begin = max(range.lowerBound - sum.firstRow, 0)
        let end = min(range.upperBound - sum.firstRow, sum.n)
        for number in sum.terms {
          withUnsafePointer(to: terms[number].right) {
            ck_gemv(
              terms[number].x, terms[number].stride, terms[number].prepared, sum.m, $0, sum.out, sum.stride,
              sum.accumulate || number > sum.terms.lowerBound, begin, end)
          }
        }
      }
    }
    withExtendedLifetime(rows) {}
  }

  private struct GEMVTerm {
    let x: UnsafePointer<Float>
    let stride: Int
    let prepared: UnsafePointer<Float>
    let right: ck_matrix
  }

  private struct GEMVSum {
    let terms: Range<Int>
    let m: Int
    let out: UnsafeMutablePointer<Float>
    let stride: Int
    let accumulate: Bool
    /// Where its rows stand when those of all sums are counted through.
    let firstRow: Int
    let n: Int

    var endRow: Int { firstRow + n }
  }

  /// Cuts the rows of matrices into short pieces. A thread reads those of its lane one after the other, so it streams
  /// through memory, and a thread that is slower for a moment leaves its last pieces to others.
  private struct GEMVRanges {
    private let rows: Int
    private let size: Int

    init(rows: Int, depth: Int, threads: Int) {
      // Threads write to different cache lines.
      let line = 16
      self.rows = rows
      size = max(line, min(rows / (16 * threads), 262_144 / max(1, depth)) / line * line)
    }

    var count: Int { (rows + size - 1) / size }

    subscript(task: Int) -> Range<Int> { task * size..<min(rows, (task + 1) * size) }
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
    let memory = empty([rows.rows * ck_gemv_prepared_count(format, rows.count)])
    ck_gemv_prepare(source, rows.stride, rows.rows, format, rows.count, memory.pointer())
    known.append(PreparedRows(source: source, count: rows.rows, depth: rows.count, format: format, memory: memory))
    return UnsafePointer(memory.pointer())
  }
}
