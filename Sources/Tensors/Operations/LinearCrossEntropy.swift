/// Sums over the losses of one or more batches. They may still be on a device: reading a property waits for it.
public struct LossSums: Sendable {
  private var known = Known()
  private var pending: [PendingLoss] = []

  private struct Known: Sendable {
    var loss = 0.0
    var count = 0
    var correct = 0
    var entropy = 0.0

    static func += (a: inout Known, b: Known) {
      a.loss += b.loss
      a.count += b.count
      a.correct += b.correct
      a.entropy += b.entropy
    }
  }

  /// Creates sums over no tokens: all are zero.
  public init() {}

  fileprivate init(_ loss: PendingLoss) { pending = [loss] }

  /// The sum of the token losses, in nats.
  public var loss: Double {
    get { resolved.loss }
    set { change { $0.loss = newValue } }
  }
  /// The number of targets, by which `loss` is divided for a mean.
  public var count: Int {
    get { known.count + pending.reduce(0) { $0 + $1.count } }
    set { change { $0.count = newValue } }
  }
  /// The number of targets that were the most likely token (the numerator of the token accuracy).
  public var correct: Int {
    get { resolved.correct }
    set { change { $0.correct = newValue } }
  }
  /// The sum of the entropies of the predicted distributions, in nats.
  public var entropy: Double {
    get { resolved.entropy }
    set { change { $0.entropy = newValue } }
  }

  /// Adds two sums without waiting for a device.
  public static func += (a: inout LossSums, b: LossSums) {
    a.known += b.known
    a.pending += b.pending
  }

  /// Reads all of these sums from their device, with a single wait.
  package static func resolve(_ sums: inout [LossSums], on backend: any Backend) {
    let all = sums.flatMap(\.pending)
    guard !all.isEmpty else { return }
    var values = backend.floats(all.map(\.result))[...]
    for index in sums.indices {
      for loss in sums[index].pending { sums[index].known += Self.known(loss, values.popFirst() ?? []) }
      sums[index].pending = []
    }
  }

  private var resolved: Known {
    guard let backend = pending.first?.backend else { return known }
    return zip(pending, backend.floats(pending.map(\.result))).reduce(into: known) { $0 += Self.known($1.0, $1.1) }
  }

  private mutating func change(_ body: (inout Known) -> Void) {
    known = resolved
    pending = []
    body(&known)
  }

  private static func known(_ loss: PendingLoss, _ values: [Float]) -> Known {
    var sums = Known()
    sums.count = loss.count
    for start in stride(from: 0, to: loss.count, by: loss.chunk) {
      let rows = start..<min(loss.count, start + loss.chunk)
      sums.loss += rows.reduce(0) { $0 + Double(values[PendingLoss.columns * $1 + 1]) }
      sums.correct += rows.reduce(0) { $0 + Int(values[PendingLoss.columns * $1 + 2]) }
      sums.entropy += rows.reduce(0) { $0 + Double(values[PendingLoss.columns * $1 + 3]) }
    }
    return sums
  }
}

/// The result of `Backend.crossEntropy` for the rows of a batch.
///
/// `@unchecked Sendable`: the tensor isn't written anymore once it is stored here.
private struct PendingLoss: @unchecked Sendable {
  static let columns = 4
  let result: Tensor
  let count: Int
  /// The number of rows per chunk. Each chunk is summed by itself before the sums are added.
  let chunk: Int
  let backend: any Backend
}

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
