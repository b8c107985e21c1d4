/// A mean under way: a weighted sum, and the weight.
public struct MetricSum: Sendable, Hashable {
  /// The sum of the values, each times its weight.
  public var sum: Double
  /// The sum of the weights.
  public var weight: Double

  /// A sum; by default of one value.
  public init(_ sum: Double, weight: Double = 1) {
    self.sum = sum
    self.weight = weight
  }

  /// The mean; 0 if there are no values.
  public var mean: Double { weight == 0 ? 0 : sum / weight }

  /// The sum over the values of both.
  public static func + (a: MetricSum, b: MetricSum) -> MetricSum {
    MetricSum(a.sum + b.sum, weight: a.weight + b.weight)
  }
}

/// The losses of a batch, summed. They may still be on a device: reading a property waits for it.
public struct LossSums: Sendable {
  private var known = Known()
  private var pending: [PendingLoss] = []
  private var pendingRouterLosses: [(loss: PendingRouterLoss, weight: Double)] = []

  private struct Known: Sendable {
    var loss = 0.0
    var count = 0
    var correct = 0
    var entropy = 0.0
    var metrics: [String: MetricSum] = [:]

    static func += (a: inout Known, b: Known) {
      a.loss += b.loss
      a.count += b.count
      a.correct += b.correct
      a.entropy += b.entropy
      a.metrics.merge(b.metrics) { $0 + $1 }
    }
  }

  /// Creates sums of nothing.
  public init() {}

  init(_ loss: PendingLoss) { pending = [loss] }

  /// The sum of the losses of all targets, in nats; of a loss over pairs, that of all pairs.
  public var loss: Double {
    get { resolved.loss }
    set { change { $0.loss = newValue } }
  }
  /// The number of targets; of a loss over pairs, the number of pairs.
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

  /// What a loss reports besides the loss itself, by the name in the log, such as `rewards/margins`.
  public var metrics: [String: MetricSum] {
    get { resolved.metrics }
    set { change { $0.metrics = newValue } }
  }

  /// The name of the metric that routers' auxiliary losses are: TRL's.
  package static let routerLossName = "aux_loss"

  /// Adds sums without waiting for a device.
  public static func += (a: inout LossSums, b: LossSums) {
    a.known += b.known
    a.pending += b.pending
    a.pendingRouterLosses += b.pendingRouterLosses
  }

  /// Adds an auxiliary loss of routers to the metrics and, times `weight`, to the loss. Doesn't wait for a device.
  package mutating func add(_ loss: RouterLoss, weight: Double) {
    if let loss = loss.pending { pendingRouterLosses.append((loss, weight)) }
  }

  /// Reads what is still on a device, for all of these sums with one wait.
  package static func resolve(_ sums: inout [LossSums], on backend: any Backend) {
    let all = sums.flatMap(\.pendingResults)
    guard !all.isEmpty else { return }
    var values = backend.floats(all)[...]
    for index in sums.indices {
      let count = sums[index].pendingResults.count
      sums[index].resolve(values.prefix(count))
      values = values.dropFirst(count)
    }
  }

  private var pendingResults: [Tensor] { pending.map(\.result) + pendingRouterLosses.map(\.loss.result) }

  /// Adds what is pending, given the elements of `pendingResults`.
  private mutating func resolve(_ values: ArraySlice<[Float]>) {
    for (loss, values) in zip(pending, values) { known += Self.known(loss, values) }
    for ((loss, weight), values) in zip(pendingRouterLosses, values.dropFirst(pending.count)) {
      let value = loss.factor * Double(values.first ?? 0)
      known.loss += weight * value
      known.metrics.merge([Self.routerLossName: MetricSum(value)]) { $0 + $1 }
    }
    (pending, pendingRouterLosses) = ([], [])
  }

  private var resolved: Known {
    var sums = self
    sums.resolve()
    return sums.known
  }

  private mutating func resolve() {
    guard let backend = pending.first?.backend ?? pendingRouterLosses.first?.loss.backend else { return }
    resolve(backend.floats(pendingResults)[...])
  }

  private mutating func change(_ body: (inout Known) -> Void) {
    resolve()
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
struct PendingLoss: @unchecked Sendable {
  static let columns = 4
  let result: Tensor
  let count: Int
  /// Rows whose sums are added first.
  let chunk: Int
  let backend: any Backend
}
