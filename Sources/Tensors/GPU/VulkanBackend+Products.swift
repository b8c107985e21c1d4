extension VulkanBackend {
  /// See ``Backend``.
  public var multipliesBFloat16: Bool { false }

  /// See ``Backend``.
  public func leftOperand(_ source: Columns, transposed: Bool, precision: Precision) -> LeftOperand {
    device.operation {
      let tensor = uploaded(source.tensor)
      return LeftOperand(
        rows: transposed ? source.count : source.rows, depth: transposed ? source.rows : source.count,
        source: Columns(tensor, source.offset..<source.offset + source.count), isTransposed: transposed, packed: nil,
        precision: .float32)
    }
  }

  /// See ``Backend``.
  public func compute(_ products: [Product]) {
    device.operation {
      // Products of one call are independent, so none waits for those before it; what they use stays alive until all
      // have been recorded.
      var kept: [Tensor] = []
      var needsBarrier = true
      for product in products {
        // The terms of one storage format, and those of float32 with them, are summed at once.
        var groups: [(format: KernelFormat, terms: [ProductTerm])] = []
        for term in product.terms {
          check(term, product)
          guard let format = KernelFormat(term.right) else {
            preconditionFailure("a product reads float and block types only")
          }
          let last = groups.count - 1
          if last >= 0, format == groups[last].format || format == .float32 || groups[last].format == .float32 {
            groups[last].terms.append(term)
            if format != .float32 { groups[last].format = format }
          } else {
            groups.append((format, [term]))
          }
        }
        for (index, group) in groups.enumerated() {
          if index > 0 { needsBarrier = true }
          sum(
            group.terms, group.format, into: product.into, accumulate: product.accumulate || index > 0, &needsBarrier, &kept)
        }
      }
      withExtendedLifetime(kept) {}
    }
  }

  private func check(_ term: ProductTerm, _ product: Product) {
    let (m, n) = (product.into.rows, product.into.count)
    precondition(term.left.rows == m, "a product's rows are its left operand's")
    precondition(term.right.rows == (term.transposed ? n : term.left.depth), "operands of a product must fit")
    precondition(term.right.columns == (term.transposed ? term.left.depth : n), "operands of a product must fit")
  }

  private func sum(
    _ terms: [ProductTerm], _ format: KernelFormat, into: Columns, accumulate: Bool, _ needsBarrier: inout Bool,
    _ kept: inout [Tensor]
  ) {
    let (m, n) = (into.rows, into.count)
    let list = terms.map { term in
      let right = uploaded(term.right)
      kept.append(right)
      let isFloat32 = KernelFormat(right) == .float32
      return TermArguments(
        left: address(term.left.source), right: matrix(right), k: UInt32(term.left.depth),
        leftStride: UInt32(term.left.source.tensor.columns),
        flags: (term.left.isTransposed ? 1 : 0) | (term.transposed ? 2 : 0) | (isFloat32 ? 4 : 0))
    }
    let steps = terms.reduce(0) { $0 + (($1.left.depth + 15) / 16) }
    var arguments = ProductArguments(
      out: address(into), parts: 0, m: UInt32(m), n: UInt32(n), stride: UInt32(into.tensor.columns),
      termCount: UInt32(terms.count), accumulate: accumulate ? 1 : 0, share: UInt32(max(1, steps)))
    if m <= 4, terms.allSatisfy({ !$0.left.isTransposed && $0.transposed }) {
      list.withUnsafeBytes {
        device.run(
          "fewRows", constant: format.rawValue, arguments, list: $0, groupCount: groups(n, of: 4),
          needsBarrier: needsBarrier)
      }
      needsBarrier = false
      return
    }
    let tiles = (x: groups(n), y: groups(m))
    // A device has room for some hundred groups: where the result has few tiles, several share the depth of each. How
    // many goes by the shapes alone.
    let wanted = min(groups(256, of: max(1, tiles.x * tiles.y)), max(1, steps / 16), 32)
    let share = max(1, (steps + wanted - 1) / wanted)
    let shares = max(1, (steps + share - 1) / share)
    arguments.share = UInt32(share)
    if shares > 1 {
      let parts = allocate([shares, m, n])
      kept.append(parts)
      arguments.parts = address(parts)
    }
    list.withUnsafeBytes {
      device.run(
        "product", constant: format.rawValue, arguments, list: $0, groups: (tiles.x, tiles.y, shares),
        needsBarrier: needsBarrier)
    }
    if shares > 1 {
      device.run(
        "addParts",
        PartSumArguments(
          parts: arguments.parts, out: arguments.out, m: arguments.m, n: arguments.n, stride: arguments.stride,
          partCount: UInt32(shares), accumulate: arguments.accumulate), groupCount: groups(m * n))
    }
    needsBarrier = false
  }

  private struct TermArguments: BitwiseCopyable {
    var left: UInt64
    var right: MatrixArguments
    var k, leftStride, flags: UInt32
    var reserved: UInt32 = 0
  }

  private struct ProductArguments: BitwiseCopyable {
    /// Replaced by the address of the terms.
    var terms: UInt64 = 0
    var out, parts: UInt64
    var m, n, stride, termCount, accumulate, share: UInt32
  }

  private struct PartSumArguments: BitwiseCopyable {
    var parts, out: UInt64
    var m, n, stride, partCount, accumulate: UInt32
  }
}
