import Diagnostics
import Tensors

/// A module that is saved whole with the adapter. The base keeps its own weights: files are mapped read-only.
struct SavedModule {
  let parameter: Parameter
  /// The base model's value.
  let base: Tensor
  /// The adapter's value, in float32.
  let value: Tensor
  /// Whether it is trained, as `modules_to_save` says, or only stored with the adapter.
  let isTrained: Bool
  /// The name in `adapter_model.safetensors`.
  let name: String

  init(_ parameter: Parameter, isTrained: Bool, storedAs name: String? = nil, on backend: any Backend) {
    self.parameter = parameter
    self.name = name ?? AdapterFile.prefix + parameter.name
    base = parameter.value
    value = backend.converted(parameter.value, to: .float32)
    self.isTrained = isTrained
  }
}

/// The modules that are saved whole with an adapter.
struct SavedModules {
  private(set) var all: [SavedModule] = []
  /// The head to give the transformer. PEFT trains copies of modules, so an embedding and head that are tied become two
  /// matrices if `modules_to_save` names either, or if they train different tokens.
  let untiedHead: Parameter?

  /// The modules that `modules_to_save` selects.
  init(_ configuration: LoRAConfiguration, _ transformer: Transformer) throws(SwiftletError) {
    untiedHead = try Self.untiedHead(configuration, transformer)
    let parameters = transformer.parameters + (untiedHead.map { [$0] } ?? [])
    for name in configuration.modulesToSave {
      let matching = parameters.filter { configuration.savesModule(name, at: Self.module(of: $0)) }
      if matching.isEmpty, transformer.sequenceHead != nil, LoRAConfiguration.headNames.contains(name) { continue }
      guard !matching.isEmpty else {
        throw SwiftletError.model("modules_to_save names \(name.quotedExcerpt), which this model doesn't have")
      }
      for parameter in matching where !contains(parameter) {
        let path = Self.module(of: parameter)
        if transformer.linearLayers.contains(where: { $0.path == path }), configuration.targets(path) {
          throw SwiftletError.model(
            "modules_to_save names \(name.quotedExcerpt), which is the end of \(path), a layer with a LoRA update; "
              + "write the whole name of the module")
        }
        all.append(SavedModule(parameter, isTrained: true, on: transformer.backend))
      }
    }
  }

  func contains(_ parameter: Parameter) -> Bool { all.contains { $0.parameter === parameter } }

  /// Whether the module of a parameter is trained whole.
  func trains(_ parameter: Parameter) -> Bool { all.contains { $0.parameter === parameter && $0.isTrained } }

  private static func untiedHead(
    _ configuration: LoRAConfiguration, _ transformer: Transformer
  ) throws(SwiftletError) -> Parameter? {
    guard transformer.head === transformer.embedding, transformer.sequenceHead == nil else { return nil }
    let head = Parameter(name: "lm_head.weight", value: transformer.embedding.value)
    let isSaved = configuration.modulesToSave.contains { name in
      [head, transformer.embedding].contains { configuration.savesModule(name, at: module(of: $0)) }
    }
    let tokens = try configuration.trainableTokens?.indices(embedding: module(of: transformer.embedding))
    return isSaved || tokens?.unties == true ? head : nil
  }

  /// The path of the module that has the parameter.
  static func module(of parameter: Parameter) -> String {
    parameter.name.split(separator: ".").dropLast().joined(separator: ".")
  }

  /// Adds an embedding or head that the adapter's file has although `modules_to_save` doesn't name it: PEFT saves them
  /// if the vocabulary was resized, under another name if some of their tokens are trained.
  mutating func addEmbeddings(in file: AdapterFile, _ transformer: Transformer) throws(SwiftletError) {
    let head = untiedHead ?? transformer.head
    for parameter in [transformer.embedding] + (head === transformer.embedding ? [] : [head])
    where !contains(parameter) {
      let plain = AdapterFile.prefix + parameter.name
      let wrapped = "\(AdapterFile.prefix)\(Self.module(of: parameter)).token_adapter.base_layer.weight"
      guard let name = [wrapped, plain].first(where: { file.stored($0) != nil }), let tensor = file.stored(name) else {
        continue
      }
      guard tensor.shape == parameter.value.shape else {
        throw SwiftletError.model(
          "the adapter has its own embeddings (\(parameter.name)) of shape \(tensor.shape), but the base model's have "
            + "\(parameter.value.shape); use the adapter's own base model",
          in: file.url.path)
      }
      all.append(SavedModule(parameter, isTrained: false, storedAs: name, on: transformer.backend))
    }
  }
}
