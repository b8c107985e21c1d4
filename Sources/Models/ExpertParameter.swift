import Tensors

/// The matrices of one kind of all experts of a layer, which transformers holds in one parameter. PEFT's
/// `target_parameters` names it.
package struct ExpertParameter {
  /// The path of the module that has the parameter: `model.layers.0.mlp.experts`.
  let module: String
  /// Its name there: `gate_up_proj` or `down_proj`.
  let name: String
  /// For each expert, the layers whose outputs are those of its matrix: one, or gate and input.
  package let experts: [[Linear]]
  /// Whether the rows of gate and input alternate in the parameter, instead of lying side by side.
  let isInterleaved: Bool

  /// The parameter's path: `model.layers.0.mlp.experts.gate_up_proj`.
  package var path: String { "\(module).\(name)" }
  package var inputSize: Int { experts.first?.first?.inputSize ?? 0 }
  package var outputSize: Int { experts.first?.reduce(0) { $0 + $1.outputSize } ?? 0 }

  /// For each row of an expert's layers, one after the other, the row of its matrix; `nil` if it is the same.
  var rowOrder: [Int]? {
    guard isInterleaved, let layers = experts.first, layers.count == 2 else { return nil }
    return (0..<2).flatMap { half in (0..<outputSize / 2).map { 2 * $0 + half } }
  }

  /// The matrices of all experts in one tensor, as mlx-lm and llama.cpp have them: gate and input apart.
  struct Stack {
    /// `gate_proj`, `up_proj` or `down_proj`.
    let name: String
    /// The layer of each expert that has the rows.
    let layers: [Linear]
    /// The rows of the layers; `nil` for all.
    var rows: [Int]?

    var shape: [Int] { [layers.count, rows?.count ?? layers.first?.outputSize ?? 0, layers.first?.inputSize ?? 0] }

    /// The stack's rows of a layer's weight, or elements of its bias.
    func part(of tensor: Tensor, on backend: any Backend) -> Tensor {
      guard let rows else { return tensor }
      let apart = tensor.type.hasScales ? backend.converted(tensor, to: .float32) : tensor
      let matrix = apart.shape.count == 1 ? apart.reshaped([apart.count, 1]) : apart
      return backend.permutedRows(matrix, rows).reshaped([rows.count] + tensor.shape.dropFirst())
    }
  }

  var stacks: [Stack] {
    guard let first = experts.first else { return [] }
    guard name == "gate_up_proj", first.count == 1 else {
      return first.indices.map { index in Stack(name: first[index].name, layers: experts.map { $0[index] }) }
    }
    let (layers, half) = (experts.map { $0[0] }, outputSize / 2)
    return ["gate_proj", "up_proj"].enumerated().map { place, name in
      Stack(name: name, layers: layers, rows: (0..<half).map { isInterleaved ? 2 * $0 + place : place * half + $0 })
    }
  }
}
