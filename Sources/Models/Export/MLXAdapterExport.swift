import Checkpoints
import Diagnostics
import Essentials
import OrderedJSON
import Tensors

/// Exports a LoRA adapter in the layout of mlx-lm: `adapters.safetensors` and its own `adapter_config.json`.
public enum MLXAdapterExport {
  static let fileName = "adapters.safetensors"
  /// The ends of the names in PEFT's files and in mlx-lm's.
  static let factors = ["lora_A": "lora_a", "lora_B": "lora_b", "lora_magnitude_vector": "m"]

  /// mlx-lm's path of the layer that transformers calls `path`. It has the language model of a larger one under
  /// language_model.
  static func layerPath(of path: String, _ base: TransformerConfiguration) -> String {
    (base.modulePrefix == "model." ? "" : "language_model.") + ModuleNames.textOnly(path)
  }

  /// Converts an adapter folder that PEFT or Swiftlet wrote.
  ///
  /// mlx-lm gives the named layers of all blocks an update of one rank and one scale. So smaller ranks are filled up with
  /// zeros, and B is multiplied by what its scale differs from the others'. A layer without an update in the file has one that
  /// mlx-lm starts at zero.
  ///
  /// - Parameter base: the configuration of the base model; its weights aren't needed.
  /// - Throws: `SwiftletError` if mlx-lm can't apply the adapter, or a file can't be read or written.
  public static func write(_ folder: URL, base: TransformerConfiguration, to output: URL) throws {
    let file = try AdapterFile(folder)
    let configuration = file.configuration
    guard configuration.modulesToSave.isEmpty else {
      throw SwiftletError.model(
        "mlx-lm's adapters can't contain whole modules (modules_to_save); use --model to export the merged model",
        in: folder.path)
    }
    let experts = try file.expertFactors(of: base)
    let parts = try file.tensors.filter { !experts.names.contains($0.name) }.map {
      try Part($0.name, $0.tensor, base, folder)
    }
    let ranks = parts.filter { $0.factor == "lora_A" }.map(\.tensor.rows) + experts.factors.map(\.rank)
    let rank = ranks.max() ?? configuration.rank
    let scale = configuration.scale(of: "")
    var tensors = parts.map { part in
      TensorSource(name: part.name, tensor: part.value(rank: rank, scale: configuration.scale(of: part.path) / scale))
    }
    var keys = Set(parts.map(\.key))
    for factors in experts.factors {
      let path = expertPath(of: factors.module, factors.part, base)
      tensors += sources(factors, path, rank: rank, scale: factors.scale / scale)
      keys.insert(ModuleNames.inLayer(path))
    }
    let values: JSONValue = [
      "fine_tune_type": configuration.usesDoRA ? "dora" : "lora",
      "lora_parameters": [
        "dropout": .number(configuration.dropout), "keys": .array(keys.sorted().map { .string($0) }),
        "rank": .integer(rank),
        "scale": .number(Double(scale)),
      ],
      "model": file.json["base_model_name_or_path"] ?? .null, "num_layers": .integer(base.layers.count),
    ]
    try? FileManager.default.createDirectory(at: output, withIntermediateDirectories: true)
    try SafetensorsWriter.write(
      tensors, metadata: ["format": "mlx"], to: output.appendingPathComponent(fileName))
    try AtomicFile.write(values.text(.pretty) + "\n", to: output.appendingPathComponent("adapter_config.json"))
  }

  /// mlx-lm's path of the matrices of all experts of a module.
  static func expertPath(of module: String, _ part: String, _ base: TransformerConfiguration) -> String {
    let storage = base.expertStorage ?? .apart
    return layerPath(of: "\(module.dropLast("experts".count))\(storage.mlxModule).\(part)", base)
  }

  /// A and B of all experts, which aren't transposed, with a larger rank, and B multiplied by a factor.
  private static func sources(
    _ factors: ExpertFactors, _ path: String, rank: Int, scale: Float
  ) -> [TensorSource] {
    let (experts, inputs, outputs) = (factors.a.shape[0], factors.a.shape[2], factors.b.shape[1])
    let a = widened(factors.a.reshaped([experts, factors.rank * inputs]), columns: rank * inputs)
    let b = widened(
      CPUBackend.shared.scaled(factors.b, scale).reshaped([experts * outputs, factors.rank]), columns: rank)
    return [
      TensorSource(name: "\(path).lora_a", tensor: a.reshaped([experts, rank, inputs])),
      TensorSource(name: "\(path).lora_b", tensor: b.reshaped([experts, outputs, rank])),
    ]
  }

  /// A matrix with columns of zeros after its own.
  private static func widened(_ matrix: Tensor, columns: Int) -> Tensor {
    let backend = CPUBackend.shared
    let result = backend.empty([matrix.rows, columns], .float32)
    backend.clear(result)
    backend.copyRows(Columns(matrix), 0, to: Columns(result, 0..<matrix.columns), 0, count: matrix.rows)
    return result
  }

  /// A, B or the magnitudes of one layer.
  private struct Part {
    /// transformers' path of the layer.
    let path: String
    /// The layer's path in its block.
    let key: String
    /// The end of its name in PEFT's file, without `.weight`.
    let factor: String
    let tensor: Tensor
    /// The tensor's name in mlx-lm's file.
    let name: String

    init(_ stored: String, _ tensor: Tensor, _ base: TransformerConfiguration, _ folder: URL) throws(SwiftletError) {
      let prefix = AdapterFile.prefix
      var components = stored.split(separator: ".").map(String.init)
      if components.last == "weight" { components.removeLast() }
      let factor = components.popLast() ?? ""
      path = components.joined(separator: ".").dropping(prefix: prefix)
      let inModel = ModuleNames.textOnly(path).split(separator: ".", maxSplits: 3).map(String.init)
      guard stored.hasPrefix(prefix), let renamed = MLXAdapterExport.factors[factor], inModel.count == 4,
        inModel[0] == "model",
        inModel[1] == "layers", tensor.shape.count == (renamed == "m" ? 1 : 2)
      else {
        throw SwiftletError.model(
          "adapter_model.safetensors has \(stored.escapedLine(limit: 200)), which is not a LoRA update of a layer; use "
            + "--model to export the merged model", in: folder.path)
      }
      guard base.family.separateModules[inModel[3]] == nil || !base.moduleNames.values.contains(inModel[3]) else {
        throw SwiftletError.model(
          "mlx-lm has other layers than \(inModel[3]) in this model; use --model to export the merged model",
          in: folder.path)
      }
      self.factor = factor
      self.tensor = tensor
      key = inModel[3]
      name = "\(MLXAdapterExport.layerPath(of: path, base)).\(renamed)"
    }

    /// The transpose with a larger rank, times a factor for B.
    func value(rank: Int, scale: Float) -> Tensor {
      let backend = CPUBackend.shared
      let values = backend.converted(tensor, to: .float32)
      guard factor != "lora_magnitude_vector" else { return values }
      let transposed = values.transposed()
      if factor == "lora_A" { return MLXAdapterExport.widened(transposed, columns: rank) }
      // More rows are elements after those of all rows.
      let (count, columns) = (transposed.count, transposed.columns)
      let scaled = backend.scaled(transposed, scale).reshaped([1, count])
      return MLXAdapterExport.widened(scaled, columns: rank * columns).reshaped([rank, columns])
    }
  }
}

extension String {
  fileprivate func dropping(prefix: String) -> String { hasPrefix(prefix) ? String(dropFirst(prefix.count)) : self }
}
