import Checkpoints
import Diagnostics
import Essentials
import OrderedJSON
import Tensors

/// Adapters for llama.cpp and mlx-lm, as PEFT would have saved them.
extension AdapterFile {
  /// The factors of one layer in PEFT's shapes: A is `[rank, input]`, B `[output, rank]`.
  private struct Factors {
    var path: String
    var a: Tensor
    var b: Tensor
    /// DoRA's magnitudes.
    var magnitudes: Tensor?

    var tensors: [(name: String, tensor: Tensor)] {
      let name = AdapterFile.prefix + path
      return [("\(name).lora_A.weight", a), ("\(name).lora_B.weight", b)]
        + (magnitudes.map { [("\(name).lora_magnitude_vector", $0)] } ?? [])
    }
  }

  /// Reads what `LoRAExport` or llama.cpp's converter wrote.
  init(gguf url: URL, for transformer: Transformer) throws {
    let file = try GGUFFile(contentsOf: url)
    guard file.metadata["adapter.type"]?.string == "lora", let alpha = file.metadata["adapter.lora.alpha"]?.double
    else {
      throw SwiftletError.model("the header describes no LoRA adapter; convert it again", in: url.path)
    }
    let base = transformer.configuration
    let name = file.metadata["general.architecture"]?.string ?? ""
    guard let architecture = base.family.gguf, name == architecture.name else {
      throw SwiftletError.model(
        "the adapter is for the architecture \(name.quotedExcerpt); use its own base model", in: url.path)
    }
    var known = Set<String>()
    let layers = try transformer.linearLayers.compactMap { layer -> Factors? in
      guard let name = architecture.tensorName(of: layer.path + ".weight") else { return nil }
      known.formUnion(["\(name).lora_a", "\(name).lora_b"])
      guard let a = file.tensor(named: name + ".lora_a"), var b = file.tensor(named: name + ".lora_b") else {
        return nil
      }
      try Self.check(a, b, layer, url)
      if let order = architecture.rowOrder(of: layer.path + ".weight", rows: b.rows, base, .fromGGUF) {
        b = CPUBackend.shared.permutedRows(b, order)
      }
      return Factors(path: layer.path, a: a, b: b)
    }
    if let other = file.tensorNames.first(where: { !known.contains($0) }) {
      throw Self.unmatched(other, in: url.lastPathComponent, url)
    }
    let configuration = try Self.configuration(layers, url) { _ in alpha }
    self.init(url, fileName: url.lastPathComponent, json: [:], configuration, layers.flatMap(\.tensors))
  }

  /// Reads what `MLXAdapterExport` or mlx-lm wrote.
  init(mlx folder: URL, for transformer: Transformer) throws {
    let path = folder.appendingPathComponent("adapter_config.json")
    let json = try ModelFiles.json(at: path)
    let settings = json["lora_parameters"]
    guard let type = json["fine_tune_type"]?.string, ["lora", "dora"].contains(type),
      let scale = settings?["scale"]?.double
    else {
      throw SwiftletError.model("fine_tune_type must be lora or dora, with a scale in lora_parameters", in: path.path)
    }
    let file = try SafetensorsCheckpoint(contentsOf: folder.appendingPathComponent(MLXAdapterExport.fileName))
    var known = Set<String>()
    let layers = try transformer.linearLayers.compactMap { layer -> Factors? in
      let name = MLXAdapterExport.layerPath(of: layer.path, transformer.configuration)
      known.formUnion(MLXAdapterExport.factors.values.map { "\(name).\($0)" })
      guard let a = file.tensor(named: name + ".lora_a"), let b = file.tensor(named: name + ".lora_b") else {
        return nil
      }
      let (first, second) = (try Self.transposed(a, layer, folder), try Self.transposed(b, layer, folder))
      try Self.check(first, second, layer, folder)
      return Factors(path: layer.path, a: first, b: second, magnitudes: file.tensor(named: name + ".m"))
    }
    if let other = file.tensorNames.first(where: { !known.contains($0) }) {
      throw Self.unmatched(other, in: MLXAdapterExport.fileName, folder)
    }
    var configuration = try Self.configuration(layers, folder) { scale * Double($0) }
    configuration.usesDoRA = type == "dora"
    self.init(
      folder, fileName: MLXAdapterExport.fileName, json: json, configuration, layers.flatMap(\.tensors))
  }

  private static func check(_ a: Tensor, _ b: Tensor, _ layer: Linear, _ url: URL) throws(SwiftletError) {
    guard a.shape.count == 2, b.shape.count == 2, a.rows > 0, a.shape == [b.columns, layer.inputSize],
      b.rows == layer.outputSize
    else {
      throw SwiftletError.model(
        "the update of \(layer.path) has the shapes \(a.shape) and \(b.shape), but this base model needs "
          + "[rank, \(layer.inputSize)] and [\(layer.outputSize), rank]; use the adapter's own base model", in: url.path
      )
    }
  }

  /// - Parameter alpha: given the rank of most layers.
  private static func configuration(
    _ layers: [Factors], _ url: URL, alpha: (_ rank: Int) -> Double
  ) throws(SwiftletError) -> LoRAConfiguration {
    let counts = Dictionary(layers.map { ($0.a.rows, 1) }, uniquingKeysWith: +)
    guard let rank = counts.max(by: { ($0.value, $0.key) < ($1.value, $1.key) })?.key else {
      throw SwiftletError.model("the adapter has no update for a layer of this base model", in: url.path)
    }
    var configuration = LoRAConfiguration()
    configuration.rank = rank
    configuration.alpha = alpha(rank)
    configuration.dropout = 0
    configuration.targetModules = .names(layers.map(\.path))
    configuration.rankPattern = layers.filter { $0.a.rows != rank }.map { .init($0.path, $0.a.rows) }
    return configuration
  }

  private static func transposed(_ tensor: Tensor, _ layer: Linear, _ url: URL) throws(SwiftletError) -> Tensor {
    guard tensor.shape.count == 2 else {
      throw SwiftletError.model("the update of \(layer.path) is no matrix (its shape is \(tensor.shape))", in: url.path)
    }
    return CPUBackend.shared.converted(tensor, to: .float32).transposed()
  }
}
