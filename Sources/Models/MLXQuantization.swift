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

  /// The keys of config.json for weights in codes. mlx-lm writes them twice, for its own loader and for the Hub.
  /// - Parameters:
  ///   - format: that of `modules`; `nil` if they are floats.
  ///   - hasMXFP4: whether experts are in MXFP4 besides. Then each of `modules` is named.
  static func entries(_ format: AffineFormat?, modules: [String], hasMXFP4: Bool) -> [(String, JSONValue)] {
    let affine = format.map { value(groupSize: $0.groupSize, bits: $0.bits, mode: "affine") }
    var common = hasMXFP4 ? value(groupSize: 32, bits: 4, mode: "mxfp4") : affine
    if hasMXFP4, let affine { for module in modules { common?[module] = .object(affine) } }
    guard let common else { return [] }
    return [("quantization", .object(common)), ("quantization_config", .object(common))]
  }

  private static func value(groupSize: Int, bits: Int, mode: String) -> JSONObject {
    ["group_size": .integer(groupSize), "bits": .integer(bits), "mode": .string(mode)]
  }
}
