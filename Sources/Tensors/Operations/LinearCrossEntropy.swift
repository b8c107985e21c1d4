extension Tape {
  /// The number of rows of logits that exist at a time: 32 MB of them, and another 32 MB when packed. With fewer than
  /// 96 rows, packing the head would dominate the time of the product.
  package static func logitChunkRows(vocabulary: Int) -> Int { min(max(96, (8 << 20) / max(1, vocabulary)), 1024) }

  /// The language model head and its cross-entropy, fused: logits exist for a few hundred rows at a time, and only for
  /// rows with a target, and are replaced by their gradient immediately.
  ///
  /// - Parameters:
  ///   - hidden: final hidden states, `[rows, hidden size]`.
  ///   - head: the head's weight, `[vocabulary, hidden size]`.
  ///   - targets: the token id that each row must predict, or `TokenBatch.ignoredLabel`.
  ///   - gradientScale: multiplies the gradient.
  ///   - logitScale: multiplies the logits.
  ///   - softcap: if positive, logits become softcap · tanh(logit / softcap).
  ///   - smoothing: the share of each target's probability that is spread over the vocabulary (arXiv:1512.00567).
  ///   - weighsByProbability: whether each token's loss and gradient are multiplied by the token's probability
  ///     (arXiv:2508.05629).
  ///   - collect: called with the row numbers and losses of each chunk. Waits for a device.
  ///   - tokenWeights: returns a weight for each row of a chunk, given the row numbers and losses. It multiplies the
  ///     loss and its gradient, and counts as a constant. Waits for a device.
  /// - Returns: sums over the rows with a target, which may still be on a device.
  public func linearCrossEntropy(
    _ hidden: Variable, head: Parameter, targets: [Int32], gradientScale: Float, logitScale: Float = 1,
    softcap: Float = 0, smoothing: Float = 0, weighsByProbability: Bool = false,
    collect: (([Int32], [Float]) -> Void)? = nil,
    tokenWeights: (([Int32], [Float]) -> [Float])? = nil
  ) -> LossSums {
    let counted = targets.indices.filter { targets[$0] != TokenBatch.ignoredLabel }.map(Int32.init)
    let needsGradient = isRecording && (hidden.requiresGradient || head.isTrainable)
    let dHidden: Tensor? = needsGradient && hidden.requiresGradient ? backend.empty(hidden.value.shape, .float32) : nil
    if let dHidden { backend.clear(dHidden) }
    let chunk = Self.logitChunkRows(vocabulary: head.value.rows)
    let result = backend.empty([counted.count, PendingLoss.columns], .float32)
    for start in stride(from: 0, to: counted.count, by: chunk) {
      let rows = Array(counted[start..<min(counted.count, start + chunk)])
      var states = backend.gatherRows(hidden.value, rows)
      if logitScale != 1 { states = backend.scaled(states, logitScale) }
      let logits = backend.empty([rows.count, head.value.rows], .float32)
      let left = backend.leftOperand(Columns(states), transposed: false, precision: precision)
      backend.compute([Product([ProductTerm(left, head.value, transposed: true)], into: Columns(logits))])
      let found = result.rows(start..<start + rows.count)
      backend.crossEntropy(
        logits, targets: rows.map { targets[Int($0)] }, gradientScale: needsGradient ? gradientScale : nil,
        softcap: softcap, smoothing: smoothing, weighsByProbability: weighsByProbability, into: found)
      if collect != nil || tokenWeights != nil {
        var values = backend.floats(found)
        let losses = rows.indices.map { values[PendingLoss.columns * $0] }
        if let weights = tokenWeights?(rows, losses) {
          for (row, weight) in weights.enumerated() { values[PendingLoss.columns * row + 1] *= weight }
          backend.copy(backend.tensor(values, found.shape), to: found)
          if needsGradient { backend.scaleRows(logits, by: weights) }
        }
        collect?(rows, losses)
      }
      guard needsGradient else { continue }
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
    if let dHidden { accumulate(dHidden, into: hidden.slot) }
    return LossSums(PendingLoss(result: result, count: counted.count, chunk: chunk, backend: backend))
  }
}
