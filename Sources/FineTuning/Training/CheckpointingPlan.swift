import Models

/// Which layers' activations are computed again in the backward pass instead of kept. The results are the same bits
/// either way; it costs about a third of a layer's time.
struct CheckpointingPlan {
  /// Bytes that activations may take; layers beyond them are checkpointed.
  let budget: Int
  private let bytesPerTokenAndLayer: Int
  private let layerCount: Int

  init(_ configuration: DecoderConfiguration, budget: Int) {
    self.budget = budget
    layerCount = configuration.layers.count
    let shape = configuration.attentionShape(layer: 0)
    let joined = shape.queryColumns + 2 * shape.keyColumns
    // The stream twice, its norms twice, q, k, v, the attention's output, gate and up, and their product.
    bytesPerTokenAndLayer =
      4 * (4 * configuration.width + joined + shape.queryColumns + shape.heads + 3 * configuration.feedForwardWidth)
  }

  /// The layers to checkpoint for a batch of so many tokens: the first ones, which keep theirs longest.
  func layers(tokens: Int) -> Set<Int> {
    let perLayer = max(1, tokens * bytesPerTokenAndLayer)
    return Set(0..<max(0, min(layerCount, layerCount - budget / perLayer)))
  }

  /// What the kept activations of a batch of so many tokens take.
  func bytes(tokens: Int) -> Int { tokens * bytesPerTokenAndLayer * (layerCount - layers(tokens: tokens).count) }
}
