import Diagnostics
import Tensors

/// Causal attention with grouped queries: projections, norms of queries and keys, rotation, and the output's projection.
struct Attention: TokenMixer {
  private let shape: AttentionShape
  private let hasGate: Bool
  private let inputs: [Linear]
  private let norms: QueryKeyNorms?
  private let output: Linear

  init(_ shape: AttentionShape, _ weights: LayerWeights) throws(SwiftletError) {
    self.shape = shape
    let configuration = weights.configuration
    hasGate = configuration.hasAttentionGate
    let parts = [shape.queryColumns * (hasGate ? 2 : 1), shape.keyColumns, shape.keyColumns]
    let isFused = configuration.attentionInputs.count == 1
    var inputs: [Linear] = []
    for (name, outputs) in zip(configuration.attentionInputs, isFused ? [parts.reduce(0, +)] : parts) {
      inputs.append(
        try weights.linear(
          "self_attn.\(name)", outputs, configuration.hiddenSize, bias: configuration.hasAttentionInputBias))
    }
    self.inputs = inputs
    norms = configuration.hasQueryKeyNorms ? try Self.norms(shape, weights) : nil
    output = try weights.linear(
      "self_attn.o_proj", configuration.hiddenSize, shape.queryColumns, bias: configuration.hasAttentionOutputBias)
  }

  private static func norms(_ shape: AttentionShape, _ weights: LayerWeights) throws(SwiftletError) -> QueryKeyNorms {
    let configuration = weights.configuration
    let isJoint = configuration.normsHeadsTogether
    return QueryKeyNorms(
      query: try weights.norm("self_attn.q_norm", isJoint ? shape.queryColumns : shape.headDim),
      key: try weights.norm("self_attn.k_norm", isJoint ? shape.keyColumns : shape.headDim),
      offset: configuration.normOffset, epsilon: configuration.normEpsilon)
  }

  var linearLayers: [Linear] { inputs + [output] }

  /// The parameters besides the linear layers.
  var vectors: [Parameter] { norms.map { [$0.query, $0.key] } ?? [] }

  func forward(_ x: Variable, _ context: TokenContext, on tape: Tape) -> Variable {
    let projected = tape.linear(x, inputs)
    guard hasGate else { return tape.linear(attended(projected, context, on: tape), [output]) }
    // Each query head is followed by its gate.
    let size = shape.headDim
    func heads(_ offset: Int) -> [Range<Int>] {
      (0..<shape.attentionHeads).map { (2 * $0 + offset) * size..<(2 * $0 + offset + 1) * size }
    }
    let keysAndValues = 2 * shape.queryColumns..<projected.value.columns
    let gate = tape.columns(projected, heads(1))
    let qkv = tape.columns(projected, heads(0) + [keysAndValues])
    return tape.linear(
      tape.gatedMLP(tape.beside(gate, attended(qkv, context, on: tape)), .sigmoid), [output])
  }

  private func attended(_ joined: Variable, _ context: TokenContext, on tape: Tape) -> Variable {
    let qkv = tape.rotaryEmbedding(joined, shape: shape, angles: context.angles, norms: norms)
    return switch context.past {
    case .batch(let parts): tape.attention(qkv, parts: parts.map { ($0.rows, $0.starts) }, shape: shape)
    case .cache(let sequences, let layer):
      Variable(sequences.map(qkv.value, on: tape.backend) { $1.attend($0, layer: layer, shape: shape) })
    }
  }
}
