import Diagnostics
import Tensors

/// Causal attention with grouped queries: projections, norms of queries and keys, rotation, and the output's projection.
struct Attention: TokenMixer {
  private let shape: AttentionShape
  /// The layer whose keys and values it attends to, if they are not its own.
  private let sharedLayer: Int?
  /// Whether later layers attend to its keys and values.
  private let isShared: Bool
  private let keysAreValues: Bool
  private let hasGate: Bool
  private let inputs: [Linear]
  private let norms: QueryKeyNorms?
  private let output: Linear
  /// Computes a gate for each head (LFM3).
  private let headGates: Linear?
  /// A logit for each head that takes a share of attention and has no value (gpt-oss).
  private let sinks: Parameter?

  init(layer index: Int, _ weights: LayerWeights) throws(SwiftletError) {
    let configuration = weights.configuration
    let layer = configuration.layers[index]
    shape = configuration.attentionShape(layer: index)
    sharedLayer = layer.sharedLayer
    isShared = configuration.isShared(layer: index)
    keysAreValues = layer.keysAreValues
    hasGate = configuration.hasAttentionGate
    let parts = [shape.queryColumns * (hasGate ? 2 : 1), shape.keyColumns, shape.keyColumns]
    let isFused = configuration.attentionInputs.count == 1
    // Queries alone, or queries and keys.
    let count = sharedLayer != nil ? 1 : keysAreValues ? 2 : 3
    var inputs: [Linear] = []
    for (name, outputs) in zip(
      configuration.attentionInputs, isFused ? [parts.reduce(0, +)] : Array(parts.prefix(count)))
    {
      inputs.append(
        try weights.linear(
          "self_attn.\(name)", outputs, configuration.hiddenSize, bias: configuration.hasAttentionInputBias))
    }
    self.inputs = inputs
    norms = configuration.hasQueryKeyNorms ? try Self.norms(shape, hasKeys: sharedLayer == nil, weights) : nil
    headGates =
      configuration.hasHeadGates
      ? try weights.linear("self_attn.g_proj", shape.attentionHeads, configuration.hiddenSize) : nil
    sinks = configuration.hasAttentionSinks ? try weights.vector("self_attn.sinks", [shape.attentionHeads]) : nil
    output = try weights.linear(
      "self_attn.o_proj", configuration.hiddenSize, shape.queryColumns, bias: configuration.hasAttentionOutputBias)
  }

  private static func norms(
    _ shape: AttentionShape, hasKeys: Bool, _ weights: LayerWeights
  ) throws(SwiftletError) -> QueryKeyNorms {
    let configuration = weights.configuration
    let isJoint = configuration.normsHeadsTogether
    // A norm without a weight is one with ones. These are in no file.
    let ones = [Float](repeating: 1 - configuration.normOffset, count: shape.headDim)
    let backend = weights.reader.backend
    return QueryKeyNorms(
      query: try weights.norm("self_attn.q_norm", isJoint ? shape.queryColumns : shape.headDim),
      key: hasKeys ? try weights.norm("self_attn.k_norm", isJoint ? shape.keyColumns : shape.headDim) : nil,
      value: hasKeys && configuration.normsValues
        ? Parameter(name: "", value: backend.tensor(ones, [shape.headDim])) : nil,
      offset: configuration.normOffset, epsilon: configuration.normEpsilon)
  }

  var linearLayers: [Linear] { inputs + (headGates.map { [$0] } ?? []) + [output] }

  /// The parameters besides the linear layers.
  var vectors: [Parameter] { normWeights + (sinks.map { [$0] } ?? []) }

  /// The weights of the norms of queries and keys.
  var normWeights: [Parameter] { norms.map { [$0.query] + ($0.key.map { [$0] } ?? []) } ?? [] }

  func forward(_ x: Variable, _ context: inout TokenContext, on tape: Tape) -> Variable {
    var projected = tape.linear(x, inputs)
    if keysAreValues, sharedLayer == nil {
      let keys = tape.columns(projected, [shape.queryColumns..<projected.value.columns])
      projected = tape.beside(projected, keys)
    }
    guard hasGate else {
      var attended = attended(projected, &context, on: tape)
      if let headGates { attended = tape.gatedHeads(attended, by: tape.linear(x, [headGates])) }
      return tape.linear(attended, [output])
    }
    // Each query head is followed by its gate.
    let size = shape.headDim
    func heads(_ offset: Int) -> [Range<Int>] {
      (0..<shape.attentionHeads).map { (2 * $0 + offset) * size..<(2 * $0 + offset + 1) * size }
    }
    let keysAndValues = 2 * shape.queryColumns..<projected.value.columns
    let gate = tape.columns(projected, heads(1))
    let qkv = tape.columns(projected, heads(0) + [keysAndValues])
    return tape.linear(
      tape.gatedMLP(tape.beside(gate, attended(qkv, &context, on: tape)), .sigmoid), [output])
  }

  private func attended(_ joined: Variable, _ context: inout TokenContext, on tape: Tape) -> Variable {
    var own = shape
    if sharedLayer != nil { own.keyValueHeads = 0 }
    var qkv = tape.rotaryEmbedding(joined, shape: own, angles: context.angles, norms: norms)
    if sharedLayer != nil, let keysAndValues = context.keysAndValues { qkv = tape.beside(qkv, keysAndValues) }
    if isShared { context.keysAndValues = tape.columns(qkv, [shape.queryColumns..<qkv.value.columns]) }
    switch context.past {
    case .batch(let parts):
      return tape.attention(qkv, parts: parts.map { ($0.rows, $0.starts) }, shape: shape, sinks: sinks)
    case .cache(let sequences, let layer):
      // The keys and values of another layer are in its cache already; they are written there again.
      let caches = sequences.parts.map { $0.cache.keys(ofLayer: sharedLayer ?? layer, rows: $0.rows) }
      return Variable(tape.backend.cachedAttention(qkv.value, caches, shape: shape, sinks: sinks?.value))
    }
  }
}
