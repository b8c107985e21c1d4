import Diagnostics
import OrderedJSON

/// A family of models: everything in which it differs from Llama, in transformers' files and in llama.cpp's.
///
/// All families are one `Transformer` with switches. To add a family, write a short file next to this one and list it
/// in `Family.all`; CONTRIBUTING.md walks through it. No code outside this folder compares family names.
public struct Family: Sendable {
  /// The `model_type`s in config.json.
  let modelTypes: [String]
  /// The `model_type`s of models that have this one under `text_config`, next to a vision tower.
  var wrapperTypes: [String] = []
  /// Keys of config.json that published files may leave out, with the defaults of transformers' configuration class.
  var defaults: JSONObject = [:]
  /// The class that `architectures` in config.json names.
  let className: String
  /// Tokens that end a turn in the family's chat templates.
  var endOfTurnTokens: [String] = []
  /// The modules that get a LoRA update unless the user names some: PEFT's
  /// `TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING`, or its counterpart for fused layers.
  var defaultLoRATargets = ["q_proj", "v_proj"]
  /// Whether and under which name transformers has a sequence classifier of the family.
  var classifier = Classifier.regular
  /// Whether mlx-lm applies sliding windows. If not, exports get a note.
  var mlxAppliesWindows = false
  /// Whether mlx-lm has the family. If not, exports get a note.
  var mlxHasFamily = true
  /// The modules that mlx-lm and llama.cpp have instead of one, whose rows they share out.
  var separateModules: [String: [String]] = [:]
  /// What mlx-lm needs in the family's config.json, given as it is, besides what all families share.
  var mlxEntries: @Sendable (TransformerConfiguration, JSONValue) -> [(String, JSONValue)] = { _, _ in [] }
  /// How llama.cpp stores the family; `nil` if it doesn't support it.
  var gguf: GGUFArchitecture?
  /// Sets the family's switches, starting from what all families read the same way.
  let configure: @Sendable (inout TransformerConfiguration, ConfigurationReader) throws(SwiftletError) -> Void

  /// A sequence classifier's class.
  enum Classifier {
    /// Named like `className`.
    case regular
    /// Named like `className` with `Text`, because another class reads images too.
    case textOnly
    /// There is none.
    case missing
  }

  /// The class of the sequence classifier, which `architectures` in config.json names; `nil` if there is none.
  var classifierName: String? {
    let name = className.replacing("ForCausalLM", with: "")
    return switch classifier {
    case .regular: name + "ForSequenceClassification"
    case .textOnly: name + "TextForSequenceClassification"
    case .missing: nil
    }
  }

  /// All supported families. Where llama.cpp has one architecture for several of them, the first one reads its files.
  static let all: [Family] = [
    llama, qwen2, qwen3, qwen3MoE, qwen35, mistral, ministral3, phi3, gemma2, gemma3, gemma4, gemma4Unified, smolLM3,
    granite, granite4, olmo2,
    olmo3, lfm2, lfm3, gptOSS, graniteMoE,
  ]

  /// The `model_type`s that can be opened.
  public static var supportedModelTypes: [String] {
    all.flatMap { family in family.modelTypes + family.wrapperTypes.filter { !family.sharesWrapper($0) } }
  }

  /// Whether an earlier family in the list has the same wrapper.
  private func sharesWrapper(_ type: String) -> Bool {
    Self.all.first { $0.wrapperTypes.contains(type) }?.modelTypes != modelTypes
  }

  /// The `general.architecture`s that can be opened.
  static var supportedArchitectures: [String] { Set(all.compactMap { $0.gguf?.name }).sorted() }

  /// The family of a `model_type`.
  static func named(_ modelType: String) -> Family? { all.first { $0.modelTypes.contains(modelType) } }

  /// The family that reads GGUF files of `architecture`.
  static func reading(architecture: String) -> Family? { all.first { $0.gguf?.name == architecture } }
}

extension TransformerConfiguration {
  /// Reads a `config.json`; `path` is named in errors.
  /// - Throws: `SwiftletError` for a missing, mistyped or unsupported key.
  public init(json: JSONValue, path: String) throws(SwiftletError) {
    let whole = ConfigurationReader(json: json, path: path)
    let type = try whole.string("model_type")
    if let family = Family.all.first(where: { $0.wrapperTypes.contains(type) }), let text = whole.section("text_config")
    {
      let innerType = text.json["model_type"]?.string ?? family.modelTypes[0]
      guard let inner = Family.named(innerType), inner.wrapperTypes.contains(type) else {
        throw text.error("model_type \(innerType.quotedExcerpt) is not supported in a \(type)")
      }
      try self.init(inner, text.replacing("tie_word_embeddings", by: json["tie_word_embeddings"]), innerType)
      modulePrefix = "model.language_model."
      return
    }
    guard let family = Family.named(type) else {
      let known = Family.supportedModelTypes.joined(separator: ", ")
      throw whole.error("model_type \(type.quotedExcerpt) is not supported; use one of \(known)")
    }
    try self.init(family, whole, type)
  }

  private init(_ family: Family, _ config: ConfigurationReader, _ modelType: String) throws(SwiftletError) {
    var config = config
    for (key, value) in family.defaults.members where config.json[key] == nil {
      config = config.replacing(key, by: value)
    }
    config = config.replacing("model_type", by: .string(modelType))
    self = try TransformerConfiguration(common: config)
    try family.configure(&self, config)
    switch activation {
    case .silu: try config.checkActivation("hidden_act", isOneOf: ["silu", "swish"])
    case .gelu: try config.checkActivation("hidden_activation", isOneOf: ["gelu_pytorch_tanh", "gelu_new"])
    case .sigmoid, .clampedSwiGLU, .clampedSwiGLUOfHalves: break
    }
  }

  /// The names that mlx-lm and llama.cpp, in transformers' words, have for a tensor, whose rows they share out.
  func separateNames(of name: String) -> [String] {
    for (module, parts) in family.separateModules where name.contains(".\(module).") {
      return parts.map { name.replacing(".\(module).", with: ".\($0).") }
    }
    return [name]
  }

  /// Takes the modules that mlx-lm has instead of the family's, if these tensors have them.
  mutating func adoptMLXModules(of tensorNames: some Sequence<String>) {
    let modules = family.separateModules
    guard !modules.isEmpty,
      tensorNames.contains(where: { name in modules.values.joined().contains { name.contains(".\($0).") } })
    else { return }
    moduleNames = moduleNames.filter { modules[$0.value] == nil }
    mlpInputs = ["gate_proj", "up_proj"]
  }

  /// Whether it has modules of mlx-lm's that transformers doesn't have.
  var hasMLXModules: Bool {
    let modules = family.separateModules
    return !modules.isEmpty && !moduleNames.values.contains { modules[$0] != nil }
  }

  /// The model's family.
  var family: Family { Family.named(modelType) ?? .llama }
}
