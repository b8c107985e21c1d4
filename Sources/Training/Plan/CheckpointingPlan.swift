/// Which layers' activations are computed again in the backward pass instead of kept. The results are the same bits
/// either way; it costs about a third of a layer's time.
package struct CheckpointingPlan {
  let activations: ActivationMemory
  /// Bytes that kept activations may take; layers beyond them are checkpointed.
  package let budget: Int

  /// The layers to checkpoint for a batch of so many tokens.
  func layers(tokens: Int) -> Set<Int> { Set(0..<activations.checkpointed(tokens: tokens, budget: budget)) }
}
