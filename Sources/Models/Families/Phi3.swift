import Diagnostics

extension Family {
  /// Phi-3, Phi-3.5, Phi-4 and Phi-4-mini: one fused layer for queries, keys and values, one for gate and up, and in
  /// some a sliding window.
  static let phi3 = Family(
    modelTypes: ["phi3"], className: "Phi3ForCausalLM", endOfTurnTokens: ["<|end|>", "<|endoftext|>", "<|im_end|>"],
    // PEFT has no entry for Phi-3; qkv_proj holds its q_proj and v_proj.
    defaultLoRATargets: ["qkv_proj"], gguf: .phi3
  ) { transformer, config throws(SwiftletError) in
    transformer.attentionInputs = ["qkv_proj"]
    transformer.mlpInputs = ["gate_up_proj"]
    guard let window = try config.optionalSize("sliding_window") else { return }
    for index in transformer.layers.indices { transformer.layers[index].window = window }
  }
}

extension GGUFArchitecture {
  fileprivate static let phi3 = GGUFArchitecture(
    name: "phi3", writesRotaryDim: true, features: [.partialRotation, .longRope], derivesHeadDim: true,
    // llama.cpp recognizes Phi-3's tokens, which take the white space after them, only by the model's name.
    modelName: { name, tokenizerModel in
      let lowercased = name.lowercased()
      let isRecognized = lowercased.contains("phi-3") || lowercased.contains("phi3")
      return tokenizerModel == "llama" && !isRecognized ? "Phi-3 \(name)" : name
    },
    writeHeader: { transformer, header in
      header.set("attention.sliding_window", transformer.layers.map(\.window).filter { $0 > 0 }.min() ?? 0)
    })
}
