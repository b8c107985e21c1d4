import Tensors

/// The matrices of one kind of all experts of a layer, which transformers holds in one parameter. PEFT's
/// `target_parameters` names it.
package struct ExpertParameter {
  /// The path of the module that has the parameter: `model.layers.0.mlp.experts`.
  let module: String
  /// Its name there: `gate_up_proj` or `down_proj`.
  let name: String
  /// For each expert, the layers whose outputs side by side are those of its matrix.
  package let experts: [[Linear]]

  /// The parameter's path: `model.layers.0.mlp.experts.gate_up_proj`.
  var path: String { "\(module).\(name)" }
  package var inputSize: Int { experts.first?.first?.inputSize ?? 0 }
  package var outputSize: Int { experts.first?.reduce(0) { $0 + $1.outputSize } ?? 0 }
}
