import Diagnostics
import Tensors

/// A parameter of experts that PEFT's `target_parameters` can name, and the matrices that llama.cpp and mlx-lm have instead.
struct ExpertMatrices {
  /// transformers' path of the module that has the parameter: `model.layers.0.mlp.experts`.
  let module: String
  /// `gate_up_proj` or `down_proj`.
  let name: String
  let experts: Int
  let inputSize: Int
  /// `gate_proj` and `up_proj`, or `down_proj`, with the rows of the parameter that each has.
  let parts: [(name: String, rows: [Int])]

  var path: String { "\(module).\(name)" }
  private var outputSize: Int { parts.reduce(0) { $0 + $1.rows.count } }

  /// The parameters of all layers.
  static func all(of base: TransformerConfiguration) -> [ExpertMatrices] {
    base.layers.enumerated().flatMap { index, layer -> [ExpertMatrices] in
      guard let experts = layer.experts else { return [] }
      let module = "\(base.modulePrefix)layers.\(index).\(base.moduleNames["mlp"] ?? "mlp").experts"
      let (hidden, inner) = (base.hiddenSize, experts.intermediateSize)
      let isInterleaved = experts.storage == .transposedStacks
      let halves = ["gate_proj", "up_proj"].enumerated().map { half, name in
        (name: name, rows: (0..<inner).map { isInterleaved ? 2 * $0 + half : half * inner + $0 })
      }
      return [
        ExpertMatrices(
          module: module, name: "gate_up_proj", experts: experts.count, inputSize: hidden, parts: halves),
        ExpertMatrices(
          module: module, name: "down_proj", experts: experts.count, inputSize: inner,
          parts: [("down_proj", Array(0..<hidden))]),
      ]
    }
  }

  /// The paths under which PEFT's file has A and B of those that have an update. It wraps a module once for each parameter, so
  /// of two parameters of a module the first one's are in the inner wrapper.
  static func savedPaths(of updated: [ExpertMatrices]) -> [String] {
    updated.enumerated().map { index, matrices in
      let inner = updated[(index + 1)...].count { $0.module == matrices.module }
      return matrices.module + String(repeating: ".base_layer", count: inner)
    }
  }

  /// The shapes of PEFT's A and B.
  func savedShapes(rank: Int) -> (a: [Int], b: [Int]) {
    ([experts * rank, inputSize], [outputSize, rank * experts])
  }

  /// B of a part, `[experts, out, rank]`, from PEFT's B.
  func part(_ rows: [Int], of saved: Tensor, rank: Int) -> Tensor {
    let values = CPUBackend.shared.floats(saved)
    var part = [Float](repeating: 0, count: experts * rows.count * rank)
    forEachElement(rows, rank: rank) { own, whole in part[own] = values[whole] }
    return CPUBackend.shared.tensor(part, [experts, rows.count, rank])
  }

  /// PEFT's B from those of the parts.
  func joined(_ tensors: [Tensor], rank: Int) -> Tensor {
    let shape = savedShapes(rank: rank).b
    var whole = [Float](repeating: 0, count: shape[0] * shape[1])
    for (tensor, part) in zip(tensors, parts) {
      let values = CPUBackend.shared.floats(tensor)
      forEachElement(part.rows, rank: rank) { own, saved in whole[saved] = values[own] }
    }
    return CPUBackend.shared.tensor(whole, shape)
  }

  /// Calls `body` with the place of each element of a part's B, and its place in PEFT's.
  private func forEachElement(_ rows: [Int], rank: Int, _ body: (_ own: Int, _ whole: Int) -> Void) {
    for expert in 0..<experts {
      for (index, row) in rows.enumerated() {
        for k in 0..<rank { body((expert * rows.count + index) * rank + k, (row * rank + k) * experts + expert) }
      }
    }
  }
}

/// The LoRA update of matrices of one kind of all experts of a layer, as llama.cpp and mlx-lm have it.
struct ExpertFactors {
  /// transformers' path of the module of experts.
  let module: String
  /// `gate_proj`, `up_proj` or `down_proj`.
  let part: String
  /// The scale of the update.
  let scale: Float
  /// `[experts, rank, in]`
  let a: Tensor
  /// `[experts, out, rank]`
  let b: Tensor

  var rank: Int { a.shape[1] }
}

extension AdapterFile {
  /// The updates of experts in PEFT's file, and the names of their tensors there.
  func expertFactors(
    of base: TransformerConfiguration
  ) throws(SwiftletError) -> (factors: [ExpertFactors], names: Set<String>) {
    let updated = ExpertMatrices.all(of: base).filter { matrices in
      configuration.targetParameters.contains { LoRAConfiguration.isNamed($0, matrices.path) }
    }
    var factors: [ExpertFactors] = []
    var names: Set<String> = []
    for (matrices, path) in zip(updated, ExpertMatrices.savedPaths(of: updated)) {
      let rank = configuration.rank(of: matrices.path)
      let shapes = matrices.savedShapes(rank: rank)
      let backend = CPUBackend.shared
      let a = try tensor(Self.name(path, "A"), shapes.a, on: backend)
      let b = try tensor(Self.name(path, "B"), shapes.b, on: backend)
      names.formUnion(["A", "B"].flatMap { [Self.name(path, $0), Self.name(ModuleNames.textOnly(path), $0)] })
      for part in matrices.parts {
        factors.append(
          ExpertFactors(
            module: matrices.module, part: part.name, scale: configuration.scale(of: matrices.path),
            a: a.reshaped([matrices.experts, rank, matrices.inputSize]),
            b: matrices.part(part.rows, of: b, rank: rank)))
      }
    }
    return (factors, names)
  }
}
