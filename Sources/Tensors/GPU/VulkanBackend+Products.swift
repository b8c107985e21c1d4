extension VulkanBackend {
  /// Uploads the operand if necessary, and packs it for matrix units if they compute the product, which they don't for rows
  /// in groups.
  public func leftOperand(
    _ source: Columns, transposed: Bool, precision: Precision, groups: RowGroups?
  ) -> LeftOperand {
    device.operation {
      let tensor = uploaded(source.tensor)
      let columns = Columns(tensor, source.offset..<source.offset + source.count)
      let rows = transposed ? source.count : source.rows
      let usesMatrixUnits = groups == nil && precision == .bfloat16 && multipliesBFloat16 && rows > Self.gemvRows
      return LeftOperand(
        rows: rows, depth: transposed ? source.rows : source.count, source: columns, isTransposed: transposed,
        packed: usesMatrixUnits ? packed(columns, transposed: transposed) : nil,
        precision: usesMatrixUnits ? .bfloat16 : .float32)
    }
  }

  /// Matrix units take a copy in float16.
  public func copiesLeftOperand(columns: Int) -> Bool { true }

  /// Products with up to this many rows read the right operand once, on the shader cores.
  static let gemvRows = 4

  /// A term with its right operand on the device.
  struct DeviceTerm {
    let term: ProductTerm
    let right: Tensor
    /// The right operand for matrix units, if it is float32.
    let packedRight: Tensor?
    let format: KernelFormat
  }

  /// Terms that one dispatch sums. Those of a group have one storage format, besides float32.
  struct DeviceTerms {
    /// Of each group; without groups there is one.
    var formats: [KernelFormat]
    /// Each term of the sum, for each group.
    var terms: [[DeviceTerm]]

    /// Adds the next term; returns false if the format of a group is another one.
    mutating func add(_ term: [DeviceTerm]) -> Bool {
      for (format, next) in zip(formats, term) where format != next.format {
        if format != .float32, next.format != .float32 { return false }
      }
      terms.append(term)
      for (group, next) in term.enumerated() where next.format != .float32 { formats[group] = next.format }
      return true
    }
  }

  /// Enqueues one dispatch per product and storage format, without barriers between the products.
  public func compute(_ products: [Product]) {
    device.operation {
      let prepared = prepare(products)
      // Products of one call are independent, so there are no barriers between them. Their operands stay alive until
      // all products are recorded.
      var kept: [Tensor] = []
      var needsBarrier = true
      for (product, sums) in zip(products, prepared) {
        for (index, sum) in sums.enumerated() {
          if index > 0 { needsBarrier = true }
          let accumulate = product.accumulate || index > 0
          switch product.division {
          case nil:
            self.sum(
              sum.terms.map { $0[0] }, sum.formats[0], into: product.into, accumulate: accumulate,
              needsBarrier: needsBarrier, &kept)
          case .rows(let groups):
            self.sum(sum, groups.device, into: product.into, accumulate: accumulate, needsBarrier: needsBarrier)
          case .depth(let groups, let targets):
            sumGroups(sum.terms.map { $0[0] }, groups.device, into: targets, needsBarrier: needsBarrier)
          }
          needsBarrier = false
        }
      }
      withExtendedLifetime((prepared, kept)) {}
    }
  }

  /// Uploads and packs the right operands of all products, before the first product. Terms with the same storage format,
  /// and float32 terms next to them, are summed in one dispatch.
  private func prepare(_ products: [Product]) -> [[DeviceTerms]] {
    var needsBarrier = true
    return products.map { product in
      let usesMatrixUnits = usesMatrixUnits(product.terms)
      var sums: [DeviceTerms] = []
      for term in product.terms {
        let groups = (0..<product.rightCount).map { group in
          let right = uploaded(term.rights(group))
          check(term, right, product)
          guard let format = KernelFormat(right) else {
            preconditionFailure("a product reads float and block types only")
          }
          var packedRight: Tensor?
          if usesMatrixUnits, format == .float32 {
            packedRight = packed(Columns(right), transposed: !term.transposed, needsBarrier: needsBarrier)
            needsBarrier = false
          }
          return DeviceTerm(term: term, right: right, packedRight: packedRight, format: format)
        }
        if sums.isEmpty || !sums[sums.count - 1].add(groups) {
          sums.append(DeviceTerms(formats: groups.map(\.format), terms: [groups]))
        }
      }
      return sums
    }
  }

  private func check(_ term: ProductTerm, _ right: Tensor, _ product: Product) {
    let (m, n) = (product.into.rows, product.into.count)
    precondition(term.left.rows == m, "a product has as many rows as its left operand")
    precondition(right.rows == (term.transposed ? n : term.left.depth), "operands of a product must fit")
    precondition(right.columns == (term.transposed ? term.left.depth : n), "operands of a product must fit")
  }

  private func usesMatrixUnits(_ terms: [ProductTerm]) -> Bool { terms.allSatisfy { $0.left.packed != nil } }

  private func sum(
    _ terms: [DeviceTerm], _ format: KernelFormat, into: Columns, accumulate: Bool, needsBarrier: Bool,
    _ kept: inout [Tensor]
  ) {
    let (m, n) = (into.rows, into.count)
    let steps = terms.reduce(0) { $0 + (($1.term.left.depth + 15) / 16) }
    var arguments = ProductArguments(
      out: address(into), parts: 0, m: UInt32(m), n: UInt32(n), stride: UInt32(into.tensor.columns),
      termCount: UInt32(terms.count), accumulate: accumulate ? 1 : 0, share: UInt32(max(1, steps)))
    let usesMatrixUnits = usesMatrixUnits(terms.map(\.term))
    if m <= Self.gemvRows, !usesMatrixUnits, terms.allSatisfy({ !$0.term.left.isTransposed && $0.term.transposed }) {
      terms.map(termArguments).withUnsafeBytes {
        device.run(
          "fewRows", constant: format.rawValue, arguments, list: $0, groupCount: groups(n, of: 4),
          needsBarrier: needsBarrier)
      }
      return
    }
    let tile = usesMatrixUnits ? 4 * information.matrixSize : 64
    let tiles = (x: groups(n, of: tile), y: groups(m, of: tile))
    // A device runs some hundred groups at a time. If the result has few tiles, several groups share the depth of each
    // tile (split-K). Their number depends only on the shapes.
    let wanted = min(groups(256, of: max(1, tiles.x * tiles.y)), max(1, steps / 16), 32)
    let share = max(1, (steps + wanted - 1) / wanted)
    let shares = max(1, (steps + share - 1) / share)
    arguments.share = UInt32(share)
    if shares > 1 {
      let parts = allocate([shares, m, n])
      kept.append(parts)
      arguments.parts = address(parts)
    }
    func run<Argument: BitwiseCopyable>(_ kernel: StaticString, _ list: [Argument]) {
      list.withUnsafeBytes {
        device.run(
          kernel, constant: format.rawValue, arguments, list: $0, groups: (tiles.x, tiles.y, shares),
          needsBarrier: needsBarrier)
      }
    }
    if usesMatrixUnits {
      run(information.matrixSize == 8 ? "matrixProduct8" : "matrixProduct16", terms.map(matrixTermArguments))
    } else {
      run("product", terms.map(termArguments))
    }
    if shares > 1 {
      device.run(
        "addParts",
        PartSumArguments(
          parts: arguments.parts, out: arguments.out, m: arguments.m, n: arguments.n, stride: arguments.stride,
          partCount: UInt32(shares), accumulate: arguments.accumulate), groupCount: groups(m * n))
    }
  }

  func termArguments(_ term: DeviceTerm) -> TermArguments {
    let left = term.term.left
    return TermArguments(
      left: address(left.source), right: matrix(term.right), k: UInt32(left.depth),
      leftStride: UInt32(left.source.tensor.columns),
      flags: (left.isTransposed ? 1 : 0) | (term.term.transposed ? 2 : 0) | (term.format == .float32 ? 4 : 0))
  }

  struct TermArguments: BitwiseCopyable {
    var left: UInt64
    var right: MatrixArguments
    var k, leftStride, flags: UInt32
    var reserved: UInt32 = 0
  }

  private struct ProductArguments: BitwiseCopyable {
    /// Replaced by the address of the list of terms.
    var terms: UInt64 = 0
    var out, parts: UInt64
    var m, n, stride, termCount, accumulate, share: UInt32
  }

  private struct PartSumArguments: BitwiseCopyable {
    var parts, out: UInt64
    var m, n, stride, partCount, accumulate: UInt32
  }
}
