import Diagnostics
import Tensors

/// One layer: attention and a gated MLP, each behind an RMS norm and added to the hidden states.
final class TransformerLayer {
  private let configuration: TransformerConfiguration
  private let shape: AttentionShape
  private let inputNorm: Parameter
  private let attentionInputs: [Linear]
  private let queryKeyNorms: QueryKeyNorms?
  private let attentionOutput: Linear
  /// Gemma's norm of the attention's output.
  private let attentionOutputNorm: Parameter?
  private let mlpNorm: Parameter
  private let mlpInputs: [Linear]
  private let mlpOutput: Linear
  /// Gemma's norm of the MLP's output.
  private let mlpOutputNorm: Parameter?

  init(_ index: Int, _ configuration: TransformerConfiguration, _ reader: WeightReader) throws(SwiftletError) {
    self.configuration = configuration
    shape = configuration.attentionShape(layer: index)
    let weights = LayerWeights(path: "model.layers.\(index)", configuration: configuration, reader: reader)
    let hasOutputNorms = configuration.hasOutputNorms
    inputNorm = try weights.norm("input_layernorm")
    attentionInputs = try weights.attentionInputs(shape)
    queryKeyNorms = configuration.hasQueryKeyNorms ? try weights.queryKeyNorms(shape) : nil
    attentionOutput = try weights.linear(
      "self_attn.o_proj", configuration.hiddenSize, shape.queryColumns, bias: configuration.hasAttentionOutputBias)
    attentionOutputNorm = hasOutputNorms ? try weights.norm("post_attention_layernorm") : nil
    mlpNorm = try weights.norm(hasOutputNorms ? "pre_feedforward_layernorm" : "post_attention_layernorm")
    mlpInputs = try weights.mlpInputs()
    mlpOutput = try weights.linear(
      "mlp.down_proj", configuration.hiddenSize, configuration.intermediateSize, bias: configuration.hasMLPBias)
    mlpOutputNorm = hasOutputNorms ? try weights.norm("post_feedforward_layernorm") : nil
  }

  var linearLayers: [Linear] { attentionInputs + [attentionOutput] + mlpInputs + [mlpOutput] }

  var parameters: [Parameter] {
    func weights(_ linear: Linear) -> [Parameter] { [linear.weight] + (linear.bias.map { [$0] } ?? []) }
    let norms = [queryKeyNorms?.query, queryKeyNorms?.key, attentionOutputNorm, mlpNorm, mlpOutputNorm]
    return [inputNorm] + linearLayers.flatMap(weights) + norms.compactMap { $0 }
  }

  /// The hidden states after this layer as two summands: the next norm adds the residual in the same pass.
  ///
  /// - Parameter attend: attention over rotated queries, keys and values: within the batch when training, over the KV
  ///   cache when generating.
  func forward(
    _ x: Variable, residual: Variable?, angles: RotaryAngles?, on tape: Tape,
    attend: (Variable, AttentionShape) -> Variable
  ) -> (x: Variable, residual: Variable) {
    let (entry, normed) = norm(x, residual, inputNorm, tape)
    let qkv = tape.linear(normed, attentionInputs)
    let rotated = tape.rotaryEmbedding(qkv, shape: shape, angles: angles, norms: queryKeyNorms)
    var attended = tape.linear(attend(rotated, shape), [attentionOutput])
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
    tape.rmsNorm(
      x, residual: residual, weight: weight, offset: configuration.normOffset, epsilon: configuration.normEpsilon)
  }
}

/// Reads the weights of one layer under transformers' names.
private struct LayerWeights {
  let path: String
  let configuration: TransformerConfiguration
  let reader: WeightReader

  func norm(_ name: String, _ count: Int? = nil) throws(SwiftletError) -> Parameter {
    try reader.vector("\(path).\(name).weight", count ?? configuration.hiddenSize)
  }

  func linear(_ name: String, _ outputs: Int, _ inputs: Int, bias: Bool) throws(SwiftletError) -> Linear {
    try reader.linear("\(path).\(name)", outputs, inputs, bias: bias)
  }

  func attentionInputs(_ shape: AttentionShape) throws(SwiftletError) -> [Linear] {
    let parts = [shape.queryColumns, shape.keyColumns, shape.keyColumns]
    let isFused = configuration.attentionInputs.count == 1
    var layers: [Linear] = []
    for (name, outputs) in zip(configuration.attentionInputs, isFused ? [parts.reduce(0, +)] : parts) {
      layers.append(
        try linear("self_attn.\(name)", outputs, configuration.hiddenSize, bias: configuration.hasAttentionInputBias))
    }
    return layers
  }

  func queryKeyNorms(_ shape: AttentionShape) throws(SwiftletError) -> QueryKeyNorms {
    QueryKeyNorms(
      query: try norm("self_attn.q_norm", shape.headDim), key: try norm("self_attn.k_norm", shape.headDim),
      offset: configuration.normOffset, epsilon: configuration.normEpsilon)
  }

  func mlpInputs() throws(SwiftletError) -> [Linear] {
    let isFused = configuration.mlpInputs.count == 1
    var layers: [Linear] = []
    for name in configuration.mlpInputs {
      let outputs = configuration.intermediateSize * (isFused ? 2 : 1)
      layers.append(try linear("mlp.\(name)", outputs, configuration.hiddenSize, bias: configuration.hasMLPBias))
    }
    return layers
  }
}
