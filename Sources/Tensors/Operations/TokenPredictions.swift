/// What a model predicts at the positions that have a target, in the order of `rows`.
public final class TokenPredictions {
  /// The rows of the hidden states that have a target.
  public let rows: [Int32]
  /// The natural logarithm of each target's probability.
  public fileprivate(set) var logProbabilities: [Float] = []
  /// Whether the target is the most likely token.
  public fileprivate(set) var isMostLikely: [Bool] = []
  /// The entropy of the predicted distribution, in nats.
  public fileprivate(set) var entropies: [Float] = []
  /// The mean of the logits; empty unless statistics were asked for.
  public fileprivate(set) var meanLogits: [Float] = []
  /// log Σ p² over the vocabulary; empty unless statistics were asked for.
  public fileprivate(set) var logSquareSums: [Float] = []
  /// The derivative of the loss by each log-probability. Set it before the tape runs backward; without it, nothing
  /// flows back.
  public var gradients: [Float]?

  fileprivate init(rows: [Int32]) { self.rows = rows }

  fileprivate func append(_ found: [Float], _ statistics: [Float]?) {
    for start in stride(from: 0, to: found.count, by: PendingLoss.columns) {
      logProbabilities.append(-found[start])
      isMostLikely.append(found[start + 2] != 0)
      entropies.append(found[start + 3])
    }
    guard let statistics else { return }
    for start in stride(from: 0, to: statistics.count, by: 2) {
      meanLogits.append(statistics[start])
      logSquareSums.append(statistics[start + 1])
    }
  }
}

extension Tape {
  /// The head and the log-probability of each target: hidden states `[rows, width]` and, for each row, the id to predict
  /// or `TokenBatch.ignoredLabel`. For losses that depend on several tokens at once, which `linearCrossEntropy` cannot compute.
  ///
  /// Logits exist for a few hundred rows at a time. A frozen head is passed once: the gradient of each log-probability by
  /// its hidden state is taken with it, and the backward pass only scales its rows. A trained head is passed again.
  /// - Parameters:
  ///   - softcap: if positive, logits are softcap · tanh(logit / softcap).
  ///   - statistics: whether to fill `meanLogits` and `logSquareSums`.
  public func tokenPredictions(
    _ hidden: Variable, head: Parameter, targets: [Int32], logitScale: Float = 1, softcap: Float = 0,
    statistics: Bool = false
  ) -> TokenPredictions {
    let predictions = TokenPredictions(
      rows: targets.indices.filter { targets[$0] != TokenBatch.ignoredLabel }.map(Int32.init))
    let pass = HeadPass(
      hidden: hidden.value, head: head, targets: targets, logitScale: logitScale, softcap: softcap, tape: self)
    let needsStates = isRecording && hidden.requiresGradient
    let unit = needsStates && !head.hasTrainableRows ? cleared(hidden.value.shape) : nil
    pass.forEachChunk(of: predictions.rows) { range, states, logits in
      let found = statistics ? backend.floats(backend.logitStatistics(logits, softcap: softcap)) : nil
      let rows = Array(predictions.rows[range])
      predictions.append(pass.crossEntropy(logits, rows, withGradient: unit != nil), found)
      if let unit { pass.addGradients(logits, states, rows, addsHead: false, into: unit) }
    }
    guard needsStates || isRecording && head.hasTrainableRows else { return predictions }
    let source = hidden.slot
    record { [unowned self] in
      guard let gradients = predictions.gradients else { return }
      let dHidden = needsStates ? unit ?? cleared(pass.hidden.shape) : nil
      if let unit {
        var factors = [Float](repeating: 0, count: targets.count)
        for (row, gradient) in zip(predictions.rows, gradients) { factors[Int(row)] = gradient }
        backend.scaleRows(unit, by: factors)
      } else {
        pass.backward(predictions.rows, gradients, into: dHidden)
      }
      if let dHidden { accumulate(dHidden, into: source) }
    }
    return predictions
  }

  private func cleared(_ shape: [Int]) -> Tensor {
    let tensor = backend.empty(shape, .float32)
    backend.clear(tensor)
    return tensor
  }
}

/// Passes over the head in chunks of rows.
private struct HeadPass {
  let hidden: Tensor
  let targets: [Int32]
  let logitScale: Float
  let softcap: Float
  let products: HeadProducts
  var backend: any Backend { products.backend }

  init(hidden: Tensor, head: Parameter, targets: [Int32], logitScale: Float, softcap: Float, tape: Tape) {
    self.hidden = hidden
    self.targets = targets
    self.logitScale = logitScale
    self.softcap = softcap
    products = HeadProducts(head: head, backend: tape.backend, precision: tape.precision)
  }

  /// Calls `body` with a range of `rows`, their hidden states, and their logits.
  func forEachChunk(of rows: [Int32], _ body: (Range<Int>, Tensor, Tensor) -> Void) {
    let size = Tape.logitChunkRows(vocabulary: products.head.value.rows, of: rows.count)
    for start in stride(from: 0, to: rows.count, by: size) {
      let range = start..<min(rows.count, start + size)
      var states = backend.gatherRows(hidden, Array(rows[range]))
      if logitScale != 1 { states = backend.scaled(states, logitScale) }
      body(range, states, products.logits(states))
    }
  }

  /// What `Backend.crossEntropy` finds. With a gradient, the logits become that of the log-probabilities.
  func crossEntropy(_ logits: Tensor, _ rows: [Int32], withGradient: Bool) -> [Float] {
    let found = backend.empty([rows.count, PendingLoss.columns], .float32)
    backend.crossEntropy(
      logits, targets: rows.map { targets[Int($0)] }, gradientScale: withGradient ? -1 : nil, softcap: softcap,
      smoothing: 0, weighsByProbability: false, into: found)
    return backend.floats(found)
  }

  /// Adds the gradients of the head and of the rows' hidden states, given that of their logits.
  func addGradients(_ dLogits: Tensor, _ states: Tensor, _ rows: [Int32], addsHead: Bool, into dHidden: Tensor?) {
    let dStates = products.backward(dLogits, states, addsHead: addsHead, needsStates: dHidden != nil)
    guard let dHidden, let dStates else { return }
    backend.scatterAddRows(logitScale == 1 ? dStates : backend.scaled(dStates, logitScale), rows, into: dHidden)
  }

  /// Computes the logits again, for the gradients of the head and of the hidden states.
  func backward(_ rows: [Int32], _ gradients: [Float], into dHidden: Tensor?) {
    forEachChunk(of: rows) { range, states, logits in
      let chunk = Array(rows[range])
      _ = crossEntropy(logits, chunk, withGradient: true)
      backend.scaleRows(logits, by: Array(gradients[range]))
      addGradients(logits, states, chunk, addsHead: true, into: dHidden)
    }
  }
}
