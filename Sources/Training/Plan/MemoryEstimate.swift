/// The bytes of memory that a training run takes at its peak, by what they are for.
public struct MemoryEstimate: Sendable, Hashable {
  /// The program, its tokenizer and the prepared rows.
  public var program = 0
  /// The model's weights as stored.
  public var weights = 0
  /// The adapter's factors.
  public var adapter = 0
  /// A gradient for each trained weight.
  public var gradients = 0
  /// What the optimizer remembers.
  public var optimizer = 0
  /// Whether the system can move that out of memory.
  public var isOptimizerPaged = false
  /// What the largest batch keeps for its backward pass.
  public var activations = 0
  /// What the widest place of the passes takes besides: the head's chunk of logits, or a layer's gradients.
  public var working = 0
  /// What the largest batch of held-out rows takes beyond the training's peak.
  public var evaluation = 0
  /// Layers whose activations are computed again instead of kept.
  public var checkpointedLayers = 0

  /// All of it.
  public var total: Int { program + weights + adapter + gradients + optimizer + activations + working + evaluation }

  /// What has to be in memory at once.
  public var needed: Int { isOptimizerPaged ? total - optimizer : total }

  /// The parts with their names.
  public var parts: [(name: String, bytes: Int)] {
    let parts = [
      ("program and rows", program), ("weights", weights), ("adapter", adapter), ("gradients", gradients),
      ("optimizer", optimizer), ("activations", activations), ("head and working", working),
    ]
    return evaluation > 0 ? parts + [("evaluation", evaluation)] : parts
  }
}
