import Checkpoints
import Essentials

/// The formats of adapters.
package enum AdapterFormat: Sendable {
  /// A folder that PEFT or Swiftlet saved.
  case peft
  /// A folder for mlx-lm.
  case mlx
  /// A GGUF file for llama.cpp.
  case gguf

  /// The format of a folder or file; `nil` if it is no adapter.
  package init?(of url: URL) {
    func has(_ name: String) -> Bool {
      FileManager.default.fileExists(atPath: url.appendingPathComponent(name).path)
    }
    if has("adapter_config.json") {
      self = has(MLXAdapterExport.fileName) && !has("adapter_model.safetensors") ? .mlx : .peft
    } else if url.pathExtension.lowercased() == "gguf", let file = try? GGUFFile(contentsOf: url),
      file.metadata["general.type"]?.string == "adapter"
    {
      self = .gguf
    } else {
      return nil
    }
  }
}
