import Diagnostics
import Tensors

/// Gemma 4's per-layer embeddings: each token gives each layer a vector, from a table of its own and from its embedding.
struct PerLayerEmbedding {
  /// The table, `[vocabulary, layers · size]`.
  let table: Parameter
  private let projection: Linear
  private let norm: Parameter
  private let configuration: TransformerConfiguration

  init(_ configuration: TransformerConfiguration, _ reader: WeightReader) throws(SwiftletError) {
    self.configuration = configuration
    let prefix = configuration.modulePrefix
    let columns = configuration.layers.count * configuration.perLayerInputSize
    table = try reader.matrix(
      "\(prefix)embed_tokens_per_layer.weight", [configuration.vocabularySize, columns])
    projection = try reader.linear(
      "\(prefix)per_layer_model_projection", columns, configuration.hiddenSize, bias: false)
    norm = try reader.vector("\(prefix)per_layer_projection_norm.weight", configuration.perLayerInputSize)
  }

  var linearLayers: [Linear] { [projection] }
  var parameters: [Parameter] { [table, projection.weight, norm] }

  /// What each layer is given: a matrix `[tokens, size]` for each.
  /// - Parameter x: the scaled embeddings of the tokens.
  func inputs(_ ids: [Int32], _ x: Variable, on tape: Tape) -> [Variable] {
    let size = configuration.perLayerInputSize
    let columns = configuration.layers.count * size
    let projected = tape.scaled(
      tape.linear(x, [projection]), by: Float(1 / Double(configuration.hiddenSize).squareRoot()))
    let normed = tape.rmsNorm(
      tape.reshaped(projected, [ids.count * configuration.layers.count, size]), residual: nil, weight: norm,
      offset: configuration.normOffset, epsilon: configuration.normEpsilon
    ).out
    let looked = tape.embedding(ids, table, scale: Float(size).squareRoot())
    let sum = tape.scaled(
      tape.add(tape.reshaped(normed, [ids.count, columns]), looked), by: Float(0.5.squareRoot()))
    return configuration.layers.indices.map { tape.columns(sum, [$0 * size..<($0 + 1) * size]) }
  }
}

/// What a layer makes of its own input: this times a gate that the hidden states compute, projected back.
struct PerLayerInput {
  private let gate: Linear
  private let projection: Linear
  /// The norm of the result.
  let norm: Parameter
  private let activation: Activation

  init(_ weights: LayerWeights) throws(SwiftletError) {
    let configuration = weights.configuration
    let (hidden, size) = (configuration.hiddenSize, configuration.perLayerInputSize)
    gate = try weights.linear("per_layer_input_gate", size, hidden)
    projection = try weights.linear("per_layer_projection", hidden, size)
    norm = try weights.norm("post_per_layer_input_norm")
    activation = configuration.activation
  }

  var linearLayers: [Linear] { [gate, projection] }

  func forward(_ x: Variable, _ input: Variable, on tape: Tape) -> Variable {
    tape.linear(tape.gatedMLP(tape.beside(tape.linear(x, [gate]), input), activation), [projection])
  }
}

/// A number that multiplies the hidden states after a layer. It is no parameter: training doesn't change it.
struct LayerScalar {
  /// As it is stored, `[1]`.
  let stored: Parameter
  let value: Float

  init(_ weights: LayerWeights) throws(SwiftletError) {
    stored = try weights.reader.vector("\(weights.path).layer_scalar", 1)
    value = weights.reader.files.hasWeights ? weights.reader.backend.floats(stored.value)[0] : 1
  }
}
