/// Which model is trained, and how its weights are held.
public struct ModelArguments: Sendable, Hashable {
  /// A folder, a GGUF file or `org/name`; empty until the recipe names one.
  public var modelNameOrPath = ""
  /// Branch, tag or commit on the hub.
  public var revision = "main"
  /// How the base weights are stored; arithmetic is float32 whatever this says.
  public var dtype = WeightType.float32
  /// Whether the linear layers are quantized to 4 bits on loading (QLoRA).
  public var loadIn4Bit = false
  /// The 4-bit code.
  public var quantType = FourBitType.nf4
  /// Whether the block scales are quantized too (double quantization).
  public var usesNestedQuantization = false
  /// Modules that stay as they are when the others are quantized; `nil` for the output head.
  public var unquantizedModules: [String]?

  /// TRL's defaults.
  public init() {}

  /// How weights are stored.
  public enum WeightType: String, Sendable, CaseIterable, RecipeWord {
    /// As the checkpoint stores them.
    case auto
    case float32, bfloat16, float16
  }

  /// A 4-bit code.
  public enum FourBitType: String, Sendable, CaseIterable, RecipeWord {
    /// NormalFloat of the QLoRA paper (arXiv:2305.14314).
    case nf4
    /// Four bits as sign, exponent and mantissa.
    case fp4
  }
}
