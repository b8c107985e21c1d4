import Diagnostics
import OrderedJSON

extension TransformerConfiguration {
  /// Gives the layers that `layer_types` calls sliding a window and local positions, and all others global ones.
  /// - Parameter isLocal: which layers are sliding if the key is missing.
  /// - Throws: `SwiftletError` if the key lists other than all layers.
  mutating func setWindows(
    _ config: ConfigurationReader, window: Int, local: RotaryConfiguration?, global: RotaryConfiguration?,
    isLocal usual: (Int) -> Bool
  ) throws(SwiftletError) {
    let types = try layerTypes(config)
    for index in layers.indices {
      let isLocal = types.map { $0[index] == "sliding_attention" } ?? usual(index)
      layers[index] = .init(window: isLocal ? window : 0, rotary: isLocal ? local : global)
    }
  }

  /// The types that `layer_types` lists; `nil` if the key is missing.
  /// - Throws: `SwiftletError` if it lists other than all layers.
  func layerTypes(_ config: ConfigurationReader) throws(SwiftletError) -> [String]? {
    guard let types = config.json["layer_types"]?.array?.map({ $0.string ?? "" }) else { return nil }
    guard types.count == layers.count else {
      throw config.error("layer_types must have one entry for each of the \(layers.count) layers")
    }
    return types
  }

  /// The rotary embedding of the layers of a type, from `rope_parameters`.
  /// - Parameter usual: the section of the type if the file has none.
  func rotary(
    _ config: ConfigurationReader, of type: String, usual: JSONValue, headDim: Int
  ) throws(SwiftletError) -> RotaryConfiguration {
    let section = config.section("rope_parameters")?.section(type)
    return try RotaryConfiguration(
      config, section: section ?? ConfigurationReader(json: usual, path: config.path), headDim: headDim,
      maxPositions: maxPositions)
  }

  /// The positions of layers with and without a window: `rope_parameters` per layer type (transformers 5), or
  /// `rope_theta`, `rope_scaling` and `rope_local_base_freq` (before), which scale only the global ones.
  /// - Parameter localBase: the default of `rope_local_base_freq`; `nil` if local layers have the global base.
  func windowedRotaries(
    _ config: ConfigurationReader, localBase: Double?, globalBase: Double
  ) throws(SwiftletError) -> (local: RotaryConfiguration, global: RotaryConfiguration) {
    if let parameters = config.section("rope_parameters"),
      let local = parameters.section("sliding_attention"),
      let global = parameters.section("full_attention")
    {
      func rotary(_ section: ConfigurationReader) throws(SwiftletError) -> RotaryConfiguration {
        try RotaryConfiguration(
          config, section: section, headDim: headDim, maxPositions: maxPositions)
      }
      return (try rotary(local), try rotary(global))
    }
    let withBase = config.json["rope_theta"] == nil ? config.replacing("rope_theta", by: .number(globalBase)) : config
    let global = try RotaryConfiguration(
      withBase, section: config.section("rope_scaling"), headDim: headDim, maxPositions: maxPositions)
    var base = global.base
    if let localBase { base = try config.optionalNumber("rope_local_base_freq") ?? localBase }
    guard base > 0 else { throw config.error("rope_local_base_freq must be positive (got \(base))") }
    return (RotaryConfiguration(base: base, rotaryDim: global.rotaryDim), global)
  }
}
