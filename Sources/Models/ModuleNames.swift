import Tensors

extension Parameter {
  /// The number in `layers.N.` of its name; `nil` for parameters outside the layers.
  package var layerIndex: Int? {
    let parts = name.split(separator: ".")
    guard let index = parts.firstIndex(of: "layers"), index + 1 < parts.count else { return nil }
    return Int(parts[index + 1])
  }
}

/// Under which names a checkpoint holds the modules of the language model.
///
/// Models with a vision tower have its modules under `model.language_model.` since transformers 4.52, and adapters name them
/// so. Their files still say `language_model.model.` and `language_model.lm_head`, unless they are newer.
struct ModuleNames: Sendable {
  /// Whether the file has the older names.
  let isOlder: Bool

  private static let module = "model.language_model."
  private static let older = "language_model.model."
  private static let olderHead = "language_model.lm_head."

  /// The names of a checkpoint that has these tensors.
  init(tensorNames: [String]) { isOlder = tensorNames.contains { $0.hasPrefix(Self.older) } }

  /// The name in the file of the tensor `name` of a module.
  func fileName(of name: String) -> String {
    guard isOlder else { return name }
    if name.hasPrefix(Self.module) { return Self.older + name.dropFirst(Self.module.count) }
    return name.hasPrefix("lm_head.") ? Self.olderHead + name.dropFirst("lm_head.".count) : name
  }

  /// What follows the number of the layer in a path: `mlp.up_proj` of `model.layers.0.mlp.up_proj`.
  static func inLayer(_ path: String) -> String {
    let parts = path.split(separator: ".")
    return parts.drop { $0 != "layers" }.dropFirst(2).joined(separator: ".")
  }

  /// The name without `language_model.`, as if the model were text only.
  static func textOnly(_ name: String) -> String {
    name.hasPrefix(module) ? "model." + name.dropFirst(module.count) : name
  }
}
