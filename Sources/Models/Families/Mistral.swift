import Checkpoints
import Diagnostics
import Essentials
import OrderedJSON

extension Family {
  /// Mistral, and the language model of Mistral Small 3.1 and later: Llama, in old versions with a sliding window in every layer.
  static let mistral = Family(
    modelTypes: ["mistral"], wrapperTypes: ["mistral3"], className: "MistralForCausalLM",
    gguf: .llama
  ) { transformer, config throws(SwiftletError) in
    try transformer.readMistralWindow(config)
  }

  /// Ministral 3: Mistral with YaRN, and queries that are scaled up with their position.
  static let ministral3 = Family(
    modelTypes: ["ministral3"], wrapperTypes: ["mistral3"], className: "Ministral3ForCausalLM",
    gguf: .mistral3
  ) { transformer, config throws(SwiftletError) in
    try transformer.readMistralWindow(config)
  }
}

extension TransformerConfiguration {
  fileprivate mutating func readMistralWindow(_ config: ConfigurationReader) throws(SwiftletError) {
    guard let window = try config.optionalSize("sliding_window") else { return }
    for index in layers.indices { layers[index].window = window }
  }
}

extension GGUFArchitecture {
  /// Ministral 3; llama.cpp converts Mistral Small 3.1 to it too, which has neither YaRN nor scaled queries.
  fileprivate static let mistral3 = GGUFArchitecture(
    name: "mistral3", permutesQueryKeyRows: true, writesVocabularySize: true, writesRotaryDim: true,
    features: [.yarn, .queryGrowth],
    writeHeader: { transformer, header in
      guard let rotary = transformer.globalRotary, case .yarn(let yarn) = rotary.scaling else {
        return
      }
      // llama.cpp has (0.1 log f + 1) / (0.1 m log f + 1), where m is this key, for the attention factor.
      let growth = 0.1 * log(yarn.factor)
      let multiplier = growth > 0 ? ((growth + 1) / yarn.attentionFactor - 1) / growth : 1
      header.set("rope.scaling.yarn_log_multiplier", .float32(Float(multiplier)))
      if let growth = rotary.queryGrowth {
        header.set("attention.temperature_scale", .float32(Float(growth.beta)))
      }
    },
    readHeader: { file, config in
      guard var scaling = config["rope_scaling"]?.object else { return }
      if let multiplier = file.metadata["mistral3.rope.scaling.yarn_log_multiplier"]?.double,
        multiplier != 0
      {
        scaling["mscale"] = 1.0
        scaling["mscale_all_dim"] = .number(multiplier)
      }
      if let beta = file.metadata["mistral3.attention.temperature_scale"]?.double {
        scaling["llama_4_scaling_beta"] = .number(beta)
      }
      config["rope_scaling"] = .object(scaling)
    })
}
