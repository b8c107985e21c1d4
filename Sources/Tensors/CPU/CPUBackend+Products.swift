import CKernels

extension CPUBackend {
  /// See ``Backend``.
  public var multipliesBFloat16: Bool { ck_multiplies_bfloat16() }

  /// See ``Backend``.
  public func leftOperand(_ source: Columns, transposed: Bool, precision: Precision) -> LeftOperand {
    let rows = transposed ? source.count : source.rows
    let depth = transposed ? source.rows : source.count
    let isRounded = precision == .bfloat16 && multipliesBFloat16 && rows > Self.maxGEMVRows
    // A transposed matrix has what a tile of floats needs side by side; few rows are read as they are.
    let isRead = !isRounded && (transposed || rows <= Self.maxGEMVRows)
    return LeftOperand(
      rows: rows, depth: depth, source: source, isTransposed: transposed,
      packed: isRead ? nil : pack(source, transposed: transposed, pairs: isRounded),
      precision: isRounded ? .bfloat16 : .float32)
  }

  private func pack(_ source: Columns, transposed: Bool = false, pairs: Bool = false) -> Tensor {
    let (rows, depth) = transposed ? (source.count, source.rows) : (source.rows, source.count)
    let packed = empty([ck_packed_count(rows, depth, pairs)])
    let from = source.pointer
    let to: UnsafeMutablePointer<Float> = packed.pointer()
    let tileRows = ck_tile_rows()
    pool.runRanges((rows + tileRows - 1) / tileRows, grain: max(1, 4096 / max(1, depth))) { range in
      ck_pack_left(to, from, source.stride, transposed, pairs, rows, depth, range.lowerBound, range.upperBound)
    }
    return packed
  }

  /// See ``Backend``.
  public func compute(_ products: [Product]) {
    for product in products { check(product) }
    if products.allSatisfy(isGEMV) { return computeGEMV(products) }
    computeGEMV(products.filter(isGEMV))
    let work = products.filter { !isGEMV($0) }.map(prepare)
    // Every part of every product is a task; several small products then share one round of the pool.
    var firstTask = [0]
    for item in work { firstTask.append(firstTask[firstTask.count - 1] + item.taskCount) }
    pool.run(firstTask[work.count]) { task in
      var index = 0
      while firstTask[index + 1] <= task { index += 1 }
      work[index].run(task - firstTask[index])
    }
  }

  private func check(_ product: Product) {
    let (m, n) = (product.into.rows, product.into.count)
    for term in product.terms {
      precondition(term.left.rows == m, "a product's rows are its left operand's")
      precondition(term.right.rows == (term.transposed ? n : term.left.depth), "operands of a product must fit")
      precondition(term.right.columns == (term.transposed ? term.left.depth : n), "operands of a product must fit")
    }
  }

  private struct Work {
    let taskCount: Int
    let run: (Int) -> Void
  }

  private func prepare(_ product: Product) -> Work {
    let m = product.into.rows
    let n = product.into.count
    let out = product.into.pointer
    let stride = product.into.stride
    var packedOperands: [Tensor] = []
    let terms = product.terms.compactMap { term -> ck_term? in
      guard let right = term.right.matrix else { return nil }
      let source = term.left.source
      if term.left.isTransposed, term.left.packed == nil {
        return ck_term(
          left: source.pointer, left_stride: source.stride, k: term.left.depth, right: right,
          transposed: term.transposed, pairs: false)
      }
      let packed = term.left.packed ?? pack(source)
      packedOperands.append(packed)
      return ck_term(
        left: packed.pointer(), left_stride: 0, k: term.left.depth, right: right, transposed: term.transposed,
        pairs: term.left.precision == .bfloat16)
    }
    precondition(terms.count == product.terms.count, "a product reads float and block types only")
    let parts = parts(m: m, n: n, terms)
    let accumulate = product.accumulate
    return Work(taskCount: parts.count) { [packedOperands] index in
      withExtendedLifetime(packedOperands) {
        withUnsafePointer(to: parts[index]) {
          ck_sum_of_products(terms, terms.count, m, n, out, stride, accumulate, $0)
        }
      }
    }
  }

  /// The parts that threads compute one after the other. Each packs its stretch of the right operands for itself and
  /// reads its rows of the left ones once, so there is something to win from many rows, and from many columns where the
  /// left operand is too large for the caches; but there have to be enough parts to go round evenly.
  private func parts(m: Int, n: Int, _ terms: [ck_term]) -> [ck_part] {
    let depth = terms.reduce(0) { $0 + $1.k }
    let tileRows = ck_tile_rows()
    func shares(_ count: Int, of size: Int) -> Int { (count + size - 1) / size }
    let units = shares(n, of: Int(ck_unit_columns))
    // A part of less than a million multiply-adds is not worth a hand-over.
    let most = max(1, min(m * n * depth >> 20, threadCount * (m * depth >> 22 > 0 ? 4 : 12)))
    let rowShares = max(shares(m, of: 576), min(shares(min(most, 4 * threadCount), of: units), shares(m, of: 192)))
    let rows = shares(shares(m, of: rowShares), of: tileRows) * tileRows
    let columns = min(8, shares(units * rowShares, of: most))
    return stride(from: 0, to: m, by: rows).flatMap { row in
      stride(from: 0, to: units, by: columns).map { unit in
        ck_part(
          row_begin: row, row_end: min(m, row + rows), unit_begin: unit, unit_end: min(units, unit + columns))
      }
    }
  }
}
