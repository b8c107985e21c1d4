import Models
import Tensors

/// The memory of a batch's activations: what the backward pass needs, and what both passes need temporarily.
///
/// It counts what the operations in `Tensors/Operations` keep. What is cheap to recompute (normalized inputs, the output
/// of the gated MLP) is not kept.
package struct ActivationMemory {
  /// The transformer's layers.
  let layerCount: Int
  /// Floats per token that a layer keeps.
  private let keptFloats: Int
  /// Floats per token that a checkpointed layer keeps: its input, and what is added to it.
  private let checkpointedFloats: Int
  /// Floats per token that a layer's backward pass needs at its peak, beyond those kept.
  private let workingFloats: Int
  /// Floats per token outside the layers: the final norm's input and output, and rotary angles.
  private let edgeFloats: Int
  private let vocabulary: Int
  private let width: Int
  private let hidden: Int

  package init(_ transformer: Transformer) {
    let configuration = transformer.configuration
    let shape = configuration.attentionShape(layer: 0)
    let (width, hidden) = (configuration.hiddenSize, configuration.intermediateSize)
    let joined = shape.queryColumns + 2 * shape.keyColumns
    layerCount = configuration.layers.count
    vocabulary = configuration.vocabularySize
    self.width = width
    self.hidden = hidden
    let ranks = transformer.linearLayers.reduce(0) { $0 + ($1.lora?.a.value.rows ?? 0) } / max(1, layerCount)
    // Both norms' sums; q, k, v; the attention's output and statistics; gate and up; the adapters' inner values.
    var kept = 2 * (width + 1) + joined + shape.queryColumns + shape.attentionHeads + 2 * hidden + ranks
    // DoRA keeps each layer's output before magnitudes are applied.
    kept +=
      transformer.linearLayers.reduce(0) { $0 + ($1.lora?.magnitude == nil ? 0 : $1.outputSize) } / max(1, layerCount)
    if configuration.hasQueryKeyNorms { kept += joined + shape.attentionHeads + shape.keyValueHeads }
    if configuration.hasOutputNorms { kept += 2 * (width + 1) }
    keptFloats = kept
    checkpointedFloats = 2 * width
    // The gradients of the gated unit's output and inputs; or those of the inputs, packed beside themselves, and the
    // layer's input and its gradient. The stream's gradient lives through all of it.
    workingFloats = max(3 * hidden, 2 * hidden + 3 * width) + 2 * width
    edgeFloats = 2 * width + shape.headDim
  }

  /// The bytes kept if the first `checkpointed` layers are checkpointed.
  package func kept(tokens: Int, checkpointed: Int = 0) -> Int {
    4 * tokens * ((layerCount - checkpointed) * keptFloats + checkpointed * checkpointedFloats)
  }

  /// The bytes outside the layers.
  package func edges(tokens: Int) -> Int { 4 * tokens * edgeFloats }

  /// The bytes of a layer while it recomputes its activations and runs backward.
  private func recomputed(tokens: Int) -> Int { 4 * tokens * (keptFloats + workingFloats) }

  /// The bytes of the head: a chunk of logits, a packed copy, and the chunk's hidden states with their gradient.
  func head(targets: Int) -> Int {
    let rows = min(targets, Tape.logitChunkRows(vocabulary: vocabulary))
    return 4 * rows * (2 * vocabulary + 4 * width)
  }

  /// The peak of a batch: at the head, where all activations exist, or in a layer's backward pass.
  func peak(tokens: Int, targets: Int, checkpointed: Int) -> Int {
    let all = kept(tokens: tokens, checkpointed: checkpointed)
    let working = 4 * tokens * workingFloats
    let atTop = all + max(head(targets: targets), checkpointed < layerCount ? working : 0)
    let atFirst =
      checkpointed > 0 ? 4 * tokens * checkpointed * checkpointedFloats + recomputed(tokens: tokens) : 0
    // Around the layers there are two gradients as well.
    return edges(tokens: tokens) + 8 * tokens * width + max(atTop, atFirst)
  }

  /// The peak at the end of the backward pass, when one layer's activations are left.
  func end(tokens: Int) -> Int { edges(tokens: tokens) + recomputed(tokens: tokens) }

  /// The peak without a backward pass: in a layer's MLP, or at the head.
  func evaluation(tokens: Int, targets: Int) -> Int {
    let rows = min(targets, Tape.logitChunkRows(vocabulary: vocabulary))
    let widest = 4 * tokens * (4 * hidden + 4 * width)
    return edges(tokens: tokens) + max(widest, 4 * (2 * tokens * width + rows * (vocabulary + 2 * width)))
  }

  /// The number of layers to checkpoint so that the others keep at most `budget` bytes. The first layers are checkpointed,
  /// because they would keep their activations longest.
  func checkpointed(tokens: Int, budget: Int) -> Int {
    max(0, min(layerCount, layerCount - budget / max(1, 4 * tokens * keptFloats)))
  }
}
