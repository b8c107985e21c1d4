import Diagnostics

extension Family {
  /// Phi-3 and Phi-3.5: one projection for queries, keys and values, one for gate and up, and a sliding window.
  static let phi3 = Family(modelTypes: ["phi3"]) { transformer, config throws(SwiftletError) in
    transformer.attentionInputs = ["qkv_proj"]
    transformer.mlpInputs = ["gate_up_proj"]
    guard let window = try config.optionalSize("sliding_window") else { return }
    for index in transformer.layers.indices { transformer.layers[index].window = window }
  }
}
