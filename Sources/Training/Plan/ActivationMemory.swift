import Models
import Tensors

/// The bytes of activations that a batch keeps for its backward pass, and those that the passes need for a moment.
///
/// It counts what the operations of `Tensors/Operations` keep: whatever follows by a cheap pass from something else
/// that is kept (normed inputs, the gated unit's output) is computed again and costs nothing here.
package struct ActivationMemory {
  /// The transformer's layers.
  let layerCount: Int
  /// Floats that a layer keeps for a token.
  private let keptFloats: Int
  /// Floats that a checkpointed layer keeps for a token: the stream, and what is to be added to it.
  private let checkpointedFloats: Int
  /// Floats for a token that a layer's backward pass needs at its widest, beyond those kept.
  private let workingFloats: Int
  /// Floats for a token around the layers: the last norm's input and output, and rotary angles.
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
    if configuration.hasQueryKeyNorms { kept += joined + shape.attentionHeads + shape.keyValueHeads }
    if configuration.hasOutputNorms { kept += 2 * (width + 1) }
    keptFloats = kept
    checkpointedFloats = 2 * width
    // The gradients of the gated unit's output and inputs; or those of the inputs, packed beside themselves, and the
    // layer's input and its gradient. The stream's gradient lives through all of it.
    workingFloats = max(3 * hidden, 2 * hidden + 3 * width) + 2 * width
    edgeFloats = 2 * width + shape.headDim
  }

  /// Bytes kept by layers of which the first `checkpointed` are checkpointed.
  package func kept(tokens: Int, checkpointed: Int = 0) -> Int {
    4 * tokens * ((layerCount - checkpointed) * keptFloats + checkpointed * checkpointedFloats)
  }

  /// Bytes around the layers.
  package func edges(tokens: Int) -> Int { 4 * tokens * edgeFloats }

  /// Bytes of one layer's activations while it is computed again and run backwards.
  private func recomputed(tokens: Int) -> Int { 4 * tokens * (keptFloats + workingFloats) }

  /// The logits of a chunk, once more as the product reads them, and the chunk's hidden states with their gradient.
  func head(targets: Int) -> Int {
    let rows = min(targets, Tape.headRows(vocabulary: vocabulary))
    return 4 * rows * (2 * vocabulary + 4 * width)
  }

  /// The most that a batch needs at once: at the head, where every layer's activations are there; or at the widest place
  /// of a layer's backward pass.
  func peak(tokens: Int, targets: Int, checkpointed: Int) -> Int {
    let all = kept(tokens: tokens, checkpointed: checkpointed)
    let working = 4 * tokens * workingFloats
    let atTop = all + max(head(targets: targets), checkpointed < layerCount ? working : 0)
    let atFirst =
      checkpointed > 0 ? 4 * tokens * checkpointed * checkpointedFloats + recomputed(tokens: tokens) : 0
    // Around the layers there are two gradients as well.
    return edges(tokens: tokens) + 8 * tokens * width + max(atTop, atFirst)
  }

  /// The most that a batch needs at the end of its backward pass, when one layer's activations are left.
  func end(tokens: Int) -> Int { edges(tokens: tokens) + recomputed(tokens: tokens) }

  /// The most that a batch needs without a backward pass: in a layer, where the gated unit's output and inputs meet the
  /// packed operand and the stream; or at the head.
  func evaluation(tokens: Int, targets: Int) -> Int {
    let rows = min(targets, Tape.headRows(vocabulary: vocabulary))
    let widest = 4 * tokens * (4 * hidden + 4 * width)
    return edges(tokens: tokens) + max(widest, 4 * (2 * tokens * width + rows * (vocabulary + 2 * width)))
  }

  /// How many layers, the first ones, have to be checkpointed so that the others keep at most `budget` bytes. Those keep
  /// theirs longest.
  func checkpointed(tokens: Int, budget: Int) -> Int {
    max(0, min(layerCount, layerCount - budget / max(1, 4 * tokens * keptFloats)))
  }
}
