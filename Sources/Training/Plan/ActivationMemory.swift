import Models
import Tensors

/// The memory of a batch's activations: what the backward pass needs, and what both passes need temporarily.
///
/// It counts what the operations in `Tensors/Operations` keep. What is cheap to recompute (normalized inputs, the
/// output of the gated MLP) is not kept.
package struct ActivationMemory {
  /// The transformer's layers.
  let layerCount: Int
  /// Floats per token that each layer keeps.
  private let keptFloats: [Int]
  /// Floats per token that a checkpointed layer keeps: its input, and what is added to it.
  private let checkpointedFloats: Int
  /// Floats per token that a layer's backward pass needs at its peak, beyond those kept.
  private let workingFloats: Int
  /// Floats per token outside the layers: the final norm's input and output, and rotary angles.
  private let edgeFloats: Int
  /// The same of linear attention, without its states; `nil` without such layers.
  private let delta: (shape: DeltaShape, workingFloats: Int)?
  private let backend: any Backend
  private let vocabulary: Int
  private let hiddenSize: Int
  /// Floats per token of the widest MLP's input and of its gated unit. In a mixture of experts, those of all that are chosen.
  private let mlpInputSize: Int
  private let intermediateSize: Int

  package init(_ transformer: Transformer) {
    let configuration = transformer.configuration
    let widestHead = configuration.layers.indices.map { configuration.attentionShape(layer: $0).headDim }.max() ?? 0
    let hidden = configuration.hiddenSize
    let intermediate =
      configuration.layers.map { layer in
        layer.experts.map { $0.chosen * $0.intermediateSize } ?? layer.intermediateSize
          ?? configuration.intermediateSize
      }.max() ?? 0
    let inputs = hidden * (configuration.layers.compactMap { $0.experts?.chosen }.max() ?? 1)
    let perLayer = configuration.perLayerInputSize
    layerCount = configuration.layers.count
    vocabulary = transformer.activeHead.value.rows
    hiddenSize = hidden
    mlpInputSize = inputs
    intermediateSize = intermediate
    let ranks = transformer.linearLayers.reduce(0) { $0 + ($1.lora?.keptRanks ?? 0) } / max(1, layerCount)
    // DoRA keeps each layer's output before magnitudes are applied.
    let unscaled =
      transformer.linearLayers.reduce(0) { $0 + ($1.lora?.magnitude == nil ? 0 : $1.outputSize) } / max(1, layerCount)
    let expertRanks = Self.expertRanks(transformer) / max(1, layerCount)
    keptFloats = configuration.layers.indices.map {
      ranks + expertRanks + unscaled + Self.keptFloats(configuration, layer: $0)
    }
    checkpointedFloats = 2 * hidden + perLayer
    backend = transformer.backend
    // The gradients of the gated unit's output and inputs; or those of its inputs with the MLP's input, possibly also a copy
    // of it, and its gradient. The gradient of the hidden states exists all the time.
    let copies = backend.copiesLeftOperand(columns: hidden) ? 1 : 0
    workingFloats = max(3 * intermediate, 2 * intermediate + (2 + copies) * inputs) + 2 * hidden
    delta =
      configuration.layers.lazy.compactMap { layer -> (shape: DeltaShape, workingFloats: Int)? in
        guard case .gatedDelta(let shape, _) = layer.mixer else { return nil }
        // The gradients of all projections and of the rule's output. Of queries, keys and values: the projected, the
        // convolved, the same after SiLU and after norms, and the gradient.
        let joined = shape.columns + shape.valueColumns + 2 * shape.valueHeads
        return (shape, joined + shape.valueColumns + 5 * shape.columns + 2 * hidden)
      }.first
    edgeFloats = 2 * hidden + widestHead + 2 * perLayer * layerCount
  }

  /// The floats that the tape keeps of the updates of experts, per token.
  private static func expertRanks(_ transformer: Transformer) -> Int {
    let chosen = transformer.configuration.layers.compactMap { $0.experts?.chosen }.max() ?? 0
    return transformer.expertParameters.reduce(0) { sum, parameter in
      sum + chosen * (parameter.experts.first ?? []).reduce(0) { $0 + ($1.lora?.keptRanks ?? 0) }
    }
  }

  /// What the tape keeps of one layer, without adapters, per token.
  private static func keptFloats(_ configuration: TransformerConfiguration, layer index: Int) -> Int {
    let layer = configuration.layers[index]
    let (width, hidden) = (configuration.hiddenSize, layer.intermediateSize ?? configuration.intermediateSize)
    // Both norms' sums; gate and up.
    var kept = 2 * (width + 1)
    if let experts = layer.experts {
      // Of each chosen expert, its output too; the router's softmax, and for each chosen expert token, row and weight.
      kept += experts.chosen * (2 * experts.intermediateSize + width + 5) + experts.count
    } else {
      kept += 2 * hidden
    }
    if configuration.hasOutputNorms { kept += 2 * (width + 1) }
    // The hidden states before the layer's own input, gate and input side by side, and the norm's input.
    if configuration.perLayerInputSize > 0 { kept += 2 * width + 1 + 2 * configuration.perLayerInputSize }
    // Without norms of inputs nothing but the sums is kept.
    if !configuration.hasInputNorms { kept -= 2 }
    switch layer.mixer {
    case .attention:
      // q, k, v; the output and statistics.
      let shape = configuration.attentionShape(layer: index)
      let joined = shape.queryColumns + 2 * shape.keyColumns
      kept += joined + shape.queryColumns + shape.attentionHeads
      if configuration.hasQueryKeyNorms {
        let isShared = layer.sharedLayer != nil
        kept +=
          isShared ? shape.queryColumns + shape.attentionHeads : joined + shape.attentionHeads + shape.keyValueHeads
        if configuration.normsValues, !isShared { kept += shape.keyValueHeads }
      }
      // With gates on heads: these, and the gated output.
      if configuration.hasHeadGates { kept += shape.queryColumns + shape.attentionHeads }
      // With a gate: gate and output once more, side by side.
      if configuration.hasAttentionGate { kept += 2 * shape.queryColumns }
    case .shortConvolution: kept += 3 * width
    case .gatedDelta(let delta, _): kept += delta.columns + 2 * delta.valueColumns + 2 * delta.valueHeads
    }
    return kept
  }

  /// The bytes kept if the first `checkpointed` layers are checkpointed.
  package func kept(tokens: Int, checkpointed: Int = 0) -> Int {
    4 * tokens * (keptFloats.dropFirst(checkpointed).reduce(0, +) + checkpointed * checkpointedFloats)
  }

  /// The bytes outside the layers.
  package func edges(tokens: Int) -> Int { 4 * tokens * edgeFloats }

  /// The bytes that a layer's backward pass needs at its peak, beyond those kept: in its MLP, or in linear attention, which
  /// computes states again.
  private func working(_ size: Workload.Size) -> Int {
    let inMLP = 4 * size.tokens * workingFloats
    guard let delta, size.tokens > 0 else { return inMLP }
    let states = backend.deltaRuleBackwardMemory(
      sequences: size.sequences, rows: Int((size.squares / Double(size.tokens)).rounded(.up)), shape: delta.shape)
    return max(inMLP, 4 * size.tokens * delta.workingFloats + states)
  }

  /// The bytes of a layer while it recomputes its activations and runs backward.
  private func recomputed(_ size: Workload.Size) -> Int {
    4 * size.tokens * (keptFloats.max() ?? 0) + working(size)
  }

  /// The rows of logits that exist at a time: none without targets.
  private func logitRows(targets: Int) -> Int {
    min(targets, Tape.logitChunkRows(vocabulary: vocabulary, of: targets))
  }

  /// The bytes of the head: a chunk of logits, possibly a copy, and the chunk's hidden states with their gradient.
  package func head(targets: Int) -> Int {
    let rows = logitRows(targets: targets)
    let copies = backend.copiesLeftOperand(columns: vocabulary) ? 1 : 0
    return 4 * rows * ((1 + copies) * vocabulary + 4 * hiddenSize)
  }

  /// The peak of a batch: at the head, where all activations exist, or in a layer's backward pass.
  package func peak(_ size: Workload.Size, targets: Int, checkpointed: Int) -> Int {
    let tokens = size.tokens
    let all = kept(tokens: tokens, checkpointed: checkpointed)
    let atTop = all + max(head(targets: targets), checkpointed < layerCount ? working(size) : 0)
    let atFirst = checkpointed > 0 ? 4 * tokens * checkpointed * checkpointedFloats + recomputed(size) : 0
    // Two more gradients exist outside the layers.
    return edges(tokens: tokens) + 8 * tokens * hiddenSize + max(atTop, atFirst)
  }

  /// The peak at the end of the backward pass, when one layer's activations are left.
  func end(_ size: Workload.Size) -> Int { edges(tokens: size.tokens) + recomputed(size) }

  /// The peak without a backward pass: in a layer's MLP, or at the head.
  func evaluation(tokens: Int, targets: Int) -> Int {
    let rows = logitRows(targets: targets)
    let widest = 4 * tokens * (4 * intermediateSize + 2 * mlpInputSize + 2 * hiddenSize)
    return edges(tokens: tokens) + max(widest, 4 * (2 * tokens * hiddenSize + rows * (vocabulary + 2 * hiddenSize)))
  }

  /// The number of layers to checkpoint so that the others keep at most `budget` bytes. The first layers are
  /// checkpointed, because they would keep their activations longest.
  func checkpointed(tokens: Int, budget: Int) -> Int {
    (0..<layerCount).first { kept in
      4 * tokens * keptFloats.dropFirst(kept).reduce(0, +) <= budget
    } ?? layerCount
  }
}
