import Checkpoints
import Diagnostics
import Essentials
import OrderedJSON
import Tensors

/// A LoRA adapter on a transformer: the low-rank updates of its linear layers, and the modules trained with them.
///
/// Not `Sendable`: it changes its transformer in place. Keep it with the transformer.
public final class Adapter {
  /// The settings, with the target modules that defaults were resolved to.
  public let configuration: LoRAConfiguration
  /// The layers that have an update, in order.
  public let layers: [Linear]
  private let updates: [LoRAUpdate]
  /// The names of the layers, or their paths if others have these names too and a regular expression selected them.
  private let targetList: [String]
  private let savedModules: SavedModules
  /// The names of the labels of a classifier.
  private let labels: [String]?

  /// Adds new updates to the layers of `transformer` that the configuration selects. The model's output doesn't change
  /// yet.
  ///
  /// For sequence classification, the transformer must have its head already.
  /// - Throws: `SwiftletError` if no layer is selected, or one that can't have an update, or for an odd rank if A and B
  ///   are to be orthogonal.
  public init(_ configuration: LoRAConfiguration, on transformer: Transformer, seed: UInt64) throws(SwiftletError) {
    let configuration = configuration.resolved(for: transformer)
    self.configuration = configuration
    layers = try Self.targets(of: configuration, in: transformer)
    targetList = Self.targetList(of: layers, configuration, in: transformer)
    if configuration.initialization == .orthogonal,
      let odd = layers.map({ configuration.rank(of: $0.path) }).first(where: { $0 % 2 != 0 })
    {
      throw SwiftletError.model(
        "init_lora_weights orthogonal needs an even rank, but one is \(odd); choose an even lora_r")
    }
    if configuration.usesDoRA, configuration.dropout > 0 {
      throw SwiftletError.model(
        "DoRA (use_dora) is trained without dropout only; set lora_dropout to 0")
    }
    savedModules = try SavedModules(configuration, transformer)
    labels = transformer.sequenceHead?.labels
    let backend = transformer.backend
    var random = RandomSource(seed: seed)
    updates = layers.map { layer in
      let rank = configuration.rank(of: layer.path)
      let (a, b) = configuration.initialization.values(
        rank: rank, inputSize: layer.inputSize, outputSize: layer.outputSize, &random)
      let magnitudes = configuration.usesDoRA ? Magnitude.norms(of: layer.weight.value, on: backend) : nil
      return Self.update(
        of: layer, configuration, a: backend.tensor(a, [rank, layer.inputSize]),
        b: backend.tensor(b, [layer.outputSize, rank]),
        magnitudes: magnitudes.map { backend.tensor($0, [layer.outputSize]) }, on: backend)
    }
    attach(to: transformer)
  }

  /// Reads an adapter that PEFT or Swiftlet wrote, and adds its updates to `transformer`. If it doesn't fit, the
  /// transformer doesn't change.
  /// - Throws: `SwiftletError` if a file is missing or contradicts the model.
  public init(reading folder: URL, onto transformer: Transformer) throws {
    let file = try AdapterFile(folder)
    let configuration = file.configuration.resolved(for: transformer)
    self.configuration = configuration
    let former = transformer.sequenceHead
    var isAttached = false
    defer { if !isAttached { transformer.sequenceHead = former } }
    try file.addSequenceHead(to: transformer)
    labels = transformer.sequenceHead?.labels
    var saved: SavedModules
    do {
      layers = try Self.targets(of: configuration, in: transformer)
      saved = try SavedModules(configuration, transformer)
    } catch {
      throw SwiftletError.model("\(error)", in: folder.path)
    }
    try saved.addEmbeddings(in: file, transformer)
    targetList = Self.targetList(of: layers, configuration, in: transformer)
    updates = try file.updates(of: layers, configuration, on: transformer.backend)
    try file.read(saved.all, on: transformer.backend)
    savedModules = saved
    try file.checkForOthers(than: updates.flatMap { $0.parameters.map(\.name) } + saved.all.map(\.name))
    attach(to: transformer)
    isAttached = true
  }

  /// The layers that get an update.
  private static func targets(
    of configuration: LoRAConfiguration, in transformer: Transformer
  ) throws(SwiftletError) -> [Linear] {
    if configuration.targetModules != .allLinear {
      for path in ["\(transformer.configuration.modulePrefix)embed_tokens", "lm_head"] where configuration.targets(path)
      {
        throw SwiftletError.model(
          "target_modules selects \(path), but only the linear layers inside the transformer's layers can have a LoRA "
            + "update; train it whole with modules_to_save")
      }
    }
    let layers = transformer.linearLayers.filter { configuration.targets($0.path) }
    guard !layers.isEmpty else {
      throw SwiftletError.model(
        "target_modules matches no layer of this model; its linear layers are \(transformer.linearLayerNames)")
    }
    return layers
  }

  private static func targetList(
    of layers: [Linear], _ configuration: LoRAConfiguration, in transformer: Transformer
  ) -> [String] {
    var named = configuration
    named.targetModules = .names(Set(layers.map(\.name)).sorted())
    let selected = transformer.linearLayers.count { named.targets($0.path) }
    guard case .pattern? = configuration.targetModules, selected != layers.count else {
      return Set(layers.map(\.name)).sorted()
    }
    return layers.map(\.path).sorted()
  }

  fileprivate static func update(
    of layer: Linear, _ configuration: LoRAConfiguration, a: Tensor, b: Tensor, magnitudes: Tensor?,
    on backend: any Backend
  ) -> LoRAUpdate {
    let magnitude = magnitudes.map { values in
      Magnitude(
        Parameter(name: AdapterFile.magnitudeName(layer), value: values, isTrainable: true),
        weight: layer.weight.value, on: backend)
    }
    return LoRAUpdate(
      a: Parameter(name: AdapterFile.name(layer, "A"), value: a, isTrainable: true),
      b: Parameter(name: AdapterFile.name(layer, "B"), value: b, isTrainable: true),
      scale: configuration.scale(of: layer.path),
      // Adapters with magnitudes are only read with dropout, and then not trained.
      dropout: configuration.usesDoRA ? 0 : Float(configuration.dropout), magnitude: magnitude)
  }

  private func attach(to transformer: Transformer) {
    for (layer, update) in zip(layers, updates) { layer.lora = update }
    if let head = savedModules.untiedHead {
      head.isReplaced = true
      transformer.head = head
    }
    for module in savedModules.all {
      module.parameter.value = module.value
      module.parameter.isTrainable = module.isTrained
      module.parameter.isReplaced = true
    }
  }

  /// The name of one of `parameters` in `adapter_model.safetensors`.
  public static func fileName(of parameter: Parameter) -> String {
    parameter.name.hasPrefix(AdapterFile.prefix) ? parameter.name : AdapterFile.prefix + parameter.name
  }

  /// The trained parameters, in the order of the layers.
  public var parameters: [Parameter] {
    updates.flatMap(\.parameters) + savedModules.all.filter(\.isTrained).map(\.parameter)
  }

  /// Call this when a parameter has changed: DoRA keeps norms that depend on A and B.
  public func parametersChanged() { for update in updates { update.magnitude?.invalidate() } }

  /// Whether the adapter is applied. If not, the model computes what its base model does.
  public var isEnabled = true {
    didSet {
      for (layer, update) in zip(layers, updates) { layer.lora = isEnabled ? update : nil }
      for module in savedModules.all {
        module.parameter.value = isEnabled ? module.value : module.base
        module.parameter.isReplaced = isEnabled
      }
    }
  }

  /// Writes `adapter_config.json` and `adapter_model.safetensors` as PEFT does.
  /// - Parameter base: the name or path of the base model to record.
  /// - Throws: `SwiftletError` if the folder can't be written.
  public func write(to folder: URL, base: String) throws {
    try? FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    let tensors = updates.flatMap(\.parameters).map { TensorSource(name: $0.name, tensor: $0.value) }
    let all = tensors + savedModules.all.map { TensorSource(name: $0.name, tensor: $0.value) }
    try SafetensorsWriter.write(
      all, metadata: ["format": "pt"], to: folder.appendingPathComponent("adapter_model.safetensors"))
    try AtomicFile.write(
      configuration.json(base: base, names: targetList).text(.pretty) + "\n",
      to: folder.appendingPathComponent("adapter_config.json"))
    if let labels, labels != SequenceHead.defaultLabels(labels.count) {
      try AtomicFile.write(
        JSONValue.object(JSONObject(SequenceHead.json(labels: labels))).text(.pretty) + "\n",
        to: folder.appendingPathComponent(SequenceHead.labelsFileName))
    }
  }
}

/// A module that is saved whole with the adapter. The base keeps its own weights: files are mapped read-only.
private struct SavedModule {
  let parameter: Parameter
  /// The base model's value.
  let base: Tensor
  /// The adapter's value, in float32.
  let value: Tensor
  /// Whether it is trained, as `modules_to_save` says, or only stored with the adapter.
  let isTrained: Bool

  init(_ parameter: Parameter, isTrained: Bool, on backend: any Backend) {
    self.parameter = parameter
    base = parameter.value
    value = backend.converted(parameter.value, to: .float32)
    self.isTrained = isTrained
  }

  /// The name in `adapter_model.safetensors`.
  var name: String { AdapterFile.prefix + parameter.name }
}

/// The modules that are saved whole with an adapter.
private struct SavedModules {
  private(set) var all: [SavedModule] = []
  /// The head to give the transformer. PEFT trains copies of modules, so an embedding and head that are tied become two
  /// matrices if `modules_to_save` names either.
  let untiedHead: Parameter?

  /// The modules that `modules_to_save` selects.
  init(_ configuration: LoRAConfiguration, _ transformer: Transformer) throws(SwiftletError) {
    untiedHead = Self.untiedHead(configuration, transformer)
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

  private func contains(_ parameter: Parameter) -> Bool { all.contains { $0.parameter === parameter } }

  private static func untiedHead(_ configuration: LoRAConfiguration, _ transformer: Transformer) -> Parameter? {
    guard transformer.head === transformer.embedding, transformer.sequenceHead == nil else { return nil }
    let head = Parameter(name: "lm_head.weight", value: transformer.embedding.value)
    let isSaved = configuration.modulesToSave.contains { name in
      [head, transformer.embedding].contains { configuration.savesModule(name, at: module(of: $0)) }
    }
    return isSaved ? head : nil
  }

  /// The path of the module that has the parameter.
  private static func module(of parameter: Parameter) -> String {
    parameter.name.split(separator: ".").dropLast().joined(separator: ".")
  }

  /// Adds an embedding or head that the adapter's file has although `modules_to_save` doesn't name it: PEFT saves them
  /// if tokens were added.
  mutating func addEmbeddings(in file: AdapterFile, _ transformer: Transformer) throws(SwiftletError) {
    let head = untiedHead ?? transformer.head
    for parameter in [transformer.embedding] + (head === transformer.embedding ? [] : [head])
    where !contains(parameter) {
      guard let tensor = file.stored(AdapterFile.prefix + parameter.name) else { continue }
      guard tensor.shape == parameter.value.shape else {
        throw SwiftletError.model(
          "the adapter has its own embeddings (\(parameter.name)) of shape \(tensor.shape), but the base model's have "
            + "\(parameter.value.shape), because tokens were added; merge the adapter with PEFT and open the result",
          in: file.folder.path)
      }
      all.append(SavedModule(parameter, isTrained: false, on: transformer.backend))
    }
  }
}

/// The files of a saved adapter.
private struct AdapterFile {
  /// PEFT's prefix of module paths.
  static let prefix = "base_model.model."

  let folder: URL
  let configuration: LoRAConfiguration
  let tensors: SafetensorsCheckpoint

  init(_ folder: URL) throws {
    let config = folder.appendingPathComponent("adapter_config.json")
    guard FileManager.default.fileExists(atPath: config.path) else {
      throw SwiftletError.model(
        "there is no adapter_config.json; name an adapter folder that Swiftlet or PEFT saved", in: folder.path)
    }
    self.folder = folder
    configuration = try LoRAConfiguration(json: ModelFiles.json(at: config), path: config.path)
    tensors = try SafetensorsCheckpoint(contentsOf: folder.appendingPathComponent("adapter_model.safetensors"))
  }

  static func name(_ layer: Linear, _ factor: String) -> String { "\(prefix)\(layer.path).lora_\(factor).weight" }

  /// The tensor `name`, also if the adapter was trained on the text-only class of a model with a vision tower.
  func stored(_ name: String) -> Tensor? {
    tensors.tensor(named: name) ?? tensors.tensor(named: Self.textOnly(name))
  }

  private static func textOnly(_ name: String) -> String {
    prefix + ModuleNames.textOnly(String(name.dropFirst(prefix.count)))
  }

  static func magnitudeName(_ layer: Linear) -> String { "\(prefix)\(layer.path).lora_magnitude_vector" }

  /// Gives the transformer the head that the adapter has in the file, unless it has one.
  func addSequenceHead(to transformer: Transformer) throws(SwiftletError) {
    guard transformer.sequenceHead == nil, let weight = stored(Self.prefix + SequenceHead.weightName) else { return }
    let names = folder.appendingPathComponent(SequenceHead.labelsFileName)
    let given =
      FileManager.default.fileExists(atPath: names.path) ? SequenceHead.labels(try ModelFiles.json(at: names)) : nil
    guard weight.shape.count == 2, given == nil || given?.count == weight.rows else {
      throw SwiftletError.model(
        "\(SequenceHead.labelsFileName) names \(given?.count ?? 0) labels, but the head has the shape \(weight.shape); "
          + "restore the file that was saved with the adapter", in: folder.path)
    }
    try transformer.addSequenceHead(
      labels: given ?? SequenceHead.defaultLabels(weight.rows), padding: nil, seed: 0)
  }

  func updates(
    of layers: [Linear], _ configuration: LoRAConfiguration, on backend: any Backend
  ) throws(SwiftletError) -> [LoRAUpdate] {
    var updates: [LoRAUpdate] = []
    for layer in layers {
      let rank = configuration.rank(of: layer.path)
      let a = try tensor(Self.name(layer, "A"), [rank, layer.inputSize], on: backend)
      let b = try tensor(Self.name(layer, "B"), [layer.outputSize, rank], on: backend)
      let magnitudes =
        configuration.usesDoRA ? try tensor(Self.magnitudeName(layer), [layer.outputSize], on: backend) : nil
      updates.append(
        Adapter.update(of: layer, configuration, a: a, b: b, magnitudes: magnitudes, on: backend))
    }
    return updates
  }

  /// Copies the adapter's values into the modules.
  func read(_ modules: [SavedModule], on backend: any Backend) throws(SwiftletError) {
    for module in modules {
      let value = try tensor(module.name, module.base.shape, on: backend)
      backend.copyRows(Columns(value), 0, to: Columns(module.value), 0, count: value.rows)
    }
  }

  private func tensor(_ name: String, _ shape: [Int], on backend: any Backend) throws(SwiftletError) -> Tensor {
    guard let tensor = stored(name) else {
      throw SwiftletError.model(
        "adapter_model.safetensors has no \(name); use the adapter's own base model", in: folder.path)
    }
    guard tensor.shape == shape else {
      throw SwiftletError.model(
        "\(name) has shape \(tensor.shape), but this base model needs \(shape); use the adapter's own base model",
        in: folder.path)
    }
    return backend.converted(tensor, to: .float32)
  }

  /// Throws if the file has a tensor with a name that is not in `known`.
  func checkForOthers(than known: [String]) throws(SwiftletError) {
    let known = Set(known + known.map(Self.textOnly))
    if let other = tensors.tensorNames.first(where: { !known.contains($0) }) {
      throw SwiftletError.model(
        "adapter_model.safetensors has \(other.escapedLine(limit: 200)), which matches no layer of this base model",
        in: folder.path)
    }
  }
}
