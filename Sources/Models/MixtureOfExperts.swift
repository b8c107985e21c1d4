import Diagnostics
import Tensors

/// A router and gated MLPs, of which each token goes through the few that the router prefers.
///
/// Files have each expert's matrices by themselves, or all of a kind in one tensor; here they are always apart. transformers
/// keeps them in one parameter, which is no linear layer: "all-linear" leaves them out, as in PEFT, and `target_parameters`
/// selects them.
struct MixtureOfExperts: FeedForward {
  private let configuration: TransformerConfiguration.Experts
  private let router: Linear
  /// Of each expert the layers for gate and input, which may be one.
  private let inputs: [[Linear]]
  /// Of each expert the layer for the output.
  private let outputs: [[Linear]]
  private let activation: Activation
  private let path: String

  init(_ configuration: TransformerConfiguration.Experts, _ weights: LayerWeights) throws(SwiftletError) {
    self.configuration = configuration
    router = try weights.unquantizedLinear(
      "mlp.gate", configuration.count, weights.configuration.hiddenSize, bias: configuration.hasRouterBias)
    let module = weights.configuration.moduleNames["mlp"] ?? "mlp"
    var experts: [GatedMLP] = []
    for index in 0..<configuration.count {
      experts.append(
        try GatedMLP(
          weights, path: "\(module).experts.\(index)", intermediateSize: configuration.intermediateSize))
    }
    inputs = experts.map(\.inputs)
    outputs = experts.map { [$0.output] }
    activation = weights.configuration.activation
    path = "\(weights.path).\(module).experts"
  }

  var linearLayers: [Linear] { [] }
  var expertParameters: [ExpertParameter] {
    let isInterleaved = configuration.storage == .transposedStacks
    return [
      ExpertParameter(
        module: path, name: "gate_up_proj", experts: inputs, isInterleaved: isInterleaved),
      ExpertParameter(module: path, name: "down_proj", experts: outputs, isInterleaved: false),
    ]
  }
  var others: [Parameter] {
    ([router] + zip(inputs, outputs).flatMap { $0 + $1 }).flatMap(\.ownParameters)
  }

  func forward(_ x: Variable, _ loss: RouterLoss?, on tape: Tape) -> Variable {
    let logits = tape.linear(x, [router])
    return tape.experts(
      x, logits: logits, chosen: configuration.chosen, normalizes: configuration.normalizesWeights, loss: loss
    ) { rows, experts in
      let gateUp = tape.linear(rows, inputs, groups: experts)
      return tape.linear(tape.gatedMLP(gateUp, activation), outputs, groups: experts)
    }
  }
}
