import Diagnostics
import Checkpoints
import Foundation
import OrderedJSON
import Tensors

/// The low-rank updates on a transformer's layers, and the modules that are trained beside them.
public final class Adapter {
  /// What it looks like.
  public let configuration: LoRAConfiguration
  /// The layers that have an update, in order.
  public let layers: [Linear]
  private let updates: [LoRAUpdate]
  private let savedModules: [SavedModule]

  /// Puts fresh updates on the layers of `transformer` that `configuration` names: A random, B zero, so that nothing changes
  /// yet.
  /// - Throws: `SwiftletError` if no layer matches, or one does that can't have an update.
  public init(_ configuration: LoRAConfiguration, on transformer: Transformer, seed: UInt64) throws(SwiftletError) {
    self.configuration = configuration
    layers = try Self.targets(of: configuration, in: transformer)
    savedModules = try Self.savedModules(configuration, transformer)
    let backend = transformer.backend
    var random = RandomSource(seed: seed)
    updates = layers.map { layer in
      let rank = configuration.rank(of: layer.path)
      let bound = 1 / Float(layer.inputSize).squareRoot()
      let a = (0..<rank * layer.inputSize).map { _ in
        switch configuration.initialization {
        case .kaiming: (2 * random.uniform() - 1) * bound
        case .gaussian: random.normal() / Float(rank)
        }
      }
      return Self.update(
        of: layer, configuration, a: backend.tensor(a, [rank, layer.inputSize]),
        b: backend.tensor([Float](repeating: 0, count: layer.outputSize * rank), [layer.outputSize, rank]))
    }
    attach()
  }

  /// Reads a folder that PEFT or Swiftlet wrote and puts its updates on `transformer`, which stays as it is if they do not
  /// fit.
  /// - Throws: `SwiftletError` or `SwiftletError` if files are missing or do not fit the model.
  public init(reading folder: URL, onto transformer: Transformer) throws {
    let configURL = folder.appendingPathComponent("adapter_config.json")
    guard FileManager.default.fileExists(atPath: configURL.path) else {
      throw SwiftletError.model(
        "\(folder.path): there is no adapter_config.json; name a folder that PEFT or swiftlet wrote")
    }
    let configuration = try LoRAConfiguration(json: ModelFiles.json(at: configURL), path: configURL.path)
    let file = try SafetensorsCheckpoint(contentsOf: folder.appendingPathComponent("adapter_model.safetensors"))
    func tensor(_ name: String, _ shape: [Int]) throws(SwiftletError) -> Tensor {
      guard let tensor = file.tensor(named: name) else {
        throw SwiftletError.model("\(folder.path): adapter_model.safetensors has no \(name); is it another base model?")
      }
      guard tensor.shape == shape else {
        throw SwiftletError.model(
          "\(folder.path): \(name) has shape \(tensor.shape), this base model needs \(shape); is it another base?")
      }
      return transformer.backend.converted(tensor, to: .float32)
    }
    self.configuration = configuration
    do {
      layers = try Self.targets(of: configuration, in: transformer)
      savedModules = try Self.savedModules(configuration, transformer)
    } catch {
      throw SwiftletError.model("\(folder.path): \(error)")
    }
    var updates: [LoRAUpdate] = []
    for layer in layers {
      let rank = configuration.rank(of: layer.path)
      updates.append(
        Self.update(
          of: layer, configuration, a: try tensor(Self.name(layer, "A"), [rank, layer.inputSize]),
          b: try tensor(Self.name(layer, "B"), [layer.outputSize, rank])))
    }
    self.updates = updates
    for module in savedModules {
      let value = try tensor(Self.savedName(module.parameter), module.base.shape)
      transformer.backend.copyRows(Columns(value), 0, to: Columns(module.trained), 0, count: value.rows)
    }
    let known = Set(updates.flatMap { [$0.a.name, $0.b.name] } + savedModules.map { Self.savedName($0.parameter) })
    if let stray = file.tensorNames.first(where: { !known.contains($0) }) {
      throw SwiftletError.model(
        "\(folder.path): adapter_model.safetensors has \(stray), which fits no layer of this base model")
    }
    attach()
  }

  /// The layers that get an update.
  private static func targets(of configuration: LoRAConfiguration, in transformer: Transformer) throws(SwiftletError)
    -> [Linear]
  {
    if configuration.targetModules != .allLinear {
      for path in ["model.embed_tokens", "lm_head"] where configuration.targets(path) {
        throw SwiftletError.model(
          "target_modules names \(path), but low-rank updates sit on the linear layers inside the transformer only; train it "
            + "whole with modules_to_save")
      }
    }
    let layers = transformer.linearLayers.filter { configuration.targets($0.path) }
    guard !layers.isEmpty else {
      throw SwiftletError.model(
        "target_modules matches no layer of this model; its linear layers are \(transformer.linearLayerNames)")
    }
    return layers
  }

  private static func update(of layer: Linear, _ configuration: LoRAConfiguration, a: Tensor, b: Tensor) -> LoRAUpdate {
    LoRAUpdate(
      a: Parameter(name: name(layer, "A"), value: a, isTrainable: true),
      b: Parameter(name: name(layer, "B"), value: b, isTrainable: true),
      scale: configuration.scale(of: layer.path), dropout: Float(configuration.dropout))
  }

  private func attach() {
    for (layer, update) in zip(layers, updates) { layer.lora = update }
    for module in savedModules {
      module.parameter.value = module.trained
      module.parameter.isTrainable = true
    }
  }

  /// Makes the modules that are trained whole trainable, as float32 copies: files are mapped to be read only, and the
  /// base keeps its own weights.
  private static func savedModules(
    _ configuration: LoRAConfiguration, _ transformer: Transformer
  ) throws(SwiftletError) -> [SavedModule] {
    var saved: [SavedModule] = []
    for name in configuration.modulesToSave {
      let matching = transformer.parameters.filter { parameter in
        let module = parameter.name.split(separator: ".").dropLast().joined(separator: ".")
        return module == name || module.hasSuffix("." + name)
      }
      guard !matching.isEmpty else {
        throw SwiftletError.model("modules_to_save names \(name), which this model does not have")
      }
      for parameter in matching where !saved.contains(where: { $0.parameter === parameter }) {
        if parameter === transformer.embedding, transformer.head === transformer.embedding {
          throw SwiftletError.model(
            "modules_to_save names \(name), which this model shares between embedding and head; leave it out")
        }
        saved.append(
          SavedModule(
            parameter: parameter, base: parameter.value,
            trained: transformer.backend.converted(parameter.value, to: .float32)))
      }
    }
    return saved
  }

  /// A module that is trained whole.
  private struct SavedModule {
    let parameter: Parameter
    /// What the base has.
    let base: Tensor
    /// What is trained in its place.
    let trained: Tensor
  }

  private static func name(_ layer: Linear, _ factor: String) -> String {
    "base_model.model.\(layer.path).lora_\(factor).weight"
  }

  private static func savedName(_ parameter: Parameter) -> String { "base_model.model.\(parameter.name)" }

  /// The name that `adapter_model.safetensors` has for one of `parameters`.
  public static func fileName(of parameter: Parameter) -> String {
    parameter.name.hasPrefix("base_model.") ? parameter.name : savedName(parameter)
  }

  /// What is trained, in the order of the layers.
  public var parameters: [Parameter] {
    updates.flatMap { [$0.a, $0.b] } + savedModules.map(\.parameter)
  }

  /// Whether the updates apply; without them the model is its base again.
  public var isEnabled = true {
    didSet {
      for (layer, update) in zip(layers, updates) { layer.lora = isEnabled ? update : nil }
      for module in savedModules { module.parameter.value = isEnabled ? module.trained : module.base }
    }
  }

  /// Writes `adapter_config.json` and `adapter_model.safetensors` as PEFT does.
  /// - Throws: `SwiftletError` if the folder cannot be written.
  public func write(to folder: URL, base: String) throws {
    try? FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    let names = Set(layers.map(\.name)).sorted()
    let tensors = updates.flatMap { [$0.a, $0.b] }.map { TensorSource(name: $0.name, tensor: $0.value) }
    let all = tensors + savedModules.map { TensorSource(name: Self.savedName($0.parameter), tensor: $0.trained) }
    try SafetensorsWriter.write(
      all, metadata: ["format": "pt"], to: folder.appendingPathComponent("adapter_model.safetensors"))
    try AtomicFile.write(
      configuration.json(base: base, names: names).text(.pretty) + "\n",
      to: folder.appendingPathComponent("adapter_config.json"))
  }
}
