import Diagnostics
import Tensors

/// The LoRA update of an ``ExpertParameter``, as PEFT's `target_parameters` adds it: one A and one B, which hold those of
/// every expert.
struct ExpertUpdate {
  /// A, `[experts · rank, in]`.
  let a: Parameter
  /// B, `[experts · out, rank]`.
  let b: Parameter
  /// The form of B in files.
  let savedB: StackedFactor
  private let updates: [(layer: Linear, update: LoRAUpdate)]

  /// What is needed to create an update.
  struct Target {
    let parameter: ExpertParameter
    let rank: Int
    let scale: Float
    /// The path under which the file has A and B.
    let path: String

    var shapeOfA: [Int] { [parameter.experts.count * rank, parameter.inputSize] }

    func savedB(on backend: any Backend) -> StackedFactor {
      StackedFactor(
        experts: parameter.experts.count, outputs: parameter.outputSize, rank: rank, rowOrder: parameter.rowOrder,
        backend: backend)
    }
  }

  /// - Parameters:
  ///   - a: `[experts · rank, in]`
  ///   - b: `[experts · out, rank]`
  init(_ target: Target, a: Tensor, b: Tensor, on backend: any Backend) {
    let (rank, outputs) = (target.rank, target.parameter.outputSize)
    let wholeA = Parameter(name: AdapterFile.name(target.path, "A"), value: a, isTrainable: true)
    let wholeB = Parameter(name: AdapterFile.name(target.path, "B"), value: b, isTrainable: true)
    var updates: [(Linear, LoRAUpdate)] = []
    for (expert, layers) in target.parameter.experts.enumerated() {
      let ownA = Parameter(expert * rank..<(expert + 1) * rank, of: wholeA)
      var first = expert * outputs
      for layer in layers {
        let ownB = Parameter(first..<first + layer.outputSize, of: wholeB)
        updates.append((layer, LoRAUpdate(a: ownA, b: ownB, scale: target.scale)))
        first += layer.outputSize
      }
    }
    (self.a, self.b, self.updates) = (wholeA, wholeB, updates)
    savedB = target.savedB(on: backend)
  }

  var parameters: [Parameter] { [a, b] }

  /// Adds the update to its layers, or takes it away.
  func attach(_ isEnabled: Bool) { for (layer, update) in updates { layer.lora = isEnabled ? update : nil } }

  /// The parameters that `target_parameters` selects.
  /// - Throws: `SwiftletError` if a name selects none.
  static func targets(
    of configuration: LoRAConfiguration, in transformer: Transformer
  ) throws(SwiftletError) -> [Target] {
    let all = transformer.expertParameters
    for name in configuration.targetParameters {
      guard all.contains(where: { LoRAConfiguration.isNamed(name, $0.path) }) else {
        let known = Set(all.map { "experts.\($0.name)" }).sorted().joined(separator: " and ")
        throw SwiftletError.model(
          "target_parameters names \(name.quotedExcerpt), which matches no parameter of experts; "
            + (all.isEmpty ? "leave it out, as this model has none" : "name \(known)"))
      }
    }
    let selected = all.filter { parameter in
      configuration.targetParameters.contains { LoRAConfiguration.isNamed($0, parameter.path) }
    }
    return zip(selected, AdapterFile.savedPaths(of: selected.map(\.module))).map { parameter, path in
      Target(
        parameter: parameter, rank: configuration.rank(of: parameter.path),
        scale: configuration.scale(of: parameter.path), path: path)
    }
  }
}
