import Models
import Tensors

/// The base model of a run.
public struct BaseModel: Sendable, Hashable {
  /// A folder, a GGUF file or `org/name`; empty until the recipe names one.
  public var name = ""
  /// The branch, tag or commit on the Hugging Face Hub.
  public var revision = "main"
  /// How its linear layers are quantized on loading (QLoRA); `nil` to leave the weights as they are stored.
  public var quantization: QuantizationConfiguration?
  /// The device that the model computes on.
  public var device = DeviceSelection.automatic

  /// Creates a base model without a name, which a recipe fills in.
  public init() {}

  /// Creates a base model that `ModelLocation` will find by name.
  public init(_ name: String, revision: String = "main", quantization: QuantizationConfiguration? = nil) {
    self.name = name
    self.revision = revision
    self.quantization = quantization
  }
}
