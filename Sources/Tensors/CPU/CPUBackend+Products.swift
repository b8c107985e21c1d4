import CKernels

extension CPUBackend {
  /// Whether the selected kernels have a bfloat16 dot product (AMX, AVX-512 BF16).
  public var multipliesBFloat16: Bool { ck_multiplies_bfloat16() }

  /// Operands with fewer rows are never rounded to bfloat16: it would save no time.
  private static let leastRoundedRows = 5
  /// Products with fewer columns read the columns of a transposed operand as they are.
  private static let leastPackedColumns = 128

  /// Packs the operand into tiles, unless the product will use GEMV, reads the operand's rows as they are, or decides itself
  /// because the operand is transposed.
  public func leftOperand(
    _ source: Columns, transposed: Bool, precision: Precision, groups: RowGroups?
  ) -> LeftOperand {
    guard let groups else { return leftOperands([source], transposed: transposed, precision: precision)[0] }
    return LeftOperand(
      rows: transposed ? source.count : source.rows, depth: transposed ? source.rows : source.count, source: source,
      isTransposed: transposed, packed: nil, precision: .float32,
      parts: leftOperands(
        groups.occupied.map { source.rows($0.rows) }, transposed: transposed, precision: precision))
  }

  private func leftOperands(_ sources: [Columns], transposed: Bool, precision: Precision) -> [LeftOperand] {
    var packing: [(index: Int, source: PackedSource)] = []
    var operands = sources.enumerated().map { index, source in
      let rows = transposed ? source.count : source.rows
      let isRounded = precision == .bfloat16 && multipliesBFloat16 && rows >= Self.leastRoundedRows
      // Whether a transposed operand is packed depends on the product.
      let isRead = !isRounded && (transposed || ck_reads_rows(source.stride) || rows <= Self.maxGEMVRows)
      if !isRead { packing.append((index, PackedSource(source, transposed: transposed, pairs: isRounded))) }
      return LeftOperand(
        rows: rows, depth: transposed ? source.rows : source.count, source: source, isTransposed: transposed,
        packed: nil, precision: isRounded ? .bfloat16 : .float32)
    }
    for (index, packed) in zip(packing.map { $0.index }, pack(packing.map { $0.source })) {
      operands[index].packed = packed
    }
    return operands
  }

  /// False if the kernels read rows of this length as they are.
  public func copiesLeftOperand(columns: Int) -> Bool { !ck_reads_rows(columns) }

  /// Whether a product with `columns` columns reads an operand that isn't packed yet as it is. To be packed, columns must
  /// be read and written once; narrow products, such as those of LoRA's factors, read them only a few times.
  private func reads(_ term: ProductTerm, columns: Int) -> Bool {
    let source = term.left.source
    guard term.left.isTransposed else { return ck_reads_rows(source.stride) }
    return columns < Self.leastPackedColumns || ck_reads_columns(source.stride)
  }

  /// An operand, or the rows of a group of it, to be packed.
  private struct PackedSource {
    let source: Columns
    let transposed: Bool
    let pairs: Bool
    let rows: Int
    let depth: Int

    init(_ source: Columns, transposed: Bool = false, pairs: Bool = false) {
      (self.source, self.transposed, self.pairs) = (source, transposed, pairs)
      (rows, depth) = transposed ? (source.count, source.rows) : (source.rows, source.count)
    }
  }

  /// Packs operands side by side, in one region of the thread pool.
  private func pack(_ sources: [PackedSource]) -> [Tensor] {
    if sources.isEmpty { return [] }
    let tileRows = ck_tile_rows()
    var (firstTile, offsets) = ([0], [0])
    for (index, source) in sources.enumerated() {
      firstTile.append(firstTile[index] + (source.rows + tileRows - 1) / tileRows)
      // Each begins with a cache line.
      offsets.append(offsets[index] + (ck_packed_count(source.rows, source.depth, source.pairs) + 15) / 16 * 16)
    }
    let packed = empty([offsets[sources.count]])
    let to: UnsafeMutablePointer<Float> = packed.pointer()
    let depth = sources.reduce(1) { max($0, $1.depth) }
    pool.runRanges(firstTile[sources.count], grain: max(1, 4096 / depth)) { range in
      var (index, tile) = (0, range.lowerBound)
      while tile < range.upperBound {
        while firstTile[index + 1] <= tile { index += 1 }
        let (operand, end) = (sources[index], min(range.upperBound, firstTile[index + 1]))
        let columns = operand.source
        ck_pack_left(
          to + offsets[index], columns.pointer, columns.stride, operand.transposed, operand.pairs, operand.rows,
          operand.depth, tile - firstTile[index], end - firstTile[index])
        tile = end
      }
    }
    return sources.indices.map { packed.elements(offsets[$0]..<offsets[$0 + 1]) }
  }

  /// Divides each product into parts of rows and columns; the parts of all products are one region of the thread pool.
  /// Products of very few rows use GEMV instead, and those of rows in groups are as many products.
  public func compute(_ products: [Product]) {
    let products = products.contains { $0.division != nil } ? products.flatMap(divided) : products
    for product in products { check(product) }
    if products.allSatisfy(isGEMV) { return computeGEMV(products) }
    computeGEMV(products.filter(isGEMV))
    let work = products.filter { !isGEMV($0) }.map(prepare)
    // Every part of every product is a task, so several small products share one region of the pool.
    let tasks = tasks(of: work)
    pool.run(tasks.count) { work[tasks[$0].product].run(tasks[$0].part) }
  }

  /// All parts of all products, in an order that gives each thread a share of each product, and large parts before small
  /// ones. So threads end at about the same time, and the last parts to be stolen are small.
  private func tasks(of work: [Work]) -> [(product: Int, part: Int)] {
    if work.count == 1 { return (0..<work[0].partCount).map { (0, $0) } }
    let order = work.indices.sorted { (work[$0].partSize, $1) > (work[$1].partSize, $0) }
    let count = work.reduce(0) { $0 + $1.partCount }
    let lanes = min(count, threadCount)
    var tasks: [(product: Int, part: Int)] = []
    tasks.reserveCapacity(count)
    for lane in 0..<lanes {
      // Shares that are not whole are rounded so that those of all products so far are even.
      var before = 0
      for product in order {
        let (parts, rest) = (work[product].partCount, before % lanes)
        for part in (parts * lane + rest) / lanes..<(parts * (lane + 1) + rest) / lanes {
          tasks.append((product, part))
        }
        before += parts
      }
    }
    return tasks
  }

  /// The products of the groups that have rows. Sums of the others are zero.
  private func divided(_ product: Product) -> [Product] {
    switch product.division {
    case nil: return [product]
    case .rows(let groups):
      return groups.occupied.enumerated().map { index, part in
        Product(
          product.terms.map {
            ProductTerm($0.left.parts[index], $0.rights(part.group), transposed: $0.transposed)
          }, into: product.into.rows(part.rows), accumulate: product.accumulate)
      }
    case .depth(let groups, let targets):
      let occupied = groups.occupied
      let idle = Set(targets.indices).subtracting(occupied.map { $0.group })
      for group in idle where !targets[group].accumulate { clear(targets[group].into.tensor) }
      return occupied.enumerated().map { index, part in
        Product(
          product.terms.map {
            ProductTerm($0.left.parts[index], $0.right.rows(part.rows), transposed: false)
          }, into: targets[part.group].into, accumulate: targets[part.group].accumulate)
      }
    }
  }

  private func check(_ product: Product) {
    let (m, n) = (product.into.rows, product.into.count)
    for term in product.terms {
      precondition(term.left.rows == m, "the left operand must have as many rows as the result")
      precondition(term.right.rows == (term.transposed ? n : term.left.depth), "the shapes of the operands must match")
      precondition(
        term.right.columns == (term.transposed ? term.left.depth : n), "the shapes of the operands must match")
    }
  }

  private struct Work {
    let partCount: Int
    /// The multiply-adds of a part.
    let partSize: Int
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
      let isTransposed = term.left.isTransposed
      if term.left.packed == nil, reads(term, columns: n) {
        return ck_term(
          left: source.pointer, row_stride: isTransposed ? 1 : source.stride,
          k_stride: isTransposed ? source.stride : 1, k: term.left.depth, right: right, transposed: term.transposed,
          pairs: false)
      }
      let packed = term.left.packed ?? pack([PackedSource(source, transposed: isTransposed)])[0]
      packedOperands.append(packed)
      return ck_term(
        left: packed.pointer(), row_stride: 0, k_stride: 0, k: term.left.depth, right: right,
        transposed: term.transposed, pairs: term.left.precision == .bfloat16)
    }
    precondition(terms.count == product.terms.count, "the right operands must have types that kernels can read")
    let parts = parts(m: m, n: n, terms)
    let accumulate = product.accumulate
    let depth = terms.reduce(0) { $0 + $1.k }
    return Work(partCount: parts.count, partSize: m * n * depth / max(1, parts.count)) { [packedOperands] index in
      withExtendedLifetime(packedOperands) {
        withUnsafePointer(to: parts[index]) {
          ck_sum_of_products(terms, terms.count, m, n, out, stride, accumulate, $0)
        }
      }
    }
  }

  /// The parts of a product, each a task. A part packs its columns of the right operands for itself and reads its rows
  /// of the left ones once. So parts should have many rows, and many columns if the left operand doesn't fit in the
  /// caches; but there must be enough parts to keep all threads busy.
  private func parts(m: Int, n: Int, _ terms: [ck_term]) -> [ck_part] {
    let depth = terms.reduce(0) { $0 + $1.k }
    let tileRows = ck_tile_rows()
    func divided(_ count: Int, by size: Int) -> Int { (count + size - 1) / size }
    let units = divided(n, by: Int(ck_unit_columns))
    // Parts of less than a million multiply-adds aren't worth a task of their own.
    let most = max(1, min(m * n * depth >> 20, threadCount * (m * depth >> 22 > 0 ? 4 : 12)))
    let rowParts = max(
      divided(m, by: 576), min(divided(min(most, 4 * threadCount), by: units), divided(m, by: 192)))
    let rows = divided(divided(m, by: rowParts), by: tileRows) * tileRows
    let columns = min(8, divided(units * rowParts, by: most))
    return stride(from: 0, to: m, by: rows).flatMap { row in
      stride(from: 0, to: units, by: columns).map { unit in
        ck_part(
          row_begin: row, row_end: min(m, row + rows), unit_begin: unit, unit_end: min(units, unit + columns))
      }
    }
  }
}
