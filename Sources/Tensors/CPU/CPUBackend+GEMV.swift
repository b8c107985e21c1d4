import CKernels

/// Matrix-vector products for decoding: products with very few rows, which read each weight once, in its storage
/// format.
extension CPUBackend {
  /// The maximum number of rows for GEMV, whatever the format. Larger products are worth packing their operands.
  static let maxGEMVRows = 32

  /// Whether a product can use GEMV: few rows, and right operands `[n, depth]`.
  func isGEMV(_ product: Product) -> Bool {
    product.terms.allSatisfy { term in
      guard term.left.packed == nil, !term.left.isTransposed, term.transposed, let right = term.right.matrix else {
        return false
      }
      return term.left.rows <= ck_max_gemv_rows(right.format)
    }
  }

  /// Computes products that can all use GEMV. The rows of all their weights are divided among the threads at once.
  func computeGEMV(_ products: [Product]) {
    var rows: [PreparedRows] = []
    var terms: [GEMVTerm] = []
    var sums: [GEMVSum] = []
    terms.reserveCapacity(2 * products.count)
    sums.reserveCapacity(products.count)
    for product in products {
      let first = terms.count
      for term in product.terms {
        guard let right = term.right.matrix else { preconditionFailure("\(term.right.type) can't be read by kernels") }
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
    let ranges = GEMVRanges(
      rows: sums.last?.endRow ?? 0, depth: terms.first?.right.columns ?? 0,
      isDequantized: terms.contains { $0.prepared == nil }, threads: threadCount)
    // Through pointers: each task would retain the arrays, whose counts all threads then write to.
    terms.withUnsafeBufferPointer { terms in
      sums.withUnsafeBufferPointer { sums in
        pool.run(ranges.count) { task in
          let range = ranges[task]
          for sum in sums {
            let begin = max(range.lowerBound - sum.firstRow, 0)
            let end = min(range.upperBound - sum.firstRow, sum.n)
            guard begin < end else { continue }
            for number in sum.terms {
              withUnsafePointer(to: terms[number].right) {
                ck_gemv(
                  terms[number].x, terms[number].stride, terms[number].prepared, sum.m, $0, sum.out, sum.stride,
                  sum.accumulate || number > sum.terms.lowerBound, begin, end)
              }
            }
          }
        }
      }
    }
    withExtendedLifetime(rows) {}
  }

  private struct GEMVTerm {
    let x: UnsafePointer<Float>
    let stride: Int
    let prepared: UnsafePointer<Float>?
    let right: ck_matrix
  }

  private struct GEMVSum {
    let terms: Range<Int>
    let m: Int
    let out: UnsafeMutablePointer<Float>
    let stride: Int
    let accumulate: Bool
    /// The number of its first row when the rows of all sums are counted consecutively.
    let firstRow: Int
    let n: Int

    var endRow: Int { firstRow + n }
  }

  /// Divides the rows of the weights into short ranges. A thread reads consecutive ranges, so it streams through
  /// memory, and other threads take over the last ranges of a thread that is delayed.
  private struct GEMVRanges {
    private let rows: Int
    private let size: Int

    init(rows: Int, depth: Int, isDequantized: Bool, threads: Int) {
      // Threads write to different cache lines, and dequantize groups of three or four rows.
      let line = isDequantized ? 48 : 16
      self.rows = rows
      size = max(line, min(rows / (16 * threads), 262_144 / max(1, depth)) / line * line)
    }

    var count: Int { (rows + size - 1) / size }

    subscript(task: Int) -> Range<Int> { task * size..<min(rows, (task + 1) * size) }
  }

  /// Activations converted to the form that the GEMV kernel for one storage format reads.
  private struct PreparedRows {
    let source: UnsafePointer<Float>
    let count: Int
    let depth: Int
    let format: ck_format
    let memory: Tensor
  }

  /// Converts activations for a storage format, or returns those converted for another layer with the same input; nil
  /// for more rows than are worth it.
  private func prepared(
    _ rows: Columns, for format: ck_format, _ known: inout [PreparedRows]
  ) -> UnsafePointer<Float>? {
    guard rows.rows <= ck_max_prepared_rows(format) else { return nil }
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
