import Checkpoints
import Tensors

/// The experts of a model as llama.cpp has them: for each layer, one tensor with the gates of all experts, one with their
/// inputs and one with their outputs, and the same for biases.
struct GGUFExperts {
  let architecture: GGUFArchitecture
  /// What the weights become that an adapter changes, by their names.
  let merging: [String: () -> Tensor?]
  let backend: any Backend

  /// A tensor of the file.
  struct Entry {
    let name: String
    let stack: ExpertParameter.Stack
    let isBias: Bool

    var members: [Parameter] { stack.layers.compactMap { isBias ? $0.bias : $0.weight } }
    var shape: [Int] { isBias ? Array(stack.shape.prefix(2)) : stack.shape }
  }

  func entries(of parameters: [ExpertParameter]) -> [Entry] {
    parameters.flatMap { parameter in
      parameter.stacks.flatMap { stack in
        [false, true].compactMap { isBias -> Entry? in
          let kind = isBias ? "bias" : "weight"
          guard !isBias || stack.layers.contains(where: { $0.bias != nil }),
            let name = architecture.expertTensorName(of: "\(parameter.module).0.\(stack.name).\(kind)")?.name
          else { return nil }
          return Entry(name: name, stack: stack, isBias: isBias)
        }
      }
    }
  }

  /// Whether training or an adapter changes one of the matrices.
  func isChanged(_ entry: Entry) -> Bool {
    entry.members.contains { $0.isTrainable || $0.isReplaced || merging[$0.name] != nil }
  }

  /// - Parameter mixture: the types to store matrices in; `nil` keeps each as it is stored.
  func source(of entry: Entry, _ mixture: GGUFMixture?) -> TensorSource {
    let shape = entry.shape
    let members = entry.members
    let stored: ElementType =
      entry.isBias
      ? .float32
      : mixture?.type(of: entry.name, shape: shape)
        ?? keptType(members.first?.value.type ?? .float32, isChanged: isChanged(entry))
    return TensorSource(name: entry.name, type: stored, shape: shape) { [backend, merging] in
      let all = backend.empty(shape, stored)
      let rows = shape[1]
      let matrix = all.reshaped([shape[0] * rows, shape.count > 2 ? shape[2] : 1])
      for (index, member) in members.enumerated() {
        let target = matrix.rows(index * rows..<(index + 1) * rows)
        if stored == .mxfp4, member.value.type == .float4 {
          backend.copy(member.value.mxfp4Blocks(rows: entry.stack.rows), to: target)
          continue
        }
        let part = entry.stack.part(of: merging[member.name]?() ?? member.value, on: backend)
        let own = part.type == stored ? part : backend.converted(part, to: stored)
        backend.copy(own.reshaped(target.shape), to: target)
      }
      return all
    }
  }

  /// The type to store matrices in if none was requested. Codes with exponents apart become GGML's blocks, without loss.
  private func keptType(_ type: ElementType, isChanged: Bool) -> ElementType {
    if type == .float4, !isChanged { return .mxfp4 }
    return type.keptInGGUF(isChanged: isChanged)
  }
}
