import Diagnostics
import Tensors

/// A gated MLP: activation(gate) · up, projected back to the hidden size.
struct GatedMLP: FeedForward {
  let inputs: [Linear]
  let output: Linear
  private let activation: Activation

  /// - Parameters:
  ///   - path: the module's path in its layer.
  ///   - intermediateSize: `nil` for the configuration's.
  init(_ weights: LayerWeights, path: String = "mlp", intermediateSize: Int? = nil) throws(SwiftletError) {
    let configuration = weights.configuration
    let (hidden, size) = (configuration.hiddenSize, intermediateSize ?? configuration.intermediateSize)
    let outputs = size * (configuration.mlpInputs.count == 1 ? 2 : 1)
    activation = configuration.activation
    var inputs: [Linear] = []
    for name in configuration.mlpInputs {
      inputs.append(try weights.linear("\(path).\(name)", outputs, hidden, bias: configuration.hasMLPBias))
    }
    self.inputs = inputs
    output = try weights.linear("\(path).down_proj", hidden, size, bias: configuration.hasMLPBias)
  }

  var linearLayers: [Linear] { inputs + [output] }
  var others: [Parameter] { [] }

  func forward(_ x: Variable, _: RouterLoss?, on tape: Tape) -> Variable {
    tape.linear(tape.gatedMLP(tape.linear(x, inputs), activation), [output])
  }
}
