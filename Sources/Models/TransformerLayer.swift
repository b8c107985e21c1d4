import Diagnostics
import Tensors

/// One layer: attention, then a gated feed-forward network, each behind a norm and added to the stream.
final class TransformerLayer {
  private let configuration: TransformerConfiguration
  private let shape: AttentionShape
  private let inputNorm: Parameter
  private let attentionInputs: [Linear]
  private let queryKeyNorms: QueryKeyNorms?
  private let attentionOutput: Linear
  /// Gemma's norm of what attention gives.
  private let attentionOutputNorm: Parameter?
  private let mlpNorm: Parameter
  private let mlpInputs: [Linear]
  private let mlpOutput: Linear
  /// Gemma's norm of what the feed-forward network gives.
  private let mlpOutputNorm: Parameter?

  init(_ index: Int, _ configuration: TransformerConfiguration, _ reader: WeightReader) throws(SwiftletError) {
    self.configuration = configuration
    shape = configuration.attentionShape(layer: index)
    let path = "model.layers.\(index)"
    let hiddenSize = configuration.hiddenSize
    func norm(_ name: String, _ count: Int) throws(SwiftletError) -> Parameter {
      try reader.vector("\(path).\(name).weight", count)
    }
    func linear(_ name: String, _ outputs: Int, _ inputs: Int, bias: Bool) throws(SwiftletError) -> Linear {
      try reader.linear("\(path).\(name)", outputs, inputs, bias: bias)
    }

    inputNorm = try norm("input_layernorm", hiddenSize)
    let parts = [shape.queryColumns, shape.keyColumns, shape.keyColumns]
    let isFused = configuration.attentionInputs.count == 1
    var inputs: [Linear] = []
    for (name, outputs) in zip(configuration.attentionInputs, isFused ? [parts.reduce(0, +)] : parts) {
      inputs.append(try linear("self_attn.\(name)", outputs, hiddenSize, bias: configuration.hasAttentionInputBias))
    }
    attentionInputs = inputs
    queryKeyNorms =
      configuration.hasQueryKeyNorms
      ? QueryKeyNorms(
        query: try norm("self_attn.q_norm", shape.headDim), key: try norm("self_attn.k_norm", shape.headDim),
        offset: configuration.normOffset, epsilon: configuration.normEpsilon)
      : nil
    attentionOutput = try linear(
      "self_attn.o_proj", hiddenSize, shape.queryColumns, bias: configuration.hasAttentionOutputBias)

    let hasOutputNorms = configuration.hasOutputNorms
    attentionOutputNorm = hasOutputNorms ? try norm("post_attention_layernorm", hiddenSize) : nil
    mlpNorm = try norm(hasOutputNorms ? "pre_feedforward_layernorm" : "post_attention_layernorm", hiddenSize)
    inputs = []
    let isJoined = configuration.mlpInputs.count == 1
    for name in configuration.mlpInputs {
      let outputs = configuration.intermediateSize * (isJoined ? 2 : 1)
      inputs.append(try linear("mlp.\(name)", outputs, hiddenSize, bias: configuration.hasMLPBias))
    }
    mlpInputs = inputs
    mlpOutput = try linear(
      "mlp.down_proj", hiddenSize, configuration.intermediateSize, bias: configuration.hasMLPBias)
    mlpOutputNorm = hasOutputNorms ? try norm("post_feedforward_layernorm", hiddenSize) : nil
  }

  var linearLayers: [Linear] { attentionInputs + [attentionOutput] + mlpInputs + [mlpOutput] }

  var parameters: [Parameter] {
    func weights(_ linear: Linear) -> [Parameter] { [linear.weight] + (linear.bias.map { [$0] } ?? []) }
    let norms = [queryKeyNorms?.query, queryKeyNorms?.key, attentionOutputNorm, mlpNorm, mlpOutputNorm]
    return [inputNorm] + linearLayers.flatMap(weights) + norms.compactMap { $0 }
  }

  /// The stream after this layer, except for the last addition, which the next norm makes: (x, what to add to it).
  ///
  /// - Parameter attend: attention over queries, keys and values that know their positions, in training within the
  ///   batch, in generation over the cache.
  func forward(
    _ x: Variable, residual: Variable?, angles: RotaryAngles?, on tape: Tape,
    attend: (Variable, AttentionShape) -> Variable
  ) -> (x: Variable, residual: Variable) {
    let (entry, normed) = norm(x, residual, inputNorm, tape)
    let qkv = tape.linear(normed, attentionInputs)
    let positioned = tape.positioned(qkv, shape: shape, angles: angles, norms: queryKeyNorms)
    var attended = tape.linear(attend(positioned, shape), [attentionOutput])
    if let attentionOutputNorm { attended = norm(attended, nil, attentionOutputNorm, tape).out }

    let (middle, middleNormed) = norm(entry, attended, mlpNorm, tape)
    let gateUp = tape.linear(middleNormed, mlpInputs)
    let gated = tape.gatedMLP(gateUp, configuration.activation)
    var output = tape.linear(gated, [mlpOutput])
    if let mlpOutputNorm { output = norm(output, nil, mlpOutputNorm, tape).out }
    return (middle, output)
  }

  private func norm(
    _ x: Variable, _ residual: Variable?, _ weight: Parameter, _ tape: Tape
  ) -> (sum: Variable, out: Variable) {
    tape.norm(
      x, residual: residual, weight: weight, offset: configuration.normOffset, epsilon: configuration.normEpsilon)
  }
}
