import Checkpoints
import Diagnostics
import OrderedJSON

extension Family {
  /// Granite 3 and 4, dense: Llama with scalars on embeddings, attention scores, residual branches and logits.
  static let granite = Family(
    modelTypes: ["granite"], className: "GraniteForCausalLM", endOfTurnTokens: ["<|end_of_text|>"],
    classifier: .missing, gguf: .granite
  ) { transformer, config throws(SwiftletError) in
    try transformer.readGranite(config)
    transformer.hasMLPBias = try config.optionalBool("mlp_bias") ?? false
  }

  /// Granite 4.0 without experts and Mamba layers: the same with a fused layer for gate and up, under other names.
  static let granite4 = Family(
    modelTypes: ["granitemoehybrid"], className: "GraniteMoeHybridForCausalLM",
    endOfTurnTokens: ["<|end_of_text|>"], classifier: .missing,
    separateModules: [
      "shared_mlp.input_linear": ["mlp.gate_proj", "mlp.up_proj"], "shared_mlp.output_linear": ["mlp.down_proj"],
    ],
    mlxEntries: { transformer, json in
      let types: [JSONValue] = transformer.layers.map { _ in "attention" }
      // Without positions mlx-lm rotates, and transformers doesn't.
      let positions = json["position_embedding_type"]?.string ?? "nope"
      return [
        ("layer_types", .array(types)), ("position_embedding_type", .string(positions)),
        ("intermediate_size", .integer(transformer.intermediateSize)),
      ]
    }, gguf: .granite4
  ) { transformer, config throws(SwiftletError) in
    try transformer.readGranite(config)
    transformer.mlpInputs = ["gate_up_proj"]
    transformer.moduleNames = [
      "mlp.gate_up_proj": "shared_mlp.input_linear", "mlp.down_proj": "shared_mlp.output_linear",
    ]
    transformer.intermediateSize =
      try config.optionalSize("shared_intermediate_size", atMost: 1 << 22) ?? 1024
    if config.json["num_local_experts"]?.integer != 0 {
      throw config.error(
        "a granitemoehybrid with experts (num_local_experts above 0) is not supported")
    }
    let types = config.json["layer_types"]?.array?.compactMap(\.string) ?? []
    let areAttention = types.allSatisfy { ["attention", "full_attention"].contains($0) }
    guard areAttention, types.count == transformer.layers.count else {
      throw config.error("a granitemoehybrid with Mamba layers (layer_types) is not supported")
    }
    guard config.json["position_embedding_type"]?.string != "rope" else { return }
    for index in transformer.layers.indices { transformer.layers[index].rotary = nil }
  }
}

extension TransformerConfiguration {
  /// Biases and the four scalars.
  mutating func readGranite(_ config: ConfigurationReader) throws(SwiftletError) {
    hasAttentionInputBias = try config.optionalBool("attention_bias") ?? false
    hasAttentionOutputBias = hasAttentionInputBias
    func scalar(_ key: String) throws(SwiftletError) -> Float {
      let value = try config.optionalNumber(key) ?? 1
      guard value > 0 else { throw config.error("\(key) must be positive (got \(value))") }
      return Float(value)
    }
    embeddingScale = try scalar("embedding_multiplier")
    attentionScale = try scalar("attention_multiplier")
    residualScale = try scalar("residual_multiplier")
    logitScale = 1 / (try scalar("logits_scaling"))
  }
}

extension GGUFArchitecture {
  fileprivate static let granite = granite("granite")

  /// llama.cpp has Granite 4 without experts and Mamba layers as Granite 3.
  fileprivate static var granite4: GGUFArchitecture {
    var architecture = granite("granite")
    architecture.check = { transformer, refusal throws(SwiftletError) in
      if transformer.layers.contains(where: { $0.rotary == nil }) {
        throw refusal("position_embedding_type other than rope")
      }
    }
    return architecture
  }

  /// Granite's scalars under the keys of an architecture.
  static func granite(
    _ name: String, renamedParts: [String: String] = [:],
    readExperts: @escaping @Sendable (GGUFFile, inout JSONObject) -> Void = { _, _ in }
  ) -> GGUFArchitecture {
    GGUFArchitecture(
      name: name, permutesQueryKeyRows: true, renamedParts: renamedParts, writesVocabularySize: true,
      writesRotaryDim: true,
      features: [.biases, .ropeFactors], derivesHeadDim: true,
      writeHeader: { transformer, header in
        header.set("embedding_scale", .float32(transformer.embeddingScale))
        header.set("attention.scale", .float32(transformer.attentionScale))
        header.set("residual_scale", .float32(transformer.residualScale))
        header.set("logit_scale", .float32(1 / transformer.logitScale))
      },
      readHeader: { file, config in
        let scalars = [
          ("embedding_multiplier", "embedding_scale"), ("attention_multiplier", "attention.scale"),
          ("residual_multiplier", "residual_scale"), ("logits_scaling", "logit_scale"),
        ]
        for (key, ggufKey) in scalars {
          if let value = file.metadata["\(name).\(ggufKey)"]?.double { config[key] = .number(value) }
        }
        readExperts(file, &config)
      })
  }
}
