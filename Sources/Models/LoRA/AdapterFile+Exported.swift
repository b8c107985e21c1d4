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
      let names = base.separateNames(of: layer.path + ".weight").compactMap(architecture.tensorName)
      known.formUnion(names.flatMap { ["\($0).lora_a", "\($0).lora_b"] })
      let parts = names.compactMap { name in
        file.tensor(named: name + ".lora_a").flatMap { a in file.tensor(named: name + ".lora_b").map { (a: a, b: $0) } }
      }
      guard var a = parts.first?.a else { return nil }
      let bytes = a.withBytes { Array($0) }
      guard parts.count == names.count, parts.allSatisfy({ $0.a.withBytes { Array($0) } == bytes }) else {
        throw SwiftletError.model(
          "\(names.joined(separator: " and ")) must have the same lora_a, because this base model has one layer for them; "
            + "use the merged model", in: url.path)
      }
      var b = Self.joined(parts.map(\.b))
      try Self.check(a, b, layer, url)
      if let order = architecture.rowOrder(of: layer.path + ".weight", rows: b.rows, base, .fromGGUF) {
        b = CPUBackend.shared.permutedRows(b, order)
      }
      if let order = architecture.columnOrder(of: layer.path + ".weight", columns: a.columns, base, .fromGGUF) {
        a = CPUBackend.shared.reorderedColumns(a, order)
      }
      return Factors(path: layer.path, a: a, b: b)
    }
    let experts = try Self.experts(of: base, url, &known, file.tensor(named:)) { module, part in
      architecture.expertTensorName(of: "\(module).0.\(part).weight")?.name
    }
    if let other = file.tensorNames.first(where: { !known.contains($0) }) {
      throw Self.unmatched(other, in: url.lastPathComponent, url)
    }
    let configuration = try Self.configuration(layers, experts, url) { _ in alpha }
    self.init(
      url, fileName: url.lastPathComponent, json: [:], configuration,
      (layers + experts.map(\.factors)).flatMap(\.tensors))
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
    let experts = try Self.experts(of: transformer.configuration, folder, &known, file.tensor(named:)) { module, part in
      MLXAdapterExport.expertPath(of: module, part, transformer.configuration)
    }
    if let other = file.tensorNames.first(where: { !known.contains($0) }) {
      throw Self.unmatched(other, in: MLXAdapterExport.fileName, folder)
    }
    var configuration = try Self.configuration(layers, experts, folder) { scale * Double($0) }
    configuration.usesDoRA = type == "dora"
    self.init(
      folder, fileName: MLXAdapterExport.fileName, json: json, configuration,
      (layers + experts.map(\.factors)).flatMap(\.tensors))
  }

  /// Matrices with as many columns, one after the other.
  private static func joined(_ matrices: [Tensor]) -> Tensor {
    let backend = CPUBackend.shared
    guard matrices.count > 1, matrices.allSatisfy({ $0.shape.count == 2 && $0.columns == matrices[0].columns }) else {
      return matrices[0]
    }
    return backend.tensor(
      matrices.flatMap(backend.floats), [matrices.reduce(0) { $0 + $1.rows }, matrices[0].columns])
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

  /// A and B of a parameter of experts.
  private struct SavedExperts {
    let matrices: ExpertMatrices
    let rank: Int
    var factors: Factors
  }

  /// The updates of experts as PEFT has them.
  /// - Parameters:
  ///   - known: receives the names of the tensors that the file may have of them.
  ///   - name: the file's name for one kind of matrices of a module.
  private static func experts(
    of base: TransformerConfiguration, _ url: URL, _ known: inout Set<String>, _ tensor: (String) -> Tensor?,
    name: (_ module: String, _ part: String) -> String?
  ) throws(SwiftletError) -> [SavedExperts] {
    var updates: [SavedExperts] = []
    for matrices in ExpertMatrices.all(of: base) {
      var found: [(a: Tensor, b: Tensor)] = []
      for name in matrices.parts.compactMap({ name(matrices.module, $0.name) }) {
        known.formUnion(["\(name).lora_a", "\(name).lora_b"])
        if let a = tensor(name + ".lora_a"), let b = tensor(name + ".lora_b") { found.append((a, b)) }
      }
      guard let first = found.first else { continue }
      let rank = first.b.columns
      let areWhole = zip(found, matrices.parts).allSatisfy { factors, part in
        factors.a.shape == [matrices.experts, rank, matrices.inputSize]
          && factors.b.shape == [matrices.experts, part.rows.count, rank]
      }
      guard found.count == matrices.parts.count, areWhole, rank > 0 else {
        throw SwiftletError.model(
          "the update of \(matrices.path) is not whole, or doesn't fit this base model; use the adapter's own base model",
          in: url.path)
      }
      let values = CPUBackend.shared.floats(first.a)
      guard found.allSatisfy({ CPUBackend.shared.floats($0.a) == values }) else {
        throw SwiftletError.model(
          "the updates of gate_proj and up_proj in \(matrices.module) have an A of their own, which PEFT's adapters can't "
            + "hold; train gate_up_proj instead", in: url.path)
      }
      updates.append(
        SavedExperts(
          matrices: matrices, rank: rank,
          factors: Factors(
            path: "", a: CPUBackend.shared.tensor(values, [matrices.experts * rank, matrices.inputSize]),
            b: matrices.joinedB(found.map(\.b), rank: rank))))
    }
    for (index, path) in savedPaths(of: updates.map(\.matrices.module)).enumerated() {
      updates[index].factors.path = path
    }
    return updates
  }

  /// - Parameter alpha: given the rank of most layers.
  private static func configuration(
    _ layers: [Factors], _ experts: [SavedExperts], _ url: URL, alpha: (_ rank: Int) -> Double
  ) throws(SwiftletError) -> LoRAConfiguration {
    let counts = Dictionary((layers.map(\.a.rows) + experts.map(\.rank)).map { ($0, 1) }, uniquingKeysWith: +)
    guard let rank = counts.max(by: { ($0.value, $0.key) < ($1.value, $1.key) })?.key else {
      throw SwiftletError.model("the adapter has no update for a layer of this base model", in: url.path)
    }
    var configuration = LoRAConfiguration()
    configuration.rank = rank
    configuration.alpha = alpha(rank)
    configuration.dropout = 0
    configuration.targetModules = .names(layers.map(\.path))
    configuration.targetParameters = experts.map(\.matrices.path)
    let ranks = layers.map { ($0.path, $0.a.rows) } + experts.map { ($0.matrices.path, $0.rank) }
    configuration.rankPattern = ranks.filter { $0.1 != rank }.map { .init($0.0, $0.1) }
    return configuration
  }

  private static func transposed(_ tensor: Tensor, _ layer: Linear, _ url: URL) throws(SwiftletError) -> Tensor {
    guard tensor.shape.count == 2 else {
      throw SwiftletError.model("the update of \(layer.path) is no matrix (its shape is \(tensor.shape))", in: url.path)
    }
    return CPUBackend.shared.converted(tensor, to: .float32).transposed()
  }
}
