import Checkpoints
import Diagnostics
import Tensors

/// The experts of a model in mlx-lm's layout: one tensor each for `gate_proj`, `up_proj` and `down_proj` of a layer, which
/// holds the matrices of all experts.
struct MLXExperts {
  /// How to quantize matrices whose rows are whole groups; `nil` for floats.
  let format: AffineFormat?
  /// The float type of everything else, and of scales and biases.
  let type: ElementType
  /// What the weights become that an adapter changes, by their names.
  let merging: [String: () -> Tensor?]
  let backend: any Backend
  /// The model's files, for errors.
  let path: String

  /// mlx-lm's name for the module that transformers calls `experts`, given its path.
  static func module(_ path: String) -> String {
    path.hasSuffix(".experts") ? path.dropLast("experts".count) + "switch_mlp" : path
  }

  /// The format of a stack's matrices; `nil` for floats.
  private func format(of stack: ExpertParameter.Stack) -> AffineFormat? {
    format.flatMap { stack.shape[2] % $0.groupSize == 0 ? $0 : nil }
  }

  /// The tensors of a parameter.
  func sources(of parameter: ExpertParameter) -> [TensorSource] {
    parameter.stacks.flatMap { stack -> [TensorSource] in
      let name = "\(Self.module(parameter.module)).\(stack.name)"
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
            type: .uint32, shape: Array(words.dropFirst()), storage: quantized.storage, byteOffset: quantized.byteOffset
          )
          return [words, quantized.scales?.absmax, quantized.scales?.biases]
        }
      }
      return zip(["weight"] + MLXQuantization.partNames, parts).enumerated().map { index, part in
        TensorSource(name: "\(name).\(part.0)", type: part.1.type, shape: part.1.shape) { try coded.take(index) }
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
