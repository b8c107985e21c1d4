import Diagnostics
import Foundation
import OrderedJSON
import Tensors

/// Which linear layers are 4-bit codes, and how: transformers' `BitsAndBytesConfig`.
public struct QuantizationConfiguration: Sendable, Hashable {
  /// The codes and their blocks.
  public var format: FourBitFormat
  /// Modules that stay as they are (`llm_int8_skip_modules`, for 4 bits too): paths, ends of paths, or expressions for
  /// their start. `nil` for the head.
  public var skippedModules: [String]?

  /// A configuration of these parts.
  public init(_ format: FourBitFormat = FourBitFormat(), skippedModules: [String]? = nil) {
    self.format = format
    self.skippedModules = skippedModules
  }

  /// Reads the `quantization_config` of a `config.json`; `nil` where there is none.
  /// - Throws: `SwiftletError` for another kind of quantization.
  init?(_ config: ConfigurationReader) throws(SwiftletError) {
    guard let section = config.section("quantization_config") else { return nil }
    let json = section.json
    let method = json["quant_method"]?.string ?? "bitsandbytes"
    guard method == "bitsandbytes", json["load_in_8bit"]?.bool != true else {
      let name = method == "bitsandbytes" ? "bitsandbytes in 8 bits" : method
      throw config.error(
        "the weights are quantized by \(name), which is not supported; take the original or bitsandbytes' 4 bits")
    }
    let code = json["bnb_4bit_quant_type"]?.string ?? "fp4"
    guard let type = ElementType(rawValue: code), type.isFourBitCode else {
      throw section.error("bnb_4bit_quant_type \"\(code)\" is not supported; nf4 and fp4 are")
    }
    format = FourBitFormat(type, doubleQuantized: json["bnb_4bit_use_double_quant"]?.bool ?? false)
    skippedModules = json["llm_int8_skip_modules"]?.array?.compactMap(\.string)
  }

  /// Whether the linear layer at `path` is quantized.
  public func quantizes(_ path: String) -> Bool {
    !(skippedModules ?? ["lm_head"]).contains { key in
      path.hasSuffix(key) || Self.isStart(key, of: path)
    }
  }

  /// Whether an expression matches `path` from its start up to the end of one of its parts.
  private static func isStart(_ pattern: String, of path: String) -> Bool {
    let whole = "^(?:\(pattern))(?:(?<=\\.)|(?=\\.|$))"
    guard let expression = try? NSRegularExpression(pattern: whole) else { return false }
    return expression.firstMatch(in: path, range: NSRange(location: 0, length: path.utf16.count)) != nil
  }

  /// As transformers writes it.
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
