import Checkpoints
import Diagnostics
import Tensors

/// Experts whose matrices a checkpoint holds together: in the weight of one module, `[experts, out, in]`; or as in gpt-oss,
/// `experts.gate_up_proj` `[experts, in, out]`, or the MXFP4 codes `experts.gate_up_proj_blocks` `[experts, out, in / 32, 16]`
/// with exponents `experts.gate_up_proj_scales`, and biases `experts.gate_up_proj_bias` `[experts, out]`; or as in mlx-lm,
/// `switch_mlp.gate_proj`, `up_proj` and `down_proj` (`experts.gate_proj` in gpt-oss). The model has them apart, as
/// `experts.3.gate_up_proj.weight` `[out, in]`.
struct StackedExperts {
  /// `nil` for a model from a GGUF file, which has stacks only when it is written.
  let checkpoint: SafetensorsCheckpoint?
  /// The way in transformers' files.
  let storage: TransformerConfiguration.Experts.Storage
  /// Whether the checkpoint has mlx-lm's layout instead.
  let isMLX: Bool
  /// The name that the file has for a module.
  let fileName: (String) -> String

  /// The stack that holds a tensor of an expert: `experts.3.gate_up_proj.weight` as `experts.gate_up_proj`, 3, `weight`.
  static func place(of name: String) -> (stack: String, expert: Int, kind: String)? {
    let parts = name.split(separator: ".").map(String.init)
    guard parts.count > 4, parts[parts.count - 4] == "experts", let expert = Int(parts[parts.count - 3]), expert >= 0
    else { return nil }
    let stack = (parts.dropLast(3) + [parts[parts.count - 2]]).joined(separator: ".")
    return (stack, expert, parts[parts.count - 1])
  }

  /// Whether a checkpoint with these tensors has mlx-lm's layout.
  static func areSwitched(_ tensorNames: [String]) -> Bool {
    tensorNames.contains { $0.contains(".switch_mlp.") || $0.contains(".experts.gate_proj.") }
  }

  /// The tensor of an expert; `nil` if there is none.
  /// - Parameter columns: the number of columns that it must have, without which codes of MLX stay words.
  /// - Throws: `SwiftletError` if a stack has the wrong shape.
  func tensor(named name: String, columns: Int?) throws(SwiftletError) -> Tensor? {
    guard let (module, expert, kind) = Self.place(of: name) else { return nil }
    if isMLX {
      let stack = module.replacing(".experts.", with: ".\(storage.mlxModule).")
      if kind == "bias" { return bias(expert, in: "\(stack).bias") }
      guard let all = try checkpoint?.weight(named: "\(stack).\(kind)", columns: columns), all.shape.count == 3,
        expert < all.shape[0], all.type.isFloat || all.affineFormat != nil || all.type == .float4 && all.scales != nil
      else { return nil }
      return all.matrix(expert)
    }
    let stack = fileName(module)
    if storage == .stacks {
      guard let all = checkpoint?.tensor(named: "\(stack).\(kind)"), all.shape.count > 1, expert < all.shape[0] else {
        return nil
      }
      let shape = Array(all.shape.dropFirst())
      let count = shape.reduce(1, *)
      return all.elements(expert * count..<(expert + 1) * count).reshaped(shape)
    }
    if kind == "bias" { return bias(expert, in: "\(stack)_bias") }
    if let codes = checkpoint?.tensor(named: "\(stack)_blocks") { return try coded(codes, stack, expert) }
    guard let all = checkpoint?.tensor(named: stack), all.shape.count == 3, expert < all.shape[0], all.type.isFloat
    else {
      return nil
    }
    let count = all.shape[1] * all.shape[2]
    return all.elements(expert * count..<(expert + 1) * count).reshaped(Array(all.shape.dropFirst())).transposed()
  }

  private func bias(_ expert: Int, in name: String) -> Tensor? {
    guard let all = checkpoint?.tensor(named: name), all.shape.count == 2, expert < all.shape[0] else { return nil }
    return all.elements(expert * all.columns..<(expert + 1) * all.columns)
  }

  private func coded(_ codes: Tensor, _ stack: String, _ expert: Int) throws(SwiftletError) -> Tensor {
    guard let scales = checkpoint?.tensor(named: "\(stack)_scales"), codes.type == .uint8, scales.type == .uint8,
      codes.shape.count == 4, codes.shape[3] == 16, scales.shape == Array(codes.shape.dropLast()),
      expert < codes.shape[0], codes.count > 0
    else {
      throw SwiftletError.model(
        "\(stack)_blocks and \(stack)_scales don't have the shapes of MXFP4; download the model again")
    }
    let (rows, groups) = (codes.shape[1], codes.shape[2])
    let own = codes.elements(expert * rows * groups * 16..<(expert + 1) * rows * groups * 16)
    return Tensor(
      type: .float4, shape: [rows, groups * 32], storage: own.storage, byteOffset: own.byteOffset,
      scales: BlockScales(
        rows: rows, columns: groups * 32, blockSize: 32,
        scales: scales.elements(expert * rows * groups..<(expert + 1) * rows * groups), original: .bfloat16))
  }

  // MARK: Writing

  /// The tensors that hold the experts: codes as they are if none has changed, or else stacks of floats.
  /// - Parameter merging: what the parameters become that an adapter changes, by their names.
  /// - Returns: the sources, and the names of the parameters in them.
  func sources(
    of parameters: [ExpertParameter], merging: [String: () -> Tensor?], type: ElementType, on backend: any Backend
  ) -> (sources: [TensorSource], names: Set<String>) {
    guard storage != .apart else { return ([], []) }
    let layers = parameters.flatMap { $0.experts.joined() }
    // transformers takes codes for all or for none.
    let keepsCodes = layers.allSatisfy { merging[$0.weight.name] == nil }
    let sources = parameters.flatMap { parameter -> [TensorSource] in
      let biases = parameter.experts.map { $0.compactMap(\.bias) }
      let isCoded = parameter.experts.allSatisfy { $0.allSatisfy { $0.weight.value.type == .float4 } }
      let weights =
        keepsCodes && isCoded && !isMLX
        ? codes(of: parameter.path)
        : [stack(parameter, "weight", parameter.experts.map { $0.map(\.weight) }, merging, type, backend)]
      return weights
        + (biases.contains(where: \.isEmpty) ? [] : [stack(parameter, "bias", biases, merging, type, backend)])
    }
    return (sources, Set(layers.flatMap(\.ownParameters).map(\.name)))
  }

  /// The weights or biases of all experts in one tensor of floats.
  private func stack(
    _ parameter: ExpertParameter, _ kind: String, _ members: [[Parameter]], _ merging: [String: () -> Tensor?],
    _ type: ElementType, _ backend: any Backend
  ) -> TensorSource {
    let isTransposed = storage == .transposedStacks
    let own = [parameter.outputSize] + (kind == "weight" ? [parameter.inputSize] : [])
    let shape = [members.count] + (isTransposed ? own.reversed() : own)
    let file = fileName(parameter.path)
    let name = !isTransposed ? "\(file).\(kind)" : kind == "bias" ? "\(file)_bias" : file
    return TensorSource(name: name, type: type, shape: shape) {
      let values = members.flatMap { parts in
        let joined = parts.flatMap { backend.floats(merging[$0.name]?() ?? $0.value) }
        let values = parameter.rowOrder.map { Self.reordered(joined, $0) } ?? joined
        guard isTransposed, own.count == 2 else { return values }
        return CPUBackend.shared.floats(CPUBackend.shared.tensor(values, own).transposed())
      }
      return CPUBackend.shared.converted(CPUBackend.shared.tensor(values, shape), to: type)
    }
  }

  /// Rows of equal length, moved to these places.
  private static func reordered(_ values: [Float], _ order: [Int]) -> [Float] {
    let length = values.count / max(order.count, 1)
    var result = values
    for (row, place) in order.enumerated() {
      result.replaceSubrange(place * length..<(place + 1) * length, with: values[row * length..<(row + 1) * length])
    }
    return result
  }

  private func codes(of stack: String) -> [TensorSource] {
    ["blocks", "scales"].compactMap { kind in
      checkpoint?.tensor(named: "\(stack)_\(kind)").map { TensorSource(name: "\(stack)_\(kind)", tensor: $0) }
    }
  }
}

extension TransformerConfiguration {
  /// For files that have the gates and the inputs of experts apart, whatever the family has.
  mutating func separateExpertInputs() {
    guard layers.contains(where: { $0.experts != nil }) else { return }
    mlpInputs = ["gate_proj", "up_proj"]
    if activation == .clampedSwiGLU { activation = .clampedSwiGLUOfHalves }
  }
}
