import Diagnostics

extension Family {
  /// Mistral: Llama with a sliding window in every layer.
  static let mistral = Family(modelTypes: ["mistral"], className: "MistralForCausalLM", gguf: .llama) {
    transformer, config throws(SwiftletError) in
    guard let window = try config.optionalSize("sliding_window") else { return }
    for index in transformer.layers.indices { transformer.layers[index].window = window }
  }
}
