import Checkpoints
import Diagnostics
import Essentials
import OrderedJSON
import Tensors

/// The files of a saved adapter. Adapters for llama.cpp and mlx-lm have PEFT's names and shapes here too.
struct AdapterFile {
  /// PEFT's prefix of module paths.
  static let prefix = "base_model.model."

  /// The folder, or the GGUF file.
  let url: URL
  /// The name of the file with the tensors.
  let fileName: String
  /// `adapter_config.json`; of a GGUF file, an empty object.
  let json: JSONValue
  let configuration: LoRAConfiguration
  /// The tensors in the order of the file.
  let tensors: [(name: String, tensor: Tensor)]
  private let byName: [String: Tensor]

  init(
    _ url: URL, fileName: String, json: JSONValue, _ configuration: LoRAConfiguration,
    _ tensors: [(name: String, tensor: Tensor)]
  ) {
    (self.url, self.fileName, self.json, self.configuration, self.tensors) =
      (url, fileName, json, configuration, tensors)
    byName = Dictionary(tensors.map { ($0.name, $0.tensor) }) { first, _ in first }
  }

  /// Opens an adapter of any kind: a folder of PEFT or mlx-lm, or a GGUF file.
  /// - Parameter transformer: the base model, without which the names of other formats mean nothing.
  init(_ url: URL, for transformer: Transformer) throws {
    switch AdapterFormat(of: url) {
    case .gguf: try self.init(gguf: url, for: transformer)
    case .mlx: try self.init(mlx: url, for: transformer)
    case .peft, nil:
      let file = try AdapterFile(url)
      self = transformer.configuration.modulePrefix == "model." ? file.forTextOnlyClass : file
    }
  }

  /// The same adapter for the text-only class, which GGUF files hold, of the model with a vision tower that it was
  /// trained on.
  private var forTextOnlyClass: AdapterFile {
    let renamed = tensors.map { (name: Self.textOnly($0.name), tensor: $0.tensor) }
    guard renamed.map(\.name) != tensors.map(\.name) else { return self }
    var configuration = configuration
    // Names of layers select the same ones, but a regular expression matches whole paths. Their ends fit both classes.
    if case .pattern? = configuration.targetModules {
      let (start, end) = (Self.prefix + "model.", ".lora_A.weight")
      let names = renamed.map(\.name).filter { $0.hasPrefix(start) && $0.hasSuffix(end) }
      configuration.targetModules = .names(
        names.map { String($0.dropFirst(start.count).dropLast(end.count)) }.sorted())
      configuration.excludeModules = nil
    }
    return AdapterFile(url, fileName: fileName, json: json, configuration, renamed)
  }

  /// Opens a folder of PEFT.
  init(_ folder: URL) throws {
    let config = folder.appendingPathComponent("adapter_config.json")
    guard FileManager.default.fileExists(atPath: config.path) else {
      throw SwiftletError.model(
        "there is no adapter_config.json; name an adapter folder that Swiftlet or PEFT saved", in: folder.path)
    }
    let json = try ModelFiles.json(at: config)
    let configuration = try LoRAConfiguration(json: json, path: config.path)
    let file = try SafetensorsCheckpoint(contentsOf: folder.appendingPathComponent("adapter_model.safetensors"))
    let tensors = file.tensorNames.compactMap { name in file.tensor(named: name).map { (name: name, tensor: $0) } }
    self.init(folder, fileName: "adapter_model.safetensors", json: json, configuration, tensors)
  }

  /// The type that loses the most of the values.
  var storedType: ElementType {
    let types = tensors.map(\.tensor.type)
    return types.first { !$0.isFloat } ?? types.first { $0 != .float32 } ?? .float32
  }

  /// The number of rows of an embedding or head in the file; `nil` if it has neither.
  var vocabularyRows: Int? {
    let matrices = tensors.filter { name, tensor in
      let path = name.split(separator: ".")
      return path.last == "weight" && !name.contains(".lora_") && tensor.shape.count == 2
        && path.contains { $0 == "embed_tokens" || $0 == "lm_head" }
    }
    return matrices.first?.tensor.rows
  }

  /// The ids of tokens with embeddings of their own.
  var trainedTokens: [Int] {
    switch configuration.trainableTokens {
    case .embedding(let indices): indices
    case .modules(let modules): modules.flatMap(\.value)
    case nil: []
    }
  }

  static func name(_ path: String, _ factor: String) -> String { "\(prefix)\(path).lora_\(factor).weight" }

  /// The tensor `name`, also if the adapter was trained on the text-only class of a model with a vision tower.
  func stored(_ name: String) -> Tensor? {
    byName[name] ?? byName[Self.textOnly(name)]
  }

  private static func textOnly(_ name: String) -> String {
    prefix + ModuleNames.textOnly(String(name.dropFirst(prefix.count)))
  }

  static func biasName(_ layer: Linear) -> String { "\(prefix)\(layer.path).lora_B.bias" }

  static func magnitudeName(_ layer: Linear) -> String { "\(prefix)\(layer.path).lora_magnitude_vector" }

  /// Gives the transformer the head that the adapter has in the file, unless it has one.
  func addSequenceHead(to transformer: Transformer) throws(SwiftletError) {
    guard transformer.sequenceHead == nil, let weight = stored(Self.prefix + SequenceHead.weightName) else { return }
    let names = url.appendingPathComponent(SequenceHead.labelsFileName)
    let given =
      FileManager.default.fileExists(atPath: names.path) ? SequenceHead.labels(try ModelFiles.json(at: names)) : nil
    guard weight.shape.count == 2, given == nil || given?.count == weight.rows else {
      throw SwiftletError.model(
        "\(SequenceHead.labelsFileName) names \(given?.count ?? 0) labels, but the head has the shape \(weight.shape); "
          + "restore the file that was saved with the adapter", in: url.path)
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
      var a = try tensor(Self.name(layer.path, "A"), [rank, layer.inputSize], on: backend)
      if let order = layer.columnOrder { a = backend.reorderedColumns(a, order) }
      let b = try tensor(Self.name(layer.path, "B"), [layer.outputSize, rank], on: backend)
      let magnitudes =
        configuration.usesDoRA ? try tensor(Self.magnitudeName(layer), [layer.outputSize], on: backend) : nil
      let bias = configuration.hasBias ? try tensor(Self.biasName(layer), [layer.outputSize], on: backend) : nil
      updates.append(
        Adapter.update(
          of: layer, configuration, InitialFactors(a: a, b: b), magnitudes: magnitudes, bias: bias, on: backend))
    }
    return updates
  }

  func updates(
    of targets: [ExpertUpdate.Target], on backend: any Backend
  ) throws(SwiftletError) -> [ExpertUpdate] {
    var updates: [ExpertUpdate] = []
    for target in targets {
      let form = target.savedB(on: backend)
      let a = try tensor(Self.name(target.path, "A"), target.shapeOfA, on: backend)
      let b = try tensor(Self.name(target.path, "B"), form.shape, on: backend)
      updates.append(ExpertUpdate(target, a: a, b: form.trained(b), on: backend))
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

  /// Copies the adapter's values of trained tokens.
  func read(_ tokens: [TrainedTokens], on backend: any Backend) throws(SwiftletError) {
    for part in tokens {
      let value = try tensor(part.values.name, part.values.value.shape, on: backend)
      backend.copyRows(Columns(value), 0, to: Columns(part.values.value), 0, count: value.rows)
    }
  }

  func tensor(_ name: String, _ shape: [Int], on backend: any Backend) throws(SwiftletError) -> Tensor {
    guard let tensor = stored(name) else {
      throw SwiftletError.model(
        "\(fileName) has no \(name); use the adapter's own base model", in: url.path)
    }
    guard tensor.shape == shape else {
      throw SwiftletError.model(
        "\(name) has shape \(tensor.shape), but this base model needs \(shape); use the adapter's own base model",
        in: url.path)
    }
    return backend.converted(tensor, to: .float32)
  }

  /// Throws if the file has a tensor with a name that is not in `known`, and that is no copy of one that is: PEFT repeats
  /// tensors of a resized embedding.
  /// - Parameter isTied: whether the head is the embedding.
  func checkForOthers(than known: [String], isTied: Bool) throws(SwiftletError) {
    var known = known
    if isTied {
      known += ["", ".token_adapter.base_layer"].map { "\(Self.prefix)lm_head\($0).weight" }
      known.append("\(Self.prefix)lm_head.token_adapter.trainable_tokens_delta")
    }
    known += known.filter { $0.hasSuffix(".weight") }.flatMap { name in
      ["modules_to_save", "original_module"].map { "\(name.dropLast("weight".count))\($0).weight" }
    }
    known += known.map(Self.textOnly)
    let names = Set(known)
    if let other = tensors.first(where: { !names.contains($0.name) }) {
      throw Self.unmatched(other.name, in: fileName, url)
    }
  }

  static func unmatched(_ name: String, in fileName: String, _ url: URL) -> SwiftletError {
    SwiftletError.model(
      "\(fileName) has \(name.escapedLine(limit: 200)), which matches no layer of this base model", in: url.path)
  }
}
