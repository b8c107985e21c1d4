import Diagnostics
import OrderedJSON

/// A family of models on the one transformer: how its `config.json` is read.
///
/// To add one, write a short file beside this one and list it in `Family.all`; CONTRIBUTING.md walks through it.
public struct Family: Sendable {
  /// The `model_type`s that it covers.
  let modelTypes: [String]
  /// Fills a configuration, starting from what all families share.
  let configure: @Sendable (inout TransformerConfiguration, ConfigurationReader) throws(SwiftletError) -> Void

  /// Every family that there is.
  static let all: [Family] = [llama, qwen2, qwen3, mistral, phi3, gemma3, smolLM3]

  /// The `model_type`s that can be opened.
  public static var supportedModelTypes: [String] { all.flatMap(\.modelTypes) }
}

extension TransformerConfiguration {
  /// Reads a `config.json`; `path` is named in messages.
  /// - Throws: `SwiftletError` for a missing, mistyped or unsupported key.
  public init(json: JSONValue, path: String) throws(SwiftletError) {
    let config = ConfigurationReader(json: json, path: path)
    let type = try config.string("model_type")
    guard let family = Family.all.first(where: { $0.modelTypes.contains(type) }) else {
      let known = Family.supportedModelTypes.joined(separator: ", ")
      throw config.error("model_type \"\(type)\" is not supported; supported are \(known)")
    }
    self = try TransformerConfiguration(common: config)
    try family.configure(&self, config)
    let names = activation == .silu ? ["silu", "swish"] : ["gelu_pytorch_tanh", "gelu_new"]
    try config.checkActivation(activation == .silu ? "hidden_act" : "hidden_activation", isOneOf: names)
  }
}
