import Diagnostics
import Checkpoints
import Foundation
import OrderedJSON
import Tensors

/// A LoRA adapter as a GGUF file, for llama.cpp's `--lora` and Ollama's `ADAPTER`.
public enum LoRAExport {
  /// Converts a folder that PEFT or Swiftlet wrote.
  ///
  /// llama.cpp scales every update by one alpha over its rank. Where PEFT's scale is another (rsLoRA, alpha patterns),
  /// B takes up the difference.
  ///
  /// - Parameters:
  ///   - base: the shape of the base model; its weights are not needed.
  ///   - type: what A and B are stored as.
  /// - Throws: `SwiftletError` for an adapter that llama.cpp cannot apply, `SwiftletError` if a file cannot be read or
  ///   written.
  public static func write(
    _ folder: URL, base: TransformerConfiguration, to url: URL, type: GGUFType = .f32, name: String
  ) throws {
    let configURL = folder.appendingPathComponent("adapter_config.json")
    guard FileManager.default.fileExists(atPath: configURL.path) else {
      throw SwiftletError.model(
        "\(folder.path): there is no adapter_config.json; name a folder that PEFT or swiftlet wrote")
    }
    let json = try ModelFiles.json(at: configURL)
    let configuration = try LoRAConfiguration(json: json, path: configURL.path)
    guard configuration.modulesToSave.isEmpty else {
      throw SwiftletError.model(
        "\(folder.path): llama.cpp's adapters hold low-rank updates only, and this one has whole modules "
          + "(modules_to_save); give --model to export the merged model")
    }
    if json["use_dora"]?.bool == true {
      throw SwiftletError.model(
        "\(folder.path): llama.cpp's adapters have no DoRA magnitudes; give --model to export the merged model")
    }
    guard let naming = GGUFNaming(modelType: base.modelType) else {
      throw SwiftletError.model("\(folder.path): llama.cpp has no architecture for model_type \"\(base.modelType)\"")
    }
    let file = try SafetensorsCheckpoint(contentsOf: folder.appendingPathComponent("adapter_model.safetensors"))
    let backend = CPUBackend.shared
    var tensors: [TensorSource] = []
    for name in file.tensorNames {
      guard let tensor = file.tensor(named: name) else { continue }
      let (path, factor) = try parts(of: name, folder)
      guard let ggufName = naming.ggufName(of: path + ".weight"), tensor.shape.count == 2 else {
        throw SwiftletError.model(
          "\(folder.path): \(name) fits no layer of \(base.modelType); is the base another model?")
      }
      let stored = type.type(of: ggufName, shape: tensor.shape, isHead: false)
      if factor == "A" {
        tensors.append(TensorSource(ggufName + ".lora_a", stored, shape: tensor.shape, on: backend) { tensor })
        continue
      }
      let order = naming.rowOrder(of: path + ".weight", rows: tensor.rows, base, .toGGUF)
      let missing = configuration.scale(of: path) * Float(tensor.columns) / Float(configuration.alpha)
      tensors.append(
        TensorSource(ggufName + ".lora_b", stored, shape: tensor.shape, on: backend) {
          var b = abs(missing - 1) > 1e-6 ? backend.scaled(backend.converted(tensor, to: .float32), missing) : tensor
          if let order { b = backend.permutedRows(b, order) }
          return b
        })
    }
    try GGUFWriter.write(metadata: header(naming, configuration, name), tensors: tensors, to: url)
  }

  /// The base model that the adapter in `folder` names.
  /// - Throws: `SwiftletError` where it names none.
  public static func base(of folder: URL) throws(SwiftletError) -> String {
    let json = try ModelFiles.json(at: folder.appendingPathComponent("adapter_config.json"))
    guard let base = json["base_model_name_or_path"]?.string, !base.isEmpty else {
      throw SwiftletError.model(
        "\(folder.path): adapter_config.json names no base_model_name_or_path; give the base by --base")
    }
    return base
  }

  /// "base_model.model.PATH.lora_A.weight"
  private static func parts(of name: String, _ folder: URL) throws(SwiftletError) -> (path: String, factor: String) {
    let prefix = "base_model.model."
    for factor in ["A", "B"] where name.hasPrefix(prefix) && name.hasSuffix(".lora_\(factor).weight") {
      return (String(name.dropFirst(prefix.count).dropLast(".lora_A.weight".count)), factor)
    }
    throw SwiftletError.model(
      "\(folder.path): adapter_model.safetensors has \(name), which is no low-rank update of a layer; give --model to "
        + "export the merged model")
  }

  private static func header(_ naming: GGUFNaming, _ configuration: LoRAConfiguration, _ name: String) -> GGUFMetadata {
    var metadata = GGUFMetadata()
    metadata["general.architecture"] = .string(naming.architecture)
    metadata["general.type"] = .string("adapter")
    metadata["adapter.type"] = .string("lora")
    metadata["general.name"] = .string(name)
    metadata["adapter.lora.alpha"] = .float32(Float(configuration.alpha))
    metadata["general.quantization_version"] = .uint32(2)
    return metadata
  }
}
