import Essentials

/// What the head finds over a batch.
public struct LossSums: Sendable {
  /// Sum of the token losses, in nats.
  public var loss = 0.0
  /// Targets counted.
  public var count = 0
  /// Targets that were the most likely token.
  public var correct = 0
  /// Sum of the predicted distributions' entropies, in nats.
  public var entropy = 0.0

  /// Nothing yet.
  public init() {}

  /// The sums of both.
  public static func += (a: inout LossSums, b: LossSums) {
    a.loss += b.loss
    a.count += b.count
    a.correct += b.correct
    a.entropy += b.entropy
  }
}

extension Tape {
  /// Rows of logits that exist at once. Eight million of them are 32 MB, and as much again packed; with fewer than 96 rows
  /// the product would wait for the packing of the head.
  package static func headRows(vocabulary: Int) -> Int { min(max(96, (8 << 20) / max(1, vocabulary)), 1024) }

  /// The head and its cross-entropy in one pass: hidden states `[rows, width]` and, for each row, the id to predict or
  /// `TokenBatch.ignoredLabel`. Logits exist for a few hundred rows at a time, and only for rows with a target; their gradient
  /// is taken at once, times `gradientScale`.
  ///
  /// - Parameters:
  ///   - logitScale: what logits are multiplied by.
  ///   - softcap: if positive, logits are softcap · tanh(logit / softcap).
  ///   - smoothing: the share of each target that is spread over the vocabulary.
  ///   - tokenWeights: given each chunk's row numbers and losses, returns what each loss and its gradient is multiplied
  ///     by; the weights themselves count as constants. `nil` for 1.
  ///   - collect: called with each chunk's row numbers and losses.
  public func headLoss(
    _ hidden: Variable, head: Parameter, targets: [Int32], gradientScale: Float, logitScale: Float = 1,
    softcap: Float = 0, smoothing: Float = 0, collect: (([Int32], [Float]) -> Void)? = nil,
    tokenWeights: (([Int32], [Float]) -> [Float])? = nil
  ) -> LossSums {
    var sums = LossSums()
    let counted = targets.indices.filter { targets[$0] != TokenBatch.ignoredLabel }.map(Int32.init)
    let needsGradient = isRecording && (hidden.requiresGradient || head.isTrainable)
    let dHidden: Tensor? = needsGradient && hidden.requiresGradient ? backend.empty(hidden.value.shape, .float32) : nil
    if let dHidden { backend.clear(dHidden) }
    let chunk = Self.headRows(vocabulary: head.value.rows)
    for start in stride(from: 0, to: counted.count, by: chunk) {
      let rows = Array(counted[start..<min(counted.count, start + chunk)])
      var states = backend.gatherRows(hidden.value, rows)
      if logitScale != 1 { states = backend.scaled(states, logitScale) }
      let logits = backend.empty([rows.count, head.value.rows], .float32)
      let left = backend.leftOperand(Columns(states), transposed: false, precision: precision)
      backend.compute([Product([ProductTerm(left, head.value, transposed: true)], into: Columns(logits))])
      let found = backend.crossEntropy(
        logits, targets: rows.map { targets[Int($0)] }, gradientScale: needsGradient ? gradientScale : nil,
        softcap: softcap, smoothing: smoothing)
      let weights = tokenWeights?(rows, found.losses)
      let losses = weights.map { zip(found.losses, $0).map { $0 * $1 } } ?? found.losses
      sums.loss += losses.reduce(0) { $0 + Double($1) }
      sums.correct += found.correct
      sums.entropy += found.entropy
      collect?(rows, found.losses)
      guard needsGradient else { continue }
      if let weights { backend.scaleRows(logits, by: weights) }
      var products: [Product] = []
      if head.isTrainable {
        let dLogits = backend.leftOperand(Columns(logits), transposed: true, precision: precision)
        products.append(head.gradientProduct([ProductTerm(dLogits, states, transposed: false)], on: backend))
      }
      if let dHidden {
        let dStates = backend.empty(states.shape, .float32)
        let dLogits = backend.leftOperand(Columns(logits), transposed: false, precision: precision)
        products.append(Product([ProductTerm(dLogits, head.value, transposed: false)], into: Columns(dStates)))
        backend.compute(products)
        backend.scatterAddRows(
          logitScale == 1 ? dStates : backend.scaled(dStates, logitScale), rows, into: dHidden)
      } else {
        backend.compute(products)
      }
    }
    sums.count = counted.count
    if let dHidden { accumulate(dHidden, into: hidden.slot) }
    return sums
  }
}
