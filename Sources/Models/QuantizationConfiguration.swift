import Diagnostics
import Essentials
import OrderedJSON
import Tensors
import Tokenizers

/// Which linear layers are stored in 4 bits, and how: transformers' `BitsAndBytesConfig`.
public struct QuantizationConfiguration: Sendable, Hashable, Codable {
  /// The 4-bit type and its blocks.
  public var format: FourBitFormat
  /// Modules to leave as they are (`llm_int8_skip_modules`, which applies to 4 bits too): paths, ends of paths, or
  /// regular expressions for the start of a path. `nil` skips only the head.
  public var skippedModules: [String]?

  /// Creates a configuration; by default NF4 in blocks of 64 without double quantization, for all layers but the head.
  public init(_ format: FourBitFormat = FourBitFormat(), skippedModules: [String]? = nil) {
    self.format = format
    self.skippedModules = skippedModules
  }

  /// NF4 with double quantization, as in QLoRA (Dettmers et al. 2023, arXiv:2305.14314).
  public static let nf4 = QuantizationConfiguration(FourBitFormat(.nf4, doubleQuantized: true))
  /// FP4 without double quantization, bitsandbytes' default.
  public static let fp4 = QuantizationConfiguration(FourBitFormat(.fp4))

  /// Methods of quantization whose weights say by themselves how they are stored.
  private static let evidentMethods = ["fp8", "mxfp4"]

  /// Reads the `quantization_config` of a config.json; `nil` if there is none, or if the weights are stored in 8-bit floats,
  /// MXFP4 or MLX's codes, which they say by themselves.
  /// - Throws: `SwiftletError` for any other kind of quantization.
  init?(_ config: ConfigurationReader) throws(SwiftletError) {
    if try MLXQuantization.isRecorded(in: config) { return nil }
    guard let section = config.section("quantization_config") else { return nil }
    let json = section.json
    let method = json["quant_method"]?.string ?? "bitsandbytes"
    if Self.evidentMethods.contains(method) { return nil }
    guard method == "bitsandbytes", json["load_in_8bit"]?.bool != true else {
      let name = method == "bitsandbytes" ? "bitsandbytes in 8 bits" : method
      throw config.error(
        "the weights are quantized with \(name.escapedLine(limit: 80)), which is not supported; "
          + "use the original model, or one in bitsandbytes' 4-bit types")
    }
    let code = json["bnb_4bit_quant_type"]?.string ?? "fp4"
    guard let type = ElementType(rawValue: code), type.isFourBitCode else {
      throw section.error("bnb_4bit_quant_type \(code.quotedExcerpt) is not supported; use nf4 or fp4")
    }
    format = FourBitFormat(type, doubleQuantized: json["bnb_4bit_use_double_quant"]?.bool ?? false)
    skippedModules = json["llm_int8_skip_modules"]?.array?.compactMap(\.string)
  }

  /// Whether the linear layer at `path` is quantized.
  public func quantizes(_ path: String) -> Bool {
    !(skippedModules ?? ["lm_head"]).contains { key in
      path.hasSuffix(key) || Self.isPrefix(key, of: path)
    }
  }

  /// Whether a regular expression matches `path` from its start to the end of one of its components.
  private static func isPrefix(_ pattern: String, of path: String) -> Bool {
    let whole = "^(?:\(pattern))(?:(?<=\\.)|(?=\\.|$))"
    guard let expression = try? RegularExpression(whole) else { return false }
    return expression.matches(path)
  }

  /// The configuration as transformers writes it to config.json.
  var json: JSONValue {
    [
      "_load_in_4bit": true, "_load_in_8bit": false, "bnb_4bit_compute_dtype": "float32",
      "bnb_4bit_quant_storage": "uint8", "bnb_4bit_quant_type": .string(format.type.rawValue),
      "bnb_4bit_use_double_quant": .bool(format.doubleQuantized), "llm_int8_enable_fp32_cpu_offload": false,
      "llm_int8_has_fp16_weight": false,
      "llm_int8_skip_modules": skippedModules.map { .array($0.map { .string($0) }) } ?? .null,
      "llm_int8_threshold": 6.0, "load_in_4bit": true, "load_in_8bit": false, "quant_method": "bitsandbytes",
    ]
  }
}
