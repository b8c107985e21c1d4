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

  /// PEFT's form of B, and ours with the rows of one part after those of another.
  func savedB(rank: Int) -> StackedFactor {
    StackedFactor(
      experts: experts, outputs: outputSize, rank: rank, rowOrder: parts.flatMap(\.rows), backend: CPUBackend.shared)
  }

  /// B of each part, `[experts, out, rank]`, from PEFT's B.
  func parts(ofB saved: Tensor, rank: Int) -> [Tensor] {
    let whole = savedB(rank: rank).trained(saved).reshaped([experts, outputSize * rank])
    return columns(rank: rank).map { columns in
      let part = CPUBackend.shared.empty([experts, columns.count], .float32)
      CPUBackend.shared.copyRows(Columns(whole, columns), 0, to: Columns(part), 0, count: experts)
      return part.reshaped([experts, columns.count / rank, rank])
    }
  }

  /// PEFT's B from those of the parts.
  func joinedB(_ tensors: [Tensor], rank: Int) -> Tensor {
    let whole = CPUBackend.shared.empty([experts, outputSize * rank], .float32)
    for (tensor, columns) in zip(tensors, columns(rank: rank)) {
      let part = CPUBackend.shared.converted(tensor, to: .float32).reshaped([experts, columns.count])
      CPUBackend.shared.copyRows(Columns(part), 0, to: Columns(whole, columns), 0, count: experts)
    }
    let savedB = savedB(rank: rank)
    return savedB.saved(whole.reshaped(savedB.trainedShape))
  }

  /// Where B of all parts of an expert, side by side, has each of them.
  private func columns(rank: Int) -> [Range<Int>] {
    var end = 0
    return parts.map { part in
      let start = end
      end += part.rows.count * rank
      return start..<end
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
  /// The paths under which PEFT's file has A and B of parameters of these modules. PEFT wraps a module once for each
  /// parameter, so of two parameters of a module the first one's are in the inner wrapper.
  static func savedPaths(of modules: [String]) -> [String] {
    modules.enumerated().map { index, module in
      module + String(repeating: ".base_layer", count: modules[(index + 1)...].count { $0 == module })
    }
  }

  /// The updates of experts in PEFT's file, and the names of their tensors there.
  func expertFactors(
    of base: TransformerConfiguration
  ) throws(SwiftletError) -> (factors: [ExpertFactors], names: Set<String>) {
    let updated = ExpertMatrices.all(of: base).filter { matrices in
      configuration.targetParameters.contains { LoRAConfiguration.isNamed($0, matrices.path) }
    }
    var factors: [ExpertFactors] = []
    var names: Set<String> = []
    for (matrices, path) in zip(updated, Self.savedPaths(of: updated.map(\.module))) {
      let rank = configuration.rank(of: matrices.path)
      let backend = CPUBackend.shared
      let a = try tensor(Self.name(path, "A"), [matrices.experts * rank, matrices.inputSize], on: backend)
      let b = try tensor(Self.name(path, "B"), matrices.savedB(rank: rank).shape, on: backend)
      names.formUnion(["A", "B"].flatMap { [Self.name(path, $0), Self.name(ModuleNames.textOnly(path), $0)] })
      for (part, b) in zip(matrices.parts, matrices.parts(ofB: b, rank: rank)) {
        factors.append(
          ExpertFactors(
            module: matrices.module, part: part.name, scale: configuration.scale(of: matrices.path),
            a: a.reshaped([matrices.experts, rank, matrices.inputSize]), b: b))
      }
    }
    return (factors, names)
  }
}
