extension Tape {
  /// Applies linear layers that share an input, `x` `[rows, in]`, and places their outputs side by side:
  /// `[rows, sum of out]`.
  ///
  /// The input is packed once for all layers. Each LoRA update is one more term of its layer's product, and the
  /// gradient of the input is a single sum of products over all layers. If one has an order of columns, all have it.
  public func linear(_ x: Variable, _ layers: [Linear]) -> Variable {
    let order = layers.first?.columnOrder
    precondition(layers.allSatisfy { $0.columnOrder == order }, "layers with one input have its columns in one order")
    return linear(order.map { reorderedColumns(x, $0) } ?? x, [layers], groups: nil)
  }

  /// The same for rows in groups, such as the tokens of each expert.
  ///
  /// - Parameter layers: those of each group: in all groups as many, of the same sizes, trained alike, and with the same kind
  ///   of update or none. Updates have neither magnitudes nor biases. Gradients of a group without rows are zero, not
  ///   missing: optimizers then decay its moments, as they do those of one parameter that holds all groups.
  public func linear(_ x: Variable, _ layers: [[Linear]], groups: RowGroups) -> Variable {
    linear(x, layers, groups: Optional(groups))
  }

  private func linear(_ x: Variable, _ layers: [[Linear]], groups: RowGroups?) -> Variable {
    let input = x.value
    let slices = slices(of: layers, groups, rows: input.rows)
    let operand = { [backend, precision] in
      backend.leftOperand(Columns(input), transposed: false, precision: precision, groups: groups)
    }
    let branches = slices.flatMap(\.branches)
    let left = branches.isEmpty ? nil : operand()
    if let left { computeDown(branches, input, left, groups) }
    // The outputs of layers with magnitudes before these are applied.
    let directions = slices.map { slice in
      slice.magnitude == nil ? nil : backend.empty([input.rows, slice.layer.outputSize], .float32)
    }
    let compute = { [unowned self] in output(slices, directions, left ?? operand(), groups) }

    let needsGradient = isRecording && (x.requiresGradient || layers.joined().contains(where: \.isTrainable))
    // The backward pass reads the directions.
    let isDeferred = isRecomputing && directions.allSatisfy { $0 == nil }
    let result =
      isDeferred
      ? Variable(requiresGradient: needsGradient, deferred: compute)
      : Variable(compute(), requiresGradient: needsGradient)
    if needsGradient {
      let (slot, source) = (result.slot, x.slot)
      // A frozen layer without an update doesn't need its input for the backward pass.
      let needsInput = layers.joined().contains { $0.weight.isTrainable || $0.lora?.a.isTrainable == true }
      let recompute = needsInput ? x.recompute : nil
      record { [unowned self] in
        guard let upstream = slot.take() else { return }
        linearBackward(slices, directions, input: recompute?(), source: source, upstream)
      }
    }
    return result
  }

  // MARK: Forward

  /// The outputs side by side: y = x Wᵀ + down Bᵀ, times the magnitude and plus the biases if there are any.
  private func output(
    _ slices: [Slice], _ directions: [Tensor?], _ left: LeftOperand, _ groups: RowGroups?
  ) -> Tensor {
    let output = backend.empty([left.rows, slices.last?.columns.upperBound ?? 0], .float32)
    backend.compute(
      zip(slices, directions).map { slice, direction in
        var terms = [ProductTerm(left, rights: slice.weight, transposed: true)]
        for branch in slice.branches {
          let down = backend.leftOperand(
            Columns(branch.down), transposed: false, precision: precision, groups: groups)
          terms.append(ProductTerm(down, rights: branch.b, transposed: true))
        }
        return Product(terms, into: direction.map { Columns($0) } ?? Columns(output, slice.columns), groups: groups)
      })
    for (slice, direction) in zip(slices, directions) {
      guard let direction, let factors = slice.factors(on: backend) else { continue }
      backend.copyRows(
        Columns(backend.scaledColumns(direction, factors.scale)), 0, to: Columns(output, slice.columns), 0,
        count: direction.rows)
    }
    for slice in slices {
      addBias(of: slice, to: Columns(output, slice.columns))
      if let lora = slice.update, let bias = lora.bias {
        backend.addBias(backend.scaled(bias.value, lora.scale), to: Columns(output, slice.columns))
      }
    }
    return output
  }

  /// One layer of a call to `linear`, or one of each group: its columns of the joint output, and its low-rank branches.
  private struct Slice {
    let layers: [Linear]
    let groups: RowGroups?
    let columns: Range<Int>
    /// The layers' LoRA updates; none without an adapter.
    let updates: [LoRAUpdate]
    /// The LoRA update, and its initial factors; none without an adapter.
    let branches: [LowRankBranch]

    /// The layer, or that of the first group.
    var layer: Linear { layers[0] }
    /// Its update.
    var update: LoRAUpdate? { updates.first }
    /// The weight of a group's layer.
    var weight: (Int) -> Tensor { { [layers] in layers[$0].weight.value } }

    var magnitude: Magnitude? { update?.magnitude }

    func factors(on backend: any Backend) -> Magnitude.Factors? {
      guard let update else { return nil }
      return update.magnitude?.factors(update, weight: layer.weight.value, on: backend)
    }
  }

  /// The forward pass of a low-rank product, as far as the backward pass needs it.
  private struct LowRankBranch {
    /// A and B of a group's layer.
    let a: (Int) -> Tensor
    let b: (Int) -> Tensor
    let scale: Float
    /// scale · dropout(x) Aᵀ, `[rows, rank]`
    let down: Tensor
    /// `nil` without dropout.
    let dropout: (rate: Float, key: UInt64)?

    /// The branch's input: the layer's input after dropout, whose mask is determined by the key.
    func input(of x: Tensor, on backend: any Backend) -> Tensor {
      guard let dropout else { return x }
      let input = backend.empty(x.shape, .float32)
      backend.dropout(x, rate: dropout.rate, key: dropout.key, into: input, accumulate: false)
      return input
    }
  }

  private func slices(of layers: [[Linear]], _ groups: RowGroups?, rows: Int) -> [Slice] {
    precondition(layers.count == groups?.count ?? 1, "each group must have its layers")
    var end = 0
    return (0..<(layers.first?.count ?? 0)).map { index in
      let own = layers.map { $0[index] }
      let updates = own.compactMap(\.lora)
      precondition(updates.isEmpty || updates.count == own.count, "all groups must have an update, or none")
      precondition(
        groups == nil || updates.allSatisfy { $0.magnitude == nil && $0.bias == nil },
        "updates of groups must not have magnitudes or biases")
      let start = end
      end += own[0].outputSize
      return Slice(
        layers: own, groups: groups, columns: start..<end, updates: updates, branches: branches(of: updates, rows: rows)
      )
    }
  }

  private func branches(of updates: [LoRAUpdate], rows: Int) -> [LowRankBranch] {
    guard let first = updates.first else { return [] }
    let usesDropout = appliesDropout && first.dropout > 0
    let own = LowRankBranch(
      a: { updates[$0].a.value }, b: { updates[$0].b.value }, scale: first.scale,
      down: backend.empty([rows, first.rank], .float32),
      dropout: usesDropout ? (first.dropout, nextDropoutKey()) : nil)
    guard let initial = first.initial else { return [own] }
    let subtracted = LowRankBranch(
      a: { updates[$0].initial?.a ?? initial.a }, b: { updates[$0].initial?.b ?? initial.b }, scale: -first.scale,
      down: backend.empty([rows, initial.a.rows], .float32), dropout: nil)
    return [own, subtracted]
  }

  /// down = scale · dropout(x) Aᵀ. Without dropout, `left` is the operand, which is packed already.
  private func computeDown(
    _ branches: [LowRankBranch], _ x: Tensor, _ left: LeftOperand, _ groups: RowGroups?
  ) {
    backend.compute(
      branches.map { branch in
        let operand =
          branch.dropout == nil
          ? left
          : backend.leftOperand(
            Columns(branch.input(of: x, on: backend)), transposed: false, precision: precision, groups: groups)
        return Product(
          [ProductTerm(operand, rights: branch.a, transposed: true)], into: Columns(branch.down), groups: groups)
      })
    for branch in branches { scaleInPlace(branch.down, branch.scale) }
  }

  private func addBias(of slice: Slice, to y: Columns) {
    guard let bias = slice.layer.bias else { return }
    guard let groups = slice.groups else { return backend.addBias(bias.value, to: y) }
    backend.addBias({ [layers = slice.layers] in layers[$0].bias?.value ?? bias.value }, to: y, groups: groups)
  }

  private func scaleInPlace(_ tensor: Tensor, _ scale: Float) {
    if scale != 1 { backend.scale(tensor, by: scale) }
  }

  // MARK: Backward

  /// The gradients at one layer's output.
  private struct SliceGradient {
    let slice: Slice
    /// The layer's columns of the upstream gradient.
    let dy: Columns
    /// `dy`, packed for the products that need it on the left.
    let left: LeftOperand?
    /// The gradient of each branch's `down`, `[rows, rank]`.
    let dDown: [Tensor]

    /// The branches with the gradients of their `down`.
    var branches: [(branch: LowRankBranch, dDown: Tensor)] { Array(zip(slice.branches, dDown)) }
  }

  /// The gradient of a layer's output before its magnitudes are applied; adds that of the magnitudes.
  private func directionGradient(_ slice: Slice, _ direction: Tensor?, _ dy: Columns) -> Columns {
    guard let direction, let magnitude = slice.magnitude, let factors = slice.factors(on: backend) else { return dy }
    let upstream = backend.empty(direction.shape, .float32)
    backend.copyRows(dy, 0, to: Columns(upstream), 0, count: direction.rows)
    if magnitude.parameter.isTrainable {
      let sums = backend.columnProducts(direction, upstream).reshaped([1, direction.columns])
      backend.add(
        backend.scaledColumns(sums, factors.inverseNorm).reshaped([direction.columns]), scale: 1,
        into: magnitude.parameter.gradient(on: backend))
    }
    return Columns(backend.scaledColumns(upstream, factors.scale))
  }

  private func linearBackward(
    _ slices: [Slice], _ directions: [Tensor?], input: Tensor?, source: GradientSlot, _ upstream: Tensor
  ) {
    let needsLeft = source.requiresGradient || slices.contains { !$0.branches.isEmpty }
    let gradients = zip(slices, directions).map { slice, direction in
      let dy = directionGradient(slice, direction, Columns(upstream, slice.columns))
      return SliceGradient(
        slice: slice, dy: dy,
        left: needsLeft
          ? backend.leftOperand(dy, transposed: false, precision: precision, groups: slice.groups) : nil,
        dDown: slice.branches.map { backend.empty($0.down.shape, .float32) })
    }
    computeDownGradients(gradients)
    var products = gradients.flatMap { weightGradients($0, input: input) } + downGradients(gradients, input: input)
    guard source.requiresGradient else { return backend.compute(products) }
    let dx = backend.empty([upstream.rows, slices.first?.layer.inputSize ?? 0], .float32)
    products.append(inputGradient(gradients, into: dx))
    backend.compute(products)
    for gradient in gradients { addDroppedGradient(gradient, into: dx) }
    accumulate(dx, into: source)
  }

  /// dDown = scale · dy B
  private func computeDownGradients(_ gradients: [SliceGradient]) {
    backend.compute(
      gradients.flatMap { gradient in
        gradient.branches.compactMap { branch, dDown in
          gradient.left.map {
            Product(
              [ProductTerm($0, rights: branch.b, transposed: false)], into: Columns(dDown),
              groups: gradient.slice.groups)
          }
        }
      })
    for (branch, dDown) in gradients.flatMap(\.branches) { scaleInPlace(dDown, branch.scale) }
  }

  /// dW = dyᵀ x and dB, as products to compute later. The bias's gradient is added immediately.
  private func weightGradients(_ gradient: SliceGradient, input: Tensor?) -> [Product] {
    var products: [Product] = []
    let (slice, layer, groups) = (gradient.slice, gradient.slice.layer, gradient.slice.groups)
    if layer.weight.isTrainable, let input {
      let left = backend.leftOperand(gradient.dy, transposed: true, precision: precision, groups: groups)
      products.append(
        gradientProduct(slice.layers.map(\.weight), [ProductTerm(left, input, transposed: false)], groups))
    }
    if let bias = layer.bias, bias.isTrainable {
      // Biases and magnitudes are never trained together.
      if let groups {
        let sums = slice.layers.compactMap { $0.bias?.gradient(on: backend) }
        backend.addColumnSums(gradient.dy, into: sums, groups: groups)
      } else {
        backend.addColumnSums(gradient.dy, into: bias.gradient(on: backend))
      }
    }
    if let lora = slice.update, let bias = lora.bias, bias.isTrainable {
      let sums = backend.empty(bias.value.shape, .float32)
      backend.clear(sums)
      backend.addColumnSums(gradient.dy, into: sums)
      backend.add(sums, scale: lora.scale, into: bias.gradient(on: backend))
    }
    // dB = dyᵀ down, which is small, and float32 doesn't need its left operand packed.
    if let branch = slice.branches.first, slice.update?.b.isTrainable == true {
      let left = backend.leftOperand(gradient.dy, transposed: true, precision: .float32, groups: groups)
      products.append(
        gradientProduct(slice.updates.map(\.b), [ProductTerm(left, branch.down, transposed: false)], groups))
    }
    return products
  }

  /// dA = dDownᵀ x. Layers that have one A in common, as the gate and input of an expert do, add to one product.
  private func downGradients(_ gradients: [SliceGradient], input x: Tensor?) -> [Product] {
    guard let x else { return [] }
    var sums: [(slice: Slice, terms: [ProductTerm])] = []
    for gradient in gradients {
      guard let (branch, dDown) = gradient.branches.first, let a = gradient.slice.update?.a, a.isTrainable else {
        continue
      }
      let left = backend.leftOperand(
        Columns(dDown), transposed: true, precision: .float32, groups: gradient.slice.groups)
      let term = ProductTerm(left, branch.input(of: x, on: backend), transposed: false)
      if let index = sums.firstIndex(where: { $0.slice.update?.a === a }) {
        sums[index].terms.append(term)
      } else {
        sums.append((gradient.slice, [term]))
      }
    }
    return sums.map { gradientProduct($0.slice.updates.map(\.a), $0.terms, $0.slice.groups) }
  }

  /// The product that adds `terms` to the gradient of a parameter, or to those of one for each group.
  private func gradientProduct(_ parameters: [Parameter], _ terms: [ProductTerm], _ groups: RowGroups?) -> Product {
    guard let groups else { return parameters[0].gradientProduct(terms, on: backend) }
    return Product(terms, into: parameters.map { $0.gradientTarget(on: backend) }, groups: groups)
  }

  /// dx = sum over layers of dy W + dDown A. Updates with dropout are added later, because their inputs were masked.
  private func inputGradient(_ gradients: [SliceGradient], into dx: Tensor) -> Product {
    var terms: [ProductTerm] = []
    for gradient in gradients {
      if let left = gradient.left {
        terms.append(ProductTerm(left, rights: gradient.slice.weight, transposed: false))
      }
      for (branch, dDown) in gradient.branches where branch.dropout == nil {
        let left = backend.leftOperand(
          Columns(dDown), transposed: false, precision: precision, groups: gradient.slice.groups)
        terms.append(ProductTerm(left, rights: branch.a, transposed: false))
      }
    }
    return Product(terms, into: Columns(dx), groups: gradients.first?.slice.groups)
  }

  /// dx += dropout(dDown A), with the mask of the forward pass.
  private func addDroppedGradient(_ gradient: SliceGradient, into dx: Tensor) {
    guard let (branch, dDown) = gradient.branches.first, let (rate, key) = branch.dropout else { return }
    let dropped = backend.empty(dx.shape, .float32)
    let groups = gradient.slice.groups
    let left = backend.leftOperand(Columns(dDown), transposed: false, precision: precision, groups: groups)
    backend.compute([
      Product([ProductTerm(left, rights: branch.a, transposed: false)], into: Columns(dropped), groups: groups)
    ])
    backend.dropout(dropped, rate: rate, key: key, into: dx, accumulate: true)
  }
}
