extension Tape {
  /// Rows of logits that exist at once. Eight million of them are 32 MB, and as much again packed; with fewer than 96 rows
  /// the product would wait for the packing of the head.
  package static func logitChunkRows(vocabulary: Int) -> Int { min(max(96, (8 << 20) / max(1, vocabulary)), 1024) }

  /// The head and its cross-entropy in one pass: hidden states `[rows, width]` and, for each row, the id to predict or
  /// `TokenBatch.ignoredLabel`. Logits exist for a few hundred rows at a time, and only for rows with a target; their gradient
  /// is taken at once, times `gradientScale`.
  ///
  /// - Parameters:
  ///   - logitScale: what logits are multiplied by.
  ///   - softcap: if positive, logits are softcap · tanh(logit / softcap).
  ///   - smoothing: the share of each target that is spread over the vocabulary.
  ///   - weighsByProbability: whether each token's loss and gradient are multiplied by the token's probability
  ///     (arXiv:2508.05629).
  ///   - tokenWeights: given each chunk's row numbers and losses, returns what each loss and its gradient is multiplied
  ///     by; the weights themselves count as constants. `nil` for 1. Waits for a device, as `collect` does.
  ///   - collect: called with each chunk's row numbers and losses.
  /// - Returns: the sums, which may still be on a device.
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
