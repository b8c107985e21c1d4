/// Which layers recompute their activations in the backward pass. The results have the same bits either way;
/// recomputing costs about a third of a layer's time.
package struct CheckpointingPlan {
  let activations: ActivationMemory
  /// The memory for activations in bytes. Layers beyond it are checkpointed.
  package let budget: Int

  /// The layers to checkpoint for a batch of this many tokens.
  func layers(tokens: Int) -> Set<Int> { Set(0..<activations.checkpointed(tokens: tokens, budget: budget)) }
}
