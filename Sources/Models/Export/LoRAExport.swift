import Checkpoints
import Diagnostics
import Essentials
import OrderedJSON
import Tensors

/// Exports a LoRA adapter as a GGUF file, for llama.cpp's `--lora` and Ollama's `ADAPTER`.
public enum LoRAExport {
  /// Converts an adapter folder that PEFT or Swiftlet wrote.
  ///
  /// llama.cpp scales every update by the same alpha over its rank. If PEFT's scale differs (rsLoRA, alpha patterns), B
  /// is multiplied by the ratio.
  ///
  /// - Parameters:
  ///   - base: the configuration of the base model; its weights aren't needed.
  ///   - type: the type to store A and B in.
  ///   - name: `general.name`.
  /// - Throws: `SwiftletError` if llama.cpp can't apply the adapter, or a file can't be read or written.
  public static func write(
    _ folder: URL, base: TransformerConfiguration, to url: URL, type: GGUFType = .f32, name: String
  ) throws {
    let file = try AdapterFile(folder)
    let configuration = file.configuration
    guard configuration.modulesToSave.isEmpty else {
      throw SwiftletError.model(
        "llama.cpp's adapters can't contain whole modules (modules_to_save); use --model to export the merged model",
        in: folder.path)
    }
    guard !configuration.usesDoRA else {
      throw SwiftletError.model(
        "llama.cpp's adapters can't hold DoRA's magnitudes; use --model to export the merged model", in: folder.path)
    }
    guard !configuration.hasBias else {
      throw SwiftletError.model(
        "llama.cpp's adapters can't hold biases (lora_bias); use --model to export the merged model", in: folder.path)
    }
    guard configuration.trainableTokens == nil else {
      throw SwiftletError.model(
        "llama.cpp's adapters can't hold rows of embeddings (trainable_token_indices); use --model to export the "
          + "merged model", in: folder.path)
    }
    guard let architecture = base.family.gguf else {
      throw SwiftletError.model(
        "adapters of model_type \"\(base.modelType)\" can't be exported as GGUF", in: folder.path)
    }
    let experts = try file.expertFactors(of: base)
    var tensors = try file.tensors.filter { !experts.names.contains($0.name) }.flatMap {
      try sources($0.name, $0.tensor, configuration, base, architecture, type, folder)
    }
    for factors in experts.factors {
      tensors += try sources(factors, alpha: Float(configuration.alpha), architecture, type, folder)
    }
    try GGUFWriter.write(metadata: header(architecture, configuration, name), tensors: tensors, to: url)
  }

  /// A or B of one layer under llama.cpp's name, with A's columns and B's rows reordered and B rescaled as needed. What
  /// it has in several layers has the same A in each, and B's rows are shared out.
  private static func sources(
    _ name: String, _ tensor: Tensor, _ configuration: LoRAConfiguration, _ base: TransformerConfiguration,
    _ architecture: GGUFArchitecture, _ type: GGUFType, _ folder: URL
  ) throws(SwiftletError) -> [TensorSource] {
    let (path, factor) = try parts(of: name, folder)
    let names = base.separateNames(of: path + ".weight").compactMap(architecture.tensorName)
    guard !names.isEmpty, tensor.shape.count == 2 else {
      throw SwiftletError.model(
        "\(name.escapedLine(limit: 200)) matches no layer of \(base.modelType); use the adapter's own base model",
        in: folder.path)
    }
    if let layer = path.split(separator: ".").last, architecture.layersWithoutLoRA.contains(String(layer)) {
      throw SwiftletError.model(
        "llama.cpp applies no adapter to \(layer); use --model to export the merged model", in: folder.path)
    }
    let backend = CPUBackend.shared
    let mixture = GGUFMixture(type, names: [])
    let rows = tensor.rows / names.count
    let order = architecture.rowOrder(of: path + ".weight", rows: tensor.rows, base, .toGGUF)
    let columnOrder = architecture.columnOrder(of: path + ".weight", columns: tensor.columns, base, .toGGUF)
    let ratio = configuration.scale(of: path) * Float(tensor.columns) / Float(configuration.alpha)
    return names.enumerated().map { index, name in
      if factor == "A" {
        let stored = mixture.type(of: name, shape: tensor.shape)
        return TensorSource(name + ".lora_a", stored, shape: tensor.shape, on: backend) {
          columnOrder.map { backend.reorderedColumns(tensor, $0) } ?? tensor
        }
      }
      let shape = [rows, tensor.columns]
      return TensorSource(name + ".lora_b", mixture.type(of: name, shape: shape), shape: shape, on: backend) {
        var b = abs(ratio - 1) > 1e-6 ? backend.scaled(backend.converted(tensor, to: .float32), ratio) : tensor
        if let order { b = backend.permutedRows(b, order) }
        return b.rowShare(index, of: names.count)
      }
    }
  }

  /// A and B of all experts.
  private static func sources(
    _ factors: ExpertFactors, alpha: Float, _ architecture: GGUFArchitecture, _ type: GGUFType, _ folder: URL
  ) throws(SwiftletError) -> [TensorSource] {
    guard let name = architecture.expertTensorName(of: "\(factors.module).0.\(factors.part).weight")?.name else {
      throw SwiftletError.model(
        "llama.cpp's \(architecture.name) has no tensor for \(factors.module); use --model to export the merged model",
        in: folder.path)
    }
    let backend = CPUBackend.shared
    let mixture = GGUFMixture(type, names: [])
    let ratio = factors.scale * Float(factors.rank) / alpha
    let b = abs(ratio - 1) > 1e-6 ? backend.scaled(factors.b, ratio) : factors.b
    return [("lora_a", factors.a), ("lora_b", b)].map { kind, tensor in
      TensorSource("\(name).\(kind)", mixture.type(of: name, shape: tensor.shape), shape: tensor.shape, on: backend) {
        tensor
      }
    }
  }

  /// The base model that the adapter in `folder` was trained on: the path in its `training_args.json`, relative to
  /// `folder`, if there is such a file, or else the name in `adapter_config.json`, which may be such a path too.
  /// - Throws: `SwiftletError` if neither names a base model.
  public static func base(of folder: URL) throws(SwiftletError) -> String {
    func located(_ name: String) -> String? {
      let path = name.hasPrefix("/") ? name : folder.appendingPathComponent(name).path
      return FileManager.default.fileExists(atPath: path) ? path : nil
    }
    let arguments = folder.appendingPathComponent("training_args.json")
    if FileManager.default.fileExists(atPath: arguments.path),
      let path = try? ModelFiles.json(at: arguments)["model_name_or_path"]?.string.flatMap(located)
    {
      return path
    }
    let config = folder.appendingPathComponent("adapter_config.json")
    let json = try ModelFiles.json(at: config)
    // mlx-lm's name for it is "model".
    guard let base = (json["base_model_name_or_path"] ?? json["model"])?.string, !base.isEmpty,
      base != BaseModelReference.placeholder
    else {
      throw SwiftletError.model("base_model_name_or_path is missing; name the base model with --base", in: config.path)
    }
    return located(base) ?? base
  }

  /// Splits "base_model.model.PATH.lora_A.weight".
  private static func parts(of name: String, _ folder: URL) throws(SwiftletError) -> (path: String, factor: String) {
    let prefix = "base_model.model."
    for factor in ["A", "B"] where name.hasPrefix(prefix) && name.hasSuffix(".lora_\(factor).weight") {
      return (String(name.dropFirst(prefix.count).dropLast(".lora_A.weight".count)), factor)
    }
    throw SwiftletError.model(
      "adapter_model.safetensors has \(name.escapedLine(limit: 200)), which is not a LoRA update (embeddings and other "
        + "whole modules can't be exported); use --model to export the merged model", in: folder.path)
  }

  private static func header(
    _ architecture: GGUFArchitecture, _ configuration: LoRAConfiguration, _ name: String
  ) -> GGUFMetadata {
    var metadata = GGUFMetadata()
    metadata["general.architecture"] = .string(architecture.name)
    metadata["general.type"] = .string("adapter")
    metadata["adapter.type"] = .string("lora")
    metadata["general.name"] = .string(name)
    metadata["adapter.lora.alpha"] = .float32(Float(configuration.alpha))
    metadata["general.quantization_version"] = .uint32(2)
    return metadata
  }
}
