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
  /// The type that its file has the factors in; float32 for a new adapter.
  package let storedType: ElementType
  let updates: [LoRAUpdate]
  let expertUpdates: [ExpertUpdate]
  let backend: any Backend
  /// The names of the layers, or their paths if others have these names too and a regular expression selected them.
  private let targetList: [String]
  private let savedModules: SavedModules
  private let trainedTokens: [TrainedTokens]
  /// The names of the labels of a classifier.
  private let labels: [String]?

  /// Adds new updates to the layers of `transformer` that the configuration selects. The model's output doesn't change
  /// yet.
  ///
  /// For sequence classification, the transformer must have its head already.
  /// - Throws: `SwiftletError` if no layer is selected, or one that can't have an update, or for settings that
  ///   contradict each other or the model.
  public init(_ configuration: LoRAConfiguration, on transformer: Transformer, seed: UInt64) throws(SwiftletError) {
    let configuration = configuration.resolved(for: transformer)
    self.configuration = configuration
    layers = try Self.targets(of: configuration, in: transformer)
    let expertTargets = try ExpertUpdate.targets(of: configuration, in: transformer)
    try configuration.check(layers)
    targetList = Self.targetList(of: layers, configuration, in: transformer)
    savedModules = try SavedModules(configuration, transformer)
    trainedTokens = try TrainedTokens.all(configuration, transformer, savedModules)
    labels = transformer.sequenceHead?.labels
    backend = transformer.backend
    storedType = .float32
    let backend = backend
    var random = RandomSource(seed: seed)
    updates = layers.map { layer in
      let factors = configuration.initialization.factors(
        of: layer, rank: configuration.rank(of: layer.path), scale: configuration.scale(of: layer.path), &random,
        on: backend)
      let magnitudes = configuration.usesDoRA ? Magnitude.norms(of: layer.weight.value, on: backend) : nil
      return Self.update(
        of: layer, configuration, factors, magnitudes: magnitudes.map { backend.tensor($0, [layer.outputSize]) },
        bias: configuration.hasBias
          ? backend.tensor([Float](repeating: 0, count: layer.outputSize), [layer.outputSize]) : nil, on: backend)
    }
    expertUpdates = expertTargets.map { target in
      let (experts, parameter) = (target.parameter.experts.count, target.parameter)
      let factors = configuration.initialization.values(
        rank: target.rank, copies: experts, inputSize: parameter.inputSize, outputSize: parameter.outputSize, &random)
      return ExpertUpdate(
        target, a: backend.tensor(factors.a, target.shapeOfA),
        b: backend.tensor(factors.b, target.savedB(on: backend).trainedShape), on: backend)
    }
    attach(to: transformer)
  }

  /// Reads an adapter that PEFT or Swiftlet wrote, and adds its updates to `transformer`. If it doesn't fit, the
  /// transformer doesn't change.
  /// - Parameter url: the folder, also of an adapter of mlx-lm; or a GGUF file for llama.cpp.
  /// - Throws: `SwiftletError` if a file is missing or contradicts the model.
  public init(reading url: URL, onto transformer: Transformer) throws {
    let file = try AdapterFile(url, for: transformer)
    storedType = file.storedType
    let configuration = file.configuration.resolved(for: transformer)
    self.configuration = configuration
    let former = transformer.sequenceHead
    var isAttached = false
    defer { if !isAttached { transformer.sequenceHead = former } }
    backend = transformer.backend
    try file.addSequenceHead(to: transformer)
    labels = transformer.sequenceHead?.labels
    var saved: SavedModules
    let expertTargets: [ExpertUpdate.Target]
    do {
      layers = try Self.targets(of: configuration, in: transformer)
      expertTargets = try ExpertUpdate.targets(of: configuration, in: transformer)
      saved = try SavedModules(configuration, transformer)
    } catch {
      throw SwiftletError.model("\(error)", in: url.path)
    }
    try saved.addEmbeddings(in: file, transformer)
    let tokens = try TrainedTokens.all(configuration, transformer, saved)
    targetList = Self.targetList(of: layers, configuration, in: transformer)
    updates = try file.updates(of: layers, configuration, on: transformer.backend)
    expertUpdates = try file.updates(of: expertTargets, on: transformer.backend)
    try file.read(saved.all, on: transformer.backend)
    try file.read(tokens, on: transformer.backend)
    (savedModules, trainedTokens) = (saved, tokens)
    try file.checkForOthers(
      than: (updates.flatMap(\.parameters) + expertUpdates.flatMap(\.parameters)).map(\.name) + saved.all.map(\.name)
        + tokens.map(\.values.name),
      isTied: transformer.head === transformer.embedding && saved.untiedHead == nil)
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
    guard !layers.isEmpty || !configuration.targetParameters.isEmpty else {
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

  static func update(
    of layer: Linear, _ configuration: LoRAConfiguration, _ factors: InitialFactors, magnitudes: Tensor?,
    bias: Tensor?, on backend: any Backend
  ) -> LoRAUpdate {
    func trained(_ name: String, _ value: Tensor) -> Parameter {
      Parameter(name: name, value: value, isTrainable: true)
    }
    let magnitude = magnitudes.map { values in
      Magnitude(trained(AdapterFile.magnitudeName(layer), values), weight: layer.weight.value, on: backend)
    }
    return LoRAUpdate(
      a: trained(AdapterFile.name(layer.path, "A"), factors.a),
      b: trained(AdapterFile.name(layer.path, "B"), factors.b),
      scale: configuration.scale(of: layer.path),
      // Adapters with magnitudes are only read with dropout, and then not trained.
      dropout: configuration.usesDoRA ? 0 : Float(configuration.dropout), magnitude: magnitude,
      bias: bias.map { trained(AdapterFile.biasName(layer), $0) }, initial: factors.subtracted)
  }

  private func attach(to transformer: Transformer) {
    for (layer, update) in zip(layers, updates) { layer.lora = update }
    for update in expertUpdates { update.attach(true) }
    if let head = savedModules.untiedHead {
      head.isReplaced = true
      transformer.head = head
    }
    for module in savedModules.all {
      module.parameter.value = module.value
      module.parameter.isTrainable = module.isTrained
      module.parameter.isReplaced = true
    }
    for tokens in trainedTokens { tokens.table.replacement = tokens.replacement }
  }

  /// The name of one of `parameters` in `adapter_model.safetensors`.
  public static func fileName(of parameter: Parameter) -> String {
    parameter.name.hasPrefix(AdapterFile.prefix) ? parameter.name : AdapterFile.prefix + parameter.name
  }

  /// The trained parameters, in the order of the layers.
  public var parameters: [Parameter] {
    updateParameters + savedModules.all.filter(\.isTrained).map(\.parameter) + trainedTokens.map(\.values)
  }

  private var updateParameters: [Parameter] {
    let linear = updates.flatMap(\.parameters)
    guard hasExpertUpdates else { return linear }
    let all = linear + expertUpdates.flatMap(\.parameters)
    return all.indices.sorted { (all[$0].layerIndex ?? -1, $0) < (all[$1].layerIndex ?? -1, $1) }.map { all[$0] }
  }

  /// Whether experts have updates, whose factors are trained in another form than PEFT's.
  package var hasExpertUpdates: Bool { !expertUpdates.isEmpty }

  /// Call this when a parameter has changed: DoRA keeps norms that depend on A and B.
  public func parametersChanged() { for update in updates { update.magnitude?.invalidate() } }

  /// Whether the adapter is applied. If not, the model computes what its base model does.
  public var isEnabled = true {
    didSet {
      for (layer, update) in zip(layers, updates) { layer.lora = isEnabled ? update : nil }
      for update in expertUpdates { update.attach(isEnabled) }
      for module in savedModules.all {
        module.parameter.value = isEnabled ? module.value : module.base
        module.parameter.isReplaced = isEnabled
      }
      for tokens in trainedTokens { tokens.table.replacement = isEnabled ? tokens.replacement : nil }
    }
  }

  /// Writes `adapter_config.json` and `adapter_model.safetensors` as PEFT does; an adapter of the initialization
  /// `pissa` as a plain one of twice the rank, for the base model as it is.
  /// - Parameter base: the name or path of the base model to record.
  /// - Throws: `SwiftletError` if the folder can't be written.
  public func write(to folder: URL, base: String) throws {
    try? FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    let all =
      savedUpdates + savedModules.all.map { TensorSource(name: $0.name, tensor: $0.value) }
      + trainedTokens.map { TensorSource(name: $0.values.name, tensor: $0.values.value) }
    try SafetensorsWriter.write(
      all, metadata: ["format": "pt"], to: folder.appendingPathComponent("adapter_model.safetensors"))
    try AtomicFile.write(
      configuration.asSaved.json(base: base, names: targetList).text(.pretty) + "\n",
      to: folder.appendingPathComponent("adapter_config.json"))
    if let labels, labels != SequenceHead.defaultLabels(labels.count) {
      try AtomicFile.write(
        JSONValue.object(JSONObject(SequenceHead.json(labels: labels))).text(.pretty) + "\n",
        to: folder.appendingPathComponent(SequenceHead.labelsFileName))
    }
  }
}
