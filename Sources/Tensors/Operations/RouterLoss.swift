/// The auxiliary loss of the routers of mixtures of experts, which keeps experts equally busy (Fedus et al. 2021,
/// arXiv:2101.03961, equations 4 to 6), over the tokens of all layers together as in transformers: E Σ fₑ Pₑ over the E
/// experts, where fₑ is the share of tokens that go to expert e, a constant, and Pₑ the mean of its probability.
///
/// `Tape.experts` adds each layer in the forward pass. The gradient of every layer depends on all of them, so the tape may
/// run backward only when all have been added.
public final class RouterLoss {
  private let backend: any Backend
  private let gradientScale: Double
  /// How often each row counts, `[rows, 1]`.
  private let counts: Tensor
  private let countSum: Double
  private var layerCount = 0
  /// Over the tokens of all layers, `[1, experts]`: how many go to each expert, and the sum of its probabilities.
  private var sums: (chosen: Tensor, probabilities: Tensor)?

  /// The loss of one pass of these rows through a model.
  /// - Parameters:
  ///   - counts: how often each row counts: a row of a shared prefix once for each sequence.
  ///   - gradientScale: multiplies the gradient.
  public init(counts: [Float], gradientScale: Double, on backend: any Backend) {
    self.backend = backend
    self.gradientScale = gradientScale
    self.counts = backend.tensor(counts, [counts.count, 1])
    countSum = counts.reduce(0) { $0 + Double($1) }
  }

  /// What the sum over experts of `chosen` times `probabilities` is multiplied by.
  private func factor(experts: Int) -> Double {
    let tokens = max(1, countSum * Double(layerCount))
    return Double(experts) / tokens / tokens
  }

  /// Adds a layer.
  func add(_ routing: ExpertRouting) {
    let experts = routing.probabilities.columns
    let sums = sums ?? (zeros([1, experts]), zeros([1, experts]))
    precondition(sums.chosen.columns == experts, "all layers must have as many experts")
    backend.addColumnSums(
      Columns(backend.tokenRows(counts, routing)),
      into: (0..<experts).map { sums.chosen.elements($0..<$0 + 1) }, groups: routing.groups)
    backend.compute([
      product(counts, transposed: true, routing.probabilities, into: sums.probabilities, accumulate: true)
    ])
    self.sums = sums
    layerCount += 1
  }

  /// Adds the gradient of a layer's logits.
  func addGradient(of routing: ExpertRouting, into dLogits: Tensor) {
    guard gradientScale != 0, let sums else { return }
    let probabilities = routing.probabilities
    let experts = probabilities.columns
    // Of a token's probabilities p: d = scale · count · chosen; through the softmax: p (d − Σ p d).
    let d = backend.empty(probabilities.shape, .float32)
    let scale = Float(gradientScale * factor(experts: experts))
    backend.compute([product(backend.scaled(counts, scale), sums.chosen, into: d)])
    let means = backend.rowDots(probabilities, d).reshaped([d.rows, 1])
    let minusOnes = backend.tensor([Float](repeating: -1, count: experts), [1, experts])
    backend.compute([product(means, minusOnes, into: d, accumulate: true)])
    backend.multiply(Columns(probabilities), Columns(d), into: Columns(dLogits), accumulate: true)
  }

  /// The value, which may still be on a device; `nil` if no layer was added.
  var pending: PendingRouterLoss? {
    sums.map {
      PendingRouterLoss(
        result: backend.rowDots($0.chosen, $0.probabilities), factor: factor(experts: $0.chosen.columns),
        backend: backend)
    }
  }

  private func product(
    _ left: Tensor, transposed: Bool = false, _ right: Tensor, into: Tensor, accumulate: Bool = false
  ) -> Product {
    let left = backend.leftOperand(Columns(left), transposed: transposed)
    return Product([ProductTerm(left, right, transposed: false)], into: Columns(into), accumulate: accumulate)
  }

  private func zeros(_ shape: [Int]) -> Tensor {
    let zeros = backend.empty(shape, .float32)
    backend.clear(zeros)
    return zeros
  }
}

/// A value of ``RouterLoss`` that may still be on a device.
///
/// `@unchecked Sendable`: nobody writes the tensor after it has been put in here.
struct PendingRouterLoss: @unchecked Sendable {
  /// One element.
  let result: Tensor
  /// What it is multiplied by.
  let factor: Double
  let backend: any Backend
}
