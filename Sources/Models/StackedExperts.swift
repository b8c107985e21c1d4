import Checkpoints
import Diagnostics
import Tensors

/// Experts whose matrices a checkpoint holds together: in the weight of one module, `[experts, out, in]`; or as in gpt-oss,
/// `experts.gate_up_proj` `[experts, in, out]`, or the MXFP4 codes `experts.gate_up_proj_blocks` `[experts, out, in / 32, 16]`
/// with exponents `experts.gate_up_proj_scales`, and biases `experts.gate_up_proj_bias` `[experts, out]`. The model has them
/// apart, as `experts.3.gate_up_proj.weight` `[out, in]`.
struct StackedExperts {
  let checkpoint: SafetensorsCheckpoint
  let storage: TransformerConfiguration.Experts.Storage
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

  /// The tensor of an expert; `nil` if there is none.
  /// - Throws: `SwiftletError` if a stack has the wrong shape.
  func tensor(named name: String) throws(SwiftletError) -> Tensor? {
    guard let (module, expert, kind) = Self.place(of: name) else { return nil }
    let stack = fileName(module)
    if storage == .stacks {
      guard let all = checkpoint.tensor(named: "\(stack).\(kind)"), all.shape.count > 1, expert < all.shape[0] else {
        return nil
      }
      let shape = Array(all.shape.dropFirst())
      let count = shape.reduce(1, *)
      return all.elements(expert * count..<(expert + 1) * count).reshaped(shape)
    }
    if kind == "bias" {
      guard let all = checkpoint.tensor(named: "\(stack)_bias"), all.shape.count == 2, expert < all.shape[0] else {
        return nil
      }
      return all.elements(expert * all.columns..<(expert + 1) * all.columns)
    }
    if let codes = checkpoint.tensor(named: "\(stack)_blocks") { return try coded(codes, stack, expert) }
    guard let all = checkpoint.tensor(named: stack), all.shape.count == 3, expert < all.shape[0], all.type.isFloat
    else {
      return nil
    }
    let count = all.shape[1] * all.shape[2]
    return all.elements(expert * count..<(expert + 1) * count).reshaped(Array(all.shape.dropFirst())).transposed()
  }

  private func coded(_ codes: Tensor, _ stack: String, _ expert: Int) throws(SwiftletError) -> Tensor {
    guard let scales = checkpoint.tensor(named: "\(stack)_scales"), codes.type == .uint8, scales.type == .uint8,
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

  /// The tensors that hold the experts of `parameters`: codes as they are if none has changed, or else stacks of floats.
  /// - Parameter merging: what the parameters become that an adapter changes, by their names.
  /// - Returns: the sources, and the names of the parameters in them.
  func sources(
    of parameters: [Parameter], merging: [String: () -> Tensor?], type: ElementType, on backend: any Backend
  ) -> (sources: [TensorSource], names: Set<String>) {
    var stacks: [(name: String, kind: String, members: [Parameter])] = []
    for parameter in parameters {
      guard let (stack, _, kind) = Self.place(of: parameter.name) else { continue }
      if let last = stacks.firstIndex(where: { $0.name == stack && $0.kind == kind }) {
        stacks[last].members.append(parameter)
      } else {
        stacks.append((stack, kind, [parameter]))
      }
    }
    // transformers takes codes for all or for none.
    let keepsCodes = !stacks.contains { $0.members.contains { merging[$0.name] != nil } }
    let sources = stacks.flatMap { stack -> [TensorSource] in
      if keepsCodes, stack.kind == "weight", stack.members.allSatisfy({ $0.value.type == .float4 }) { return codes(of: stack.name) }
      let own = stack.members[0].value.shape
      let isTransposed = storage == .transposedStacks
      let file = fileName(stack.name)
      let name = !isTransposed ? "\(file).\(stack.kind)" : stack.kind == "bias" ? "\(file)_bias" : file
      let shape = [stack.members.count] + (isTransposed ? own.reversed() : own)
      return [
        TensorSource(name: name, type: type, shape: shape) {
          let members = stack.members.map { backend.floats(merging[$0.name]?() ?? $0.value) }
          let values = isTransposed ? members.flatMap { Self.transposed($0, own) } : members.flatMap { $0 }
          return CPUBackend.shared.converted(CPUBackend.shared.tensor(values, shape), to: type)
        }
      ]
    }
    return (sources, Set(stacks.flatMap { $0.members.map(\.name) }))
  }

  private func codes(of stack: String) -> [TensorSource] {
    ["blocks", "scales"].compactMap { kind in
      checkpoint.tensor(named: "\(stack)_\(kind)").map { TensorSource(name: "\(stack)_\(kind)", tensor: $0) }
    }
  }

  /// The elements of a matrix, or of a vector, column by column.
  private static func transposed(_ values: [Float], _ shape: [Int]) -> [Float] {
    let (rows, columns) = (shape[0], shape.count > 1 ? shape[1] : 1)
    return (0..<columns).flatMap { column in (0..<rows).map { values[$0 * columns + column] } }
  }
}
