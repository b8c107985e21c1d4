/// The peak memory of a training run in bytes, by purpose.
public struct MemoryEstimate: Sendable, Hashable {
  /// The program, the tokenizer and the prepared rows.
  public var program = 0
  /// The weights of the base model, as stored.
  public var weights = 0
  /// The weights of the adapter, in float32.
  public var adapter = 0
  /// The gradients that exist at the peak.
  public var gradients = 0
  /// The optimizer state of all trained parameters.
  public var optimizer = 0
  /// What other ranks send at once.
  public var exchange = 0
  /// Whether the system can page the optimizer state out.
  public var isOptimizerPaged = false
  /// The activations that the largest batch keeps for its backward pass.
  public var activations = 0
  /// Temporary memory at the peak: a chunk of logits, or a layer's gradients.
  public var working = 0
  /// What the largest validation batch takes beyond the peak of training.
  public var evaluation = 0
  /// The number of layers that recompute their activations.
  public var checkpointedLayers = 0

  /// The sum of all parts, in bytes.
  public var total: Int {
    program + weights + adapter + gradients + optimizer + exchange + activations + working + evaluation
  }

  /// The memory that cannot be paged out.
  public var needed: Int { isOptimizerPaged ? total - optimizer : total }

  /// The parts, with the names that a report shows.
  public var parts: [(name: String, bytes: Int)] {
    let parts = [
      ("program and rows", program), ("weights", weights), ("adapter", adapter), ("gradients", gradients),
      ("optimizer", optimizer), ("exchange", exchange), ("activations", activations), ("temporary", working),
    ]
    return evaluation > 0 ? parts + [("evaluation", evaluation)] : parts
  }
}
