/// How a method uses the model before training, which it compares the trained model with.
public struct ReferenceSettings: Sendable, Hashable, Codable {
  /// Whether the reference's log-probabilities of all rows are computed before training. If every weight is trained,
  /// this saves the copy of the weights.
  public var isPrecomputed = false
  /// Rows per batch in that computation; `nil` for those of training or evaluation.
  public var precomputeBatchSize: Int?
  /// Whether the reference follows the model (TR-DPO, arXiv:2404.09656).
  public var isSynced = false
  /// The share of the model in the reference at each synchronization.
  public var mixup = 0.6
  /// Optimizer steps between synchronizations.
  public var syncSteps = 512

  /// Creates settings with TRL's defaults.
  public init() {}

  /// Why the settings cannot be honored; `nil` if they can.
  func problem(trainsAdapter: Bool) -> String? {
    if isSynced, trainsAdapter {
      return "`isSynced` needs training of every weight: with an adapter, the reference is the base model"
    }
    if isSynced, isPrecomputed {
      return "`isSynced` changes the reference, so `isPrecomputed` cannot be combined with it"
    }
    return nil
  }
}
