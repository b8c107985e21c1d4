import CKernels

extension CPUBackend {
  /// Up to this many rows a product reads its right operand straight from memory instead of packing it.
  private static let fewRows = 4

  /// See ``Backend``.
  public func leftOperand(_ source: Columns, transposed: Bool) -> LeftOperand {
    let rows = transposed ? source.count : source.rows
    let depth = transposed ? source.rows : source.count
    // A transposed matrix has what a tile needs side by side; few rows are read as they are.
    let packed = transposed || rows <= Self.fewRows ? nil : pack(source)
    return LeftOperand(rows: rows, depth: depth, source: source, isTransposed: transposed, packed: packed)
  }

  private func pack(_ source: Columns) -> Tensor {
    let packed = empty([ck_packed_count(source.rows, source.count)])
    let from = source.pointer
    let to: UnsafeMutablePointer<Float> = packed.pointer()
    let tileRows = Int(ck_tile_rows)
    pool.runRanges((source.rows + tileRows - 1) / tileRows, grain: max(1, 4096 / max(1, source.count))) { range in
      ck_pack_left(to, from, source.stride, source.rows, source.count, range.lowerBound, range.upperBound)
    }
    return packed
  }

  /// See ``Backend``.
  public func compute(_ products: [Product]) {
    let work = products.map(prepare)
    // Every unit of every product is a task; several small products then share one round of the pool.
    var firstTask = [0]
    for item in work { firstTask.append(firstTask[firstTask.count - 1] + item.taskCount) }
    pool.run(firstTask[work.count]) { task in
      var index = 0
      while firstTask[index + 1] <= task { index += 1 }
      work[index].run(task - firstTask[index])
    }
  }

  private struct Work {
    let taskCount: Int
    let run: (Int) -> Void
  }

  private func prepare(_ product: Product) -> Work {
    let m = product.terms[0].left.rows
    let n = product.into.count
    let out = product.into.pointer
    let stride = product.into.stride
    for term in product.terms {
      precondition(term.left.rows == m && product.into.rows == m, "a product's rows are its left operand's")
      precondition(term.right.rows == (term.transposed ? n : term.left.depth), "operands of a product must fit")
      precondition(term.right.columns == (term.transposed ? term.left.depth : n), "operands of a product must fit")
    }
    if product.terms.allSatisfy({ $0.left.packed == nil && !$0.left.isTransposed && $0.transposed }) {
      return fewRowsWork(product, m: m, n: n, out: out, stride: stride)
    }
    var packedOperands: [Tensor] = []
    let tileRows = Int(ck_tile_rows)
    let terms = product.terms.compactMap { term -> ck_term? in
      guard let right = term.right.matrix else { return nil }
      if term.left.isTransposed {
        return ck_term(
          left: term.left.source.pointer, left_tile: tileRows, left_step: term.left.source.stride, k: term.left.depth,
          right: right, transposed: term.transposed)
      }
      let packed = term.left.packed ?? pack(term.left.source)
      packedOperands.append(packed)
      return ck_term(
        left: packed.pointer(), left_tile: tileRows * term.left.depth, left_step: tileRows, k: term.left.depth,
        right: right, transposed: term.transposed)
    }
    precondition(terms.count == product.terms.count, "a product reads float and block types only")
    let units = (n + Int(ck_unit_columns) - 1) / Int(ck_unit_columns)
    let accumulate = product.accumulate
    return Work(taskCount: units) { [packedOperands] unit in
      withExtendedLifetime(packedOperands) {
        ck_sum_of_products(terms, terms.count, m, n, out, stride, accumulate, unit, unit + 1)
      }
    }
  }

  /// Tasks of a few hundred thousand elements each: long enough to be worth a hand-over, short enough to share evenly.
  private func fewRowsWork(
    _ product: Product, m: Int, n: Int, out: UnsafeMutablePointer<Float>, stride: Int
  ) -> Work {
    let depth = product.terms.map(\.left.depth).max() ?? 1
    let rowsPerTask = max(8, min(n, 65536 / max(1, depth)))
    return Work(taskCount: (n + rowsPerTask - 1) / rowsPerTask) { task in
      let end = min(n, (task + 1) * rowsPerTask)
      for (index, term) in product.terms.enumerated() {
        guard var right = term.right.matrix else { continue }
        let left = term.left.source
        ck_few_rows(
          left.pointer, left.stride, m, &right, out, stride, product.accumulate || index > 0, task * rowsPerTask, end)
      }
    }
  }
}
