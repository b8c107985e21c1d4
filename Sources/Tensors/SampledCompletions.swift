/// What the completions of a batch were sampled with and earned: what a loss over the model's own completions needs
/// besides their tokens.
public struct SampledCompletions: Sendable, Hashable {
  /// How much better each completion is than the others of its prompt.
  public var advantages: [Double] = []
  /// The log-probability of each predicted token when it was sampled, for each completion. Empty if the model is still
  /// the one that sampled them.
  public var logProbabilities: [[Float]] = []
  /// The predicted tokens of all completions that were sampled together, divided by the number of batches that these
  /// became.
  public var tokensPerBatch = 0.0
  /// What is reported once about completions that were sampled together, with the first of their batches.
  public var metrics: [String: MetricSum] = [:]

  /// Creates a description of no completions.
  public init() {}
}
