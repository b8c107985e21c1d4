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
  private let experts: [GatedMLP]
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
    self.experts = experts
    path = "\(weights.path).\(module).experts"
  }

  var linearLayers: [Linear] { [] }
  var expertParameters: [ExpertParameter] {
    let isInterleaved = configuration.storage == .transposedStacks
    return [
      ExpertParameter(
        module: path, name: "gate_up_proj", experts: experts.map(\.inputs), isInterleaved: isInterleaved),
      ExpertParameter(module: path, name: "down_proj", experts: experts.map { [$0.output] }, isInterleaved: false),
    ]
  }
  var others: [Parameter] { ([router] + experts.flatMap(\.linearLayers)).flatMap(\.ownParameters) }

  func forward(_ x: Variable, on tape: Tape) -> Variable {
    let logits = tape.linear(x, [router])
    return tape.experts(
      x, logits: logits, count: configuration.count, chosen: configuration.chosen,
      normalizes: configuration.normalizesWeights,
      weights: { [experts] in experts[$0].linearLayers.flatMap(\.ownParameters) }
    ) { index, tokens in experts[index].forward(tokens, on: tape) }
  }
}
