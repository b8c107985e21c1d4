import Checkpoints
import Diagnostics
import Tensors

/// The experts of a model in mlx-lm's layout: one tensor each for `gate_proj`, `up_proj` and `down_proj` of a layer, which
/// holds the matrices of all experts, and one for their biases.
struct MLXExperts {
  /// How to quantize matrices whose rows are whole groups; `nil` for floats.
  let format: AffineFormat?
  /// The float type of everything else, and of scales and biases.
  let type: ElementType
  /// What the weights become that an adapter changes, by their names.
  let merging: [String: () -> Tensor?]
  let backend: any Backend
  /// The name of the module that transformers calls `experts`.
  let module: String
  /// The model's files, for errors.
  let path: String

  /// mlx-lm's path of a stack.
  private func path(of stack: ExpertParameter.Stack, in parameter: ExpertParameter) -> String {
    "\(parameter.module.dropLast("experts".count))\(module).\(stack.name)"
  }

  /// The paths of the stacks of a parameter that are written in the format.
  func quantizedModules(of parameter: ExpertParameter) -> [String] {
    parameter.stacks.filter { !keepsCodes($0) && format(of: $0) != nil }.map { path(of: $0, in: parameter) }
  }

  /// Whether a stack's codes in MXFP4 stay as they are.
  func keepsCodes(_ stack: ExpertParameter.Stack) -> Bool {
    stack.layers.allSatisfy { $0.weight.value.type == .float4 && merging[$0.weight.name] == nil }
  }

  /// The format of a stack's matrices; `nil` for floats.
  private func format(of stack: ExpertParameter.Stack) -> AffineFormat? {
    format.flatMap { stack.shape[2] % $0.groupSize == 0 ? $0 : nil }
  }

  /// The tensors of a parameter.
  func sources(of parameter: ExpertParameter) -> [TensorSource] {
    parameter.stacks.flatMap { stack in
      let name = path(of: stack, in: parameter)
      let biases = stack.layers.compactMap(\.bias)
      return weights(of: stack, name)
        + (biases.count == stack.layers.count ? [bias(stack, biases, "\(name).bias")] : [])
    }
  }

  /// The biases of all experts.
  private func bias(_ stack: ExpertParameter.Stack, _ biases: [Parameter], _ name: String) -> TensorSource {
    let shape = Array(stack.shape.prefix(2))
    return TensorSource(name: name, type: type, shape: shape) {
      let values = biases.flatMap { bias in
        backend.floats(stack.part(of: merging[bias.name]?() ?? bias.value, on: backend))
      }
      return backend.converted(backend.tensor(values, shape), to: type)
    }
  }

  private func weights(of stack: ExpertParameter.Stack, _ name: String) -> [TensorSource] {
    if keepsCodes(stack) { return codes(of: stack, name) }
    guard let format = format(of: stack) else {
      return [
        TensorSource(name: "\(name).weight", type: type, shape: stack.shape) {
          try joined(stack, [(type, stack.shape)]) { [backend.converted($0, to: type)] }[0]
        }
      ]
    }
    let groups = [stack.shape[0], stack.shape[1], stack.shape[2] / format.groupSize]
    let words = [stack.shape[0], stack.shape[1], stack.shape[2] * format.bits / 32]
    let parts: [(type: ElementType, shape: [Int])] = [(.uint32, words), (type, groups), (type, groups)]
    let coded = TakenOnce {
      try joined(stack, parts) { quantized in
        let words = Tensor(
          type: .uint32, shape: Array(words.dropFirst()), storage: quantized.storage, byteOffset: quantized.byteOffset)
        return [words, quantized.scales?.absmax, quantized.scales?.biases]
      }
    }
    return zip(["weight"] + MLXQuantization.partNames, parts).enumerated().map { index, part in
      TensorSource(name: "\(name).\(part.0)", type: part.1.type, shape: part.1.shape) { try coded.take(index) }
    }
  }

  /// Codes of MXFP4, 8 in a word, and the exponents of their groups.
  private func codes(of stack: ExpertParameter.Stack, _ name: String) -> [TensorSource] {
    let (experts, rows, columns) = (stack.shape[0], stack.shape[1], stack.shape[2])
    return [("weight", ElementType.uint32, columns / 8), ("scales", .uint8, columns / 32)].map { kind, type, width in
      let shape = [experts, rows, width]
      return TensorSource(name: "\(name).\(kind)", type: type, shape: shape) {
        let all = backend.empty(shape, type)
        let matrix = all.reshaped([experts * rows, width])
        for (index, layer) in stack.layers.enumerated() {
          let value = layer.weight.value
          guard let exponents = value.scales?.absmax else { continue }
          let own =
            kind == "scales"
            ? exponents.reshaped([layer.outputSize, width])
            : Tensor(
              type: type, shape: [layer.outputSize, width], storage: value.storage, byteOffset: value.byteOffset)
          backend.copy(
            stack.part(of: own, on: backend), to: matrix.rows(index * rows..<(index + 1) * rows))
        }
        return all
      }
    }
  }

  /// Parts of each expert's matrix, each for all experts one after the other.
  private func joined(
    _ stack: ExpertParameter.Stack, _ kinds: [(type: ElementType, shape: [Int])], _ parts: (Tensor) -> [Tensor?]
  ) throws -> [Tensor] {
    let all = kinds.map { backend.empty($0.shape, $0.type) }
    for (index, layer) in stack.layers.enumerated() {
      for (whole, own) in zip(all, parts(try matrix(of: layer, stack))) {
        let count = whole.shape[1] * whole.shape[2]
        guard let own, own.count == count, own.type == whole.type else {
          throw SwiftletError.model(
            "\(layer.path) has other scales than its format; this is a bug in Swiftlet", in: path)
        }
        backend.copy(own.reshaped([count]), to: whole.elements(index * count..<(index + 1) * count))
      }
    }
    return all
  }

  /// The matrix of an expert, with its update, in the format. Codes of the same format stay as they are.
  private func matrix(of layer: Linear, _ stack: ExpertParameter.Stack) throws -> Tensor {
    let merged = merging[layer.weight.name]?()
    if merged == nil, stack.rows == nil, layer.weight.value.affineFormat == format, format != nil,
      layer.weight.value.scales?.absmax.type == type
    {
      return layer.weight.value
    }
    // Rounded first, as by mlx-lm; not what was merged in float32.
    let value = stack.part(of: merged ?? backend.converted(layer.weight.value, to: type), on: backend)
    guard let format = format(of: stack) else { return value }
    guard let quantized = backend.quantized(value, to: format, scaleType: type) else {
      throw SwiftletError.model(
        "\(layer.weight.name) can't be quantized: it has a value that is not finite; check the adapter or download the file "
          + "again", in: path)
    }
    return quantized
  }
}

/// Tensors that are made together but taken one by one: quantizing gives the codes, the scales and the biases, which a file
/// has apart. Those that are not taken yet are kept.
private final class TakenOnce {
  private let make: () throws -> [Tensor]
  private var kept: [Tensor?] = []

  init(_ make: @escaping () throws -> [Tensor]) { self.make = make }

  func take(_ index: Int) throws -> Tensor {
    if kept.indices.contains(index), let known = kept[index] {
      kept[index] = nil
      return known
    }
    let all = try make()
    kept = all
    kept[index] = nil
    return all[index]
  }
}
