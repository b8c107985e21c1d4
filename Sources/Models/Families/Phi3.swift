import Diagnostics

extension Family {
  /// Phi-3 and Phi-3.5: one projection for queries, keys and values, one for gate and up, and a sliding window.
  static let phi3 = Family(modelTypes: ["phi3"]) { decoder, config throws(SwiftletError) in
    decoder.attentionInputs = ["qkv_proj"]
    decoder.feedForwardInputs = ["gate_up_proj"]
    guard let window = try config.optionalSize("sliding_window") else { return }
    for index in decoder.layers.indices { decoder.layers[index].window = window }
  }
}
