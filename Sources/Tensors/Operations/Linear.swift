/// A low-rank update beside a frozen weight: y += scale · dropout(x) Aᵀ Bᵀ (Hu et al. 2021).
public struct LoRAUpdate {
  /// `[r, in]`
  public let a: Parameter
  /// `[out, r]`
  public let b: Parameter
  /// alpha / r, or alpha / √r.
  public let scale: Float
  /// The share of x that is dropped in training.
  public let dropout: Float

  /// An update by these factors.
  public init(a: Parameter, b: Parameter, scale: Float, dropout: Float = 0) {
    self.a = a
    self.b = b
    self.scale = scale
    self.dropout = dropout
  }
}

/// A linear layer: y = x Wᵀ + bias, and a low-rank update if there is one.
public struct Projection {
  /// `[out, in]`, in any storage format.
  public let weight: Parameter
  /// `[out]`
  public let bias: Parameter?
  /// The adapter.
  public let lora: LoRAUpdate?

  /// A layer of these parts.
  public init(weight: Parameter, bias: Parameter? = nil, lora: LoRAUpdate? = nil) {
    self.weight = weight
    self.bias = bias
    self.lora = lora
  }

  var isTrainable: Bool {
    weight.isTrainable || bias?.isTrainable == true || lora?.a.isTrainable == true || lora?.b.isTrainable == true
  }
}

extension Tape {
  /// Applies layers that share their input; the outputs lie side by side: x `[rows, in]` to `[rows, sum of out]`.
  ///
  /// The input is prepared once for all of them, each low-rank update is a further term of its layer's product, and the
  /// input's gradient is a single sum of products over all layers.
  public func linear(_ x: Variable, _ layers: [Projection]) -> Variable {
    let ranges = columnRanges(layers)
    let output = backend.empty([x.value.rows, ranges.last?.upperBound ?? 0], .float32)
    let left = backend.leftOperand(Columns(x.value), transposed: false, precision: precision)
    let branches = layers.map { layer in layer.lora.map { branch($0, rows: x.value.rows) } }
    computeDown(branches.compactMap { $0 }, x.value, left)
    backend.compute(
      zip(layers.indices, layers).map { index, layer in
        var terms = [ProductTerm(left, layer.weight.value, transposed: true)]
        if let branch = branches[index] {
          let down = backend.leftOperand(Columns(branch.down), transposed: false, precision: precision)
          terms.append(ProductTerm(down, branch.lora.b.value, transposed: true))
        }
        return Product(terms, into: Columns(output, ranges[index]))
      })
    for (layer, range) in zip(layers, ranges) {
      if let bias = layer.bias { backend.addBias(bias.value, to: Columns(output, range)) }
    }

    let needsGradient = isRecording && (x.requiresGradient || layers.contains(where: \.isTrainable))
    let result = Variable(output, requiresGradient: needsGradient)
    if needsGradient {
      let (slot, source) = (result.slot, x.slot)
      // A frozen layer without an update needs no input for its gradient.
      let needsInput = layers.contains { $0.weight.isTrainable || $0.lora?.a.isTrainable == true }
      let recompute = needsInput ? x.recompute : nil
      record { [unowned self] in
        guard let upstream = slot.take() else { return }
        linearBackward(source, recompute?(), layers, branches, ranges, upstream)
      }
    }
    return result
  }

  /// What the forward pass of a low-rank update leaves for the backward pass.
  private struct Branch {
    let lora: LoRAUpdate
    /// scale · input Aᵀ, `[rows, r]`
    let down: Tensor
    let dropoutKey: UInt64?

    /// The layer's input as the update sees it: after dropout, whose mask follows from the key.
    func input(of x: Tensor, on backend: any Backend) -> Tensor {
      guard let dropoutKey else { return x }
      let input = backend.empty(x.shape, .float32)
      backend.dropout(x, rate: lora.dropout, key: dropoutKey, into: input, accumulate: false)
      return input
    }
  }

  private func branch(_ lora: LoRAUpdate, rows: Int) -> Branch {
    let down = backend.empty([rows, lora.a.value.rows], .float32)
    let drops = drawsDropout && lora.dropout > 0
    return Branch(lora: lora, down: down, dropoutKey: drops ? nextDropoutKey() : nil)
  }

  /// down = scale · input Aᵀ. Without dropout the input is what the layers themselves see, prepared already in `left`.
  private func computeDown(_ branches: [Branch], _ x: Tensor, _ left: LeftOperand) {
    backend.compute(
      branches.map { branch in
        let seen =
          branch.dropoutKey == nil
          ? left
          : backend.leftOperand(Columns(branch.input(of: x, on: backend)), transposed: false, precision: precision)
        return Product([ProductTerm(seen, branch.lora.a.value, transposed: true)], into: Columns(branch.down))
      })
    for branch in branches { scaleInPlace(branch.down, branch.lora.scale) }
  }

  private func columnRanges(_ layers: [Projection]) -> [Range<Int>] {
    var end = 0
    return layers.map { layer in
      let start = end
      end += layer.weight.value.rows
      return start..<end
    }
  }

  private func scaleInPlace(_ tensor: Tensor, _ scale: Float) {
    if scale != 1 { backend.scale(tensor, by: scale) }
  }

  private func linearBackward(
    _ source: GradientSlot, _ input: Tensor?, _ layers: [Projection], _ branches: [Branch?], _ ranges: [Range<Int>],
    _ upstream: Tensor
  ) {
    let needsLeft = source.requiresGradient || branches.contains { $0 != nil }
    let lefts = ranges.map { range in
      needsLeft ? backend.leftOperand(Columns(upstream, range), transposed: false, precision: precision) : nil
    }
    // d(down) = scale · dy B
    let dDowns = branches.map { branch in
      branch.map { backend.empty([upstream.rows, $0.lora.a.value.rows], .float32) }
    }
    var products: [Product] = []
    for (index, branch) in branches.enumerated() {
      if let branch, let dDown = dDowns[index], let left = lefts[index] {
        products.append(
          Product([ProductTerm(left, branch.lora.b.value, transposed: false)], into: Columns(dDown)))
      }
    }
    backend.compute(products)
    for (branch, dDown) in zip(branches, dDowns) {
      if let branch, let dDown { scaleInPlace(dDown, branch.lora.scale) }
    }

    products = []
    for (index, layer) in layers.enumerated() {
      let range = Columns(upstream, ranges[index])
      if layer.weight.isTrainable, let input {
        let left = backend.leftOperand(range, transposed: true, precision: precision)
        products.append(layer.weight.gradientProduct([ProductTerm(left, input, transposed: false)], on: backend))
      }
      if let bias = layer.bias, bias.isTrainable {
        backend.addColumnSums(range, into: bias.gradient(on: backend))
      }
      if let branch = branches[index], let dDown = dDowns[index] {
        products.append(contentsOf: lowRankGradients(branch, input, dy: range, dDown: dDown))
      }
    }
    if source.requiresGradient {
      let dx = backend.empty([upstream.rows, layers.first?.weight.value.columns ?? 0], .float32)
      products.append(inputGradient(layers, branches, lefts, dDowns, into: dx))
      backend.compute(products)
      for (branch, dDown) in zip(branches, dDowns) {
        if let branch, let dDown, let key = branch.dropoutKey { addDroppedGradient(branch, dDown, key, into: dx) }
      }
      accumulate(dx, into: source)
    } else {
      backend.compute(products)
    }
  }

  /// dB = dyᵀ down, dA = d(down)ᵀ x. They are small, and float32 needs no packing of their left sides.
  private func lowRankGradients(_ branch: Branch, _ x: Tensor?, dy: Columns, dDown: Tensor) -> [Product] {
    var products: [Product] = []
    if branch.lora.b.isTrainable {
      let left = backend.leftOperand(dy, transposed: true)
      products.append(
        branch.lora.b.gradientProduct([ProductTerm(left, branch.down, transposed: false)], on: backend))
    }
    if branch.lora.a.isTrainable, let x {
      let left = backend.leftOperand(Columns(dDown), transposed: true)
      let input = branch.input(of: x, on: backend)
      products.append(branch.lora.a.gradientProduct([ProductTerm(left, input, transposed: false)], on: backend))
    }
    return products
  }

  /// dx = sum over layers of dy W + d(down) A, where the update saw x itself.
  private func inputGradient(
    _ layers: [Projection], _ branches: [Branch?], _ lefts: [LeftOperand?], _ dDowns: [Tensor?], into dx: Tensor
  ) -> Product {
    var terms: [ProductTerm] = []
    for (index, layer) in layers.enumerated() {
      if let left = lefts[index] { terms.append(ProductTerm(left, layer.weight.value, transposed: false)) }
      if let branch = branches[index], let dDown = dDowns[index], branch.dropoutKey == nil {
        let left = backend.leftOperand(Columns(dDown), transposed: false, precision: precision)
        terms.append(ProductTerm(left, branch.lora.a.value, transposed: false))
      }
    }
    return Product(terms, into: Columns(dx))
  }

  /// The gradient that reached the dropped input passes the same mask.
  private func addDroppedGradient(_ branch: Branch, _ dDown: Tensor, _ key: UInt64, into dx: Tensor) {
    let gradient = backend.empty(dx.shape, .float32)
    let left = backend.leftOperand(Columns(dDown), transposed: false, precision: precision)
    backend.compute([
      Product([ProductTerm(left, branch.lora.a.value, transposed: false)], into: Columns(gradient))
    ])
    backend.dropout(gradient, rate: branch.lora.dropout, key: key, into: dx, accumulate: true)
  }
}
