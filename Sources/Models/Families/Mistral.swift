import Diagnostics

extension Family {
  /// Mistral: Llama with a sliding window on every layer.
  static let mistral = Family(modelTypes: ["mistral"]) { decoder, config throws(SwiftletError) in
    guard let window = try config.optionalSize("sliding_window") else { return }
    for index in decoder.layers.indices { decoder.layers[index].window = window }
  }
}
