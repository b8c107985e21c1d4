extension Tape {
  /// The number of rows of logits that exist at a time: at most 64 MB of them, and another 64 MB when packed, or else 96
  /// rows, because packing the head would dominate the time of a product of fewer. All chunks have about the same size.
  package static func logitChunkRows(vocabulary: Int, of rows: Int) -> Int {
    let most = min(max(96, (16 << 20) / max(1, vocabulary)), 1024)
    let chunks = max(1, (rows + most - 1) / most)
    return max(1, (rows + chunks - 1) / chunks)
  }

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
    fusedHead(hidden, head: head, targets: targets, logitScale: logitScale) { logits, rows, found, needsGradient in
      backend.crossEntropy(
        logits, targets: rows.map { targets[Int($0)] }, gradientScale: needsGradient ? gradientScale : nil,
        softcap: softcap, smoothing: smoothing, weighsByProbability: weighsByProbability, into: found)
      guard collect != nil || tokenWeights != nil else { return }
      var values = backend.floats(found)
      let losses = rows.indices.map { values[PendingLoss.columns * $0] }
      if let weights = tokenWeights?(rows, losses) {
        for (row, weight) in weights.enumerated() { values[PendingLoss.columns * row + 1] *= weight }
        backend.copy(backend.tensor(values, found.shape), to: found)
        if needsGradient { backend.scaleRows(logits, by: weights) }
      }
      collect?(rows, losses)
    }
  }

  /// The head and a loss of each row of its logits, fused.
  ///
  /// - Parameter loss: given the logits of a chunk of rows, the row numbers, and whether the logits must become their
  ///   gradient; writes what `Backend.crossEntropy` does.
  func fusedHead(
    _ hidden: Variable, head: Parameter, targets: [Int32], logitScale: Float = 1,
    _ loss: (_ logits: Tensor, _ rows: [Int32], _ found: Tensor, _ needsGradient: Bool) -> Void
  ) -> LossSums {
    let counted = targets.indices.filter { targets[$0] != TokenBatch.ignoredLabel }.map(Int32.init)
    let needsGradient = isRecording && (hidden.requiresGradient || head.hasTrainableRows)
    let products = HeadProducts(head: head, backend: backend, precision: precision)
    let dHidden: Tensor? = needsGradient && hidden.requiresGradient ? backend.empty(hidden.value.shape, .float32) : nil
    if let dHidden { backend.clear(dHidden) }
    let chunk = Self.logitChunkRows(vocabulary: head.value.rows, of: counted.count)
    let result = backend.empty([counted.count, PendingLoss.columns], .float32)
    for start in stride(from: 0, to: counted.count, by: chunk) {
      let rows = Array(counted[start..<min(counted.count, start + chunk)])
      var states = backend.gatherRows(hidden.value, rows)
      if logitScale != 1 { states = backend.scaled(states, logitScale) }
      let logits = products.logits(states)
      loss(logits, rows, result.rows(start..<start + rows.count), needsGradient)
      guard needsGradient else { continue }
      let dStates = products.backward(logits, states, addsHead: true, needsStates: dHidden != nil)
      if let dHidden, let dStates {
        backend.scatterAddRows(
          logitScale == 1 ? dStates : backend.scaled(dStates, logitScale), rows, into: dHidden)
      }
    }
    if let dHidden { accumulate(dHidden, into: hidden.slot) }
    return LossSums(PendingLoss(result: result, count: counted.count, chunk: chunk, backend: backend))
  }
}
