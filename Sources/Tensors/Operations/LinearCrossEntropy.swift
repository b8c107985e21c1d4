/// The losses of a batch, summed. They may still be on a device: reading a property waits for it.
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

  /// Creates sums of nothing.
  public init() {}

  fileprivate init(_ loss: PendingLoss) { pending = [loss] }

  /// The sum of the token losses, in nats.
  public var loss: Double {
    get { resolved.loss }
    set { change { $0.loss = newValue } }
  }
  /// The number of targets.
  public var count: Int {
    get { known.count + pending.reduce(0) { $0 + $1.count } }
    set { change { $0.count = newValue } }
  }
  /// The number of targets that were the most likely token.
  public var correct: Int {
    get { resolved.correct }
    set { change { $0.correct = newValue } }
  }
  /// The sum of the entropies of the predicted distributions, in nats.
  public var entropy: Double {
    get { resolved.entropy }
    set { change { $0.entropy = newValue } }
  }

  /// Adds sums without waiting for a device.
  public static func += (a: inout LossSums, b: LossSums) {
    a.known += b.known
    a.pending += b.pending
  }

  /// Reads what is still on a device, for all of these sums with one wait.
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

/// What `Backend.crossEntropy` writes for the rows of a batch.
///
/// `@unchecked Sendable`: nobody writes the tensor after it has been put in here.
private struct PendingLoss: @unchecked Sendable {
  static let columns = 4
  let result: Tensor
  let count: Int
  /// Rows whose sums are added first.
  let chunk: Int
  let backend: any Backend
}

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
