import Checkpoints
import Foundation
import OrderedJSON
import Tensors

/// The low-rank updates on a decoder's layers, and the modules that are trained beside them.
public final class Adapter {
  /// What it looks like.
  public let configuration: LoRAConfiguration
  /// The layers that have an update, in order.
  public let layers: [Linear]
  private let saved: [Parameter]

  /// Puts fresh updates on the layers of `decoder` that `configuration` names: A Kaiming-uniform with a = √5, B zero, so
  /// that nothing changes yet (PEFT's `init_lora_weights=True`).
  /// - Throws: `ModelError` if no layer matches.
  public init(_ configuration: LoRAConfiguration, on decoder: Decoder, seed: UInt64) throws(ModelError) {
    self.configuration = configuration
    layers = decoder.linears.filter { configuration.targets($0.path) }
    guard !layers.isEmpty else {
      let names = Set(decoder.linears.map { $0.path.split(separator: ".").last.map(String.init) ?? $0.path })
      throw ModelError(
        "target_modules matches no layer of this model; its linear layers are \(names.sorted().joined(separator: ", "))")
    }
    var random = RandomSource(seed: seed)
    for layer in layers {
      let rank = configuration.rank(of: layer.path)
      let bound = 1 / Float(layer.inputs).squareRoot()
      let a = (0..<rank * layer.inputs).map { _ in (2 * random.uniform() - 1) * bound }
      let backend = decoder.backend
      Self.attach(
        to: layer, configuration, a: backend.tensor(a, [rank, layer.inputs]),
        b: backend.tensor([Float](repeating: 0, count: layer.outputs * rank), [layer.outputs, rank]))
    }
    saved = try Self.savedModules(configuration, decoder)
  }

  /// Reads a folder that PEFT or Swiftlet wrote and puts its updates on `decoder`.
  /// - Throws: `ModelError` or `CheckpointError` if files are missing or do not fit the model.
  public init(reading folder: URL, onto decoder: Decoder) throws {
    let configURL = folder.appendingPathComponent("adapter_config.json")
    configuration = try LoRAConfiguration(json: ModelFiles.json(at: configURL), path: configURL.path)
    let file = try SafetensorsCheckpoint(path: folder.appendingPathComponent("adapter_model.safetensors"))
    let configuration = configuration
    let backend = decoder.backend
    func tensor(_ name: String, _ shape: [Int]) throws(ModelError) -> Tensor {
      guard let tensor = file.tensor(named: name) else {
        throw ModelError("\(folder.path): adapter_model.safetensors has no \(name)")
      }
      guard tensor.shape == shape else {
        throw ModelError(
          "\(folder.path): \(name) has shape \(tensor.shape), this base model needs \(shape); is it another base?")
      }
      return backend.narrowed(backend.widened(tensor), to: .float32)
    }
    var attached: [Linear] = []
    for layer in decoder.linears where configuration.targets(layer.path) {
      let rank = configuration.rank(of: layer.path)
      Self.attach(
        to: layer, configuration, a: try tensor(Self.name(layer, "A"), [rank, layer.inputs]),
        b: try tensor(Self.name(layer, "B"), [layer.outputs, rank]))
      attached.append(layer)
    }
    layers = attached
    saved = try Self.savedModules(configuration, decoder)
    for parameter in saved {
      let value = try tensor(Self.savedName(parameter), parameter.value.shape)
      backend.copyRows(Columns(value), 0, to: Columns(parameter.value), 0, count: value.rows)
    }
    let known = Set(layers.flatMap { [Self.name($0, "A"), Self.name($0, "B")] } + saved.map(Self.savedName))
    if let stray = file.tensorNames.first(where: { !known.contains($0) }) {
      throw ModelError("\(folder.path): adapter_model.safetensors has \(stray), which fits no layer of this base model")
    }
  }

  private static func attach(to layer: Linear, _ configuration: LoRAConfiguration, a: Tensor, b: Tensor) {
    layer.lowRank = LowRank(
      a: Parameter(name: name(layer, "A"), value: a, isTrainable: true),
      b: Parameter(name: name(layer, "B"), value: b, isTrainable: true),
      scale: configuration.scale(of: layer.path), dropout: Float(configuration.loraDropout))
  }

  private static func savedModules(
    _ configuration: LoRAConfiguration, _ decoder: Decoder
  ) throws(ModelError) -> [Parameter] {
    var saved: [Parameter] = []
    for name in configuration.modulesToSave {
      let matching = decoder.parameters.filter { parameter in
        let module = parameter.name.split(separator: ".").dropLast().joined(separator: ".")
        return module == name || module.hasSuffix("." + name)
      }
      guard !matching.isEmpty else { throw ModelError("modules_to_save names \(name), which this model does not have") }
      for parameter in matching {
        guard parameter.value.type == .float32 else {
          throw ModelError("modules_to_save can train \(name) only over a float32 base; load it with dtype: float32")
        }
        parameter.isTrainable = true
        saved.append(parameter)
      }
    }
    return saved
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
    layers.flatMap { layer in layer.lowRank.map { [$0.a, $0.b] } ?? [] } + saved
  }

  /// Whether the updates apply; without them the model is its base again.
  public var isEnabled = true {
    didSet {
      guard isEnabled != oldValue else { return }
      for (layer, update) in zip(layers, setAside) where isEnabled { layer.lowRank = update }
      if isEnabled {
        setAside = []
      } else {
        setAside = layers.map(\.lowRank)
        for layer in layers { layer.lowRank = nil }
      }
    }
  }
  private var setAside: [LowRank?] = []

  /// Writes `adapter_config.json` and `adapter_model.safetensors` as PEFT does.
  /// - Throws: `CheckpointError` if the folder cannot be written.
  public func write(to folder: URL, base: String) throws {
    try? FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    let names = Set(layers.map { $0.path.split(separator: ".").last.map(String.init) ?? $0.path }).sorted()
    let tensors = layers.flatMap { layer in
      layer.lowRank.map {
        [
          TensorSource(name: Self.name(layer, "A"), tensor: $0.a.value),
          TensorSource(name: Self.name(layer, "B"), tensor: $0.b.value),
        ]
      } ?? []
    }
    let all = tensors + saved.map { TensorSource(name: Self.savedName($0), tensor: $0.value) }
    try SafetensorsWriter.write(
      all, metadata: ["format": "pt"], to: folder.appendingPathComponent("adapter_model.safetensors"))
    try AtomicFile.write(
      configuration.json(base: base, names: names).text(.pretty) + "\n",
      to: folder.appendingPathComponent("adapter_config.json"))
  }
}
