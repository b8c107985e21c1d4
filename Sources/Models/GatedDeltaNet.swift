import Diagnostics
import Tensors

/// Linear attention by the gated delta rule, as in Qwen3.5.
struct GatedDeltaNet: TokenMixer {
  private let shape: DeltaShape
  private let length: Int
  private let inputs: [Linear]
  private let weights: DeltaWeights
  private let output: Linear

  init(_ shape: DeltaShape, length: Int, _ weights: LayerWeights) throws(SwiftletError) {
    self.shape = shape
    self.length = length
    let configuration = weights.configuration
    let sizes = [
      ("qkv", shape.columns), ("z", shape.valueColumns), ("b", shape.valueHeads), ("a", shape.valueHeads),
    ]
    var inputs: [Linear] = []
    for (name, outputs) in sizes {
      inputs.append(try weights.linear("linear_attn.in_proj_\(name)", outputs, configuration.hiddenSize))
    }
    self.inputs = inputs
    self.weights = DeltaWeights(
      convolution: try weights.vector("linear_attn.conv1d.weight", [shape.columns, 1, length]),
      aLog: try weights.vector("linear_attn.A_log", [shape.valueHeads]),
      dtBias: try weights.vector("linear_attn.dt_bias", [shape.valueHeads]),
      norm: try weights.norm("linear_attn.norm", shape.valueDim), epsilon: configuration.normEpsilon)
    output = try weights.linear("linear_attn.out_proj", configuration.hiddenSize, shape.valueColumns)
  }

  var linearLayers: [Linear] { inputs + [output] }
  var vectors: [Parameter] { [weights.convolution, weights.aLog, weights.dtBias, weights.norm] }

  func forward(_ x: Variable, _ context: inout TokenContext, on tape: Tape) -> Variable {
    let joined = tape.linear(x, inputs)
    let attended =
      switch context.past {
      case .batch(let parts):
        gatedDeltaRule(joined, starts: TokenContext.Part.joinedStarts(parts), on: tape)
      case .cache(let sequences, let layer):
        Variable(sequences.map(joined.value, on: tape.backend) { continued($0, $1, layer, on: tape.backend) })
      }
    return tape.linear(attended, [output])
  }

  private func gatedDeltaRule(_ joined: Variable, starts: [Int], on tape: Tape) -> Variable {
    tape.gatedDeltaRule(
      joined, weights, shape: shape, taps: ConvolutionTaps(starts: starts, length: length), starts: starts)
  }

  /// The same for tokens that follow those in the cache, which keeps the convolution's last inputs and the rule's state.
  private func continued(_ joined: Tensor, _ cache: KeyValueCache, _ layer: Int, on backend: any Backend) -> Tensor {
    let rule = GatedDeltaRule(joined: joined, weights: weights, shape: shape, backend: backend)
    let inputs = cache.following(rule.projected, count: length - 1, layer: layer)
    if cache[state: layer].count < 2 {
      let zeros = backend.empty([shape.valueHeads, shape.keyDim, shape.valueDim], .float32)
      backend.clear(zeros)
      cache[state: layer].append(zeros)
    }
    let active = rule.activated(inputs, taps: ConvolutionTaps(following: joined.rows, length: length))
    return rule.normed(rule.attended(active, starts: [0, joined.rows], state: cache[state: layer][1]))
  }
}
