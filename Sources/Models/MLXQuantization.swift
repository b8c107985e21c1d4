import Diagnostics
import OrderedJSON
import Tensors

/// How MLX's programs record that a model's weights are stored in codes: `quantization` in config.json.
enum MLXQuantization {
  /// The tensors of a module next to its codes.
  static let partNames = ["scales", "biases"]

  /// Whether config.json says that weights are stored in MLX's codes. Their shapes say how.
  /// - Throws: `SwiftletError` for a mode that isn't supported.
  static func isRecorded(in config: ConfigurationReader) throws(SwiftletError) -> Bool {
    guard let section = config.section("quantization"), section.json["group_size"] != nil else { return false }
    let mode = section.json["mode"]?.string ?? "affine"
    guard ["affine", "mxfp4"].contains(mode) else {
      throw section.error("mode \(mode.quotedExcerpt) is not supported; use affine or mxfp4")
    }
    return true
  }

  /// The keys of config.json for weights in this format. mlx-lm writes them twice, for its own loader and for the Hub.
  static func entries(_ format: AffineFormat) -> [(String, JSONValue)] {
    let value: JSONValue = [
      "group_size": .integer(format.groupSize), "bits": .integer(format.bits), "mode": "affine",
    ]
    return [("quantization", value), ("quantization_config", value)]
  }
}
