import Diagnostics
import Checkpoints

extension GGUFVocabulary {
  /// The vocabulary in the metadata of a GGUF file.
  /// - Throws: `SwiftletError` if a required key is missing.
  public init(_ file: GGUFFile) throws(SwiftletError) {
    let metadata = file.metadata
    func id(_ key: String) -> Int32? { metadata["tokenizer.ggml.\(key)"]?.integer.flatMap { Int32(exactly: $0) } }
    guard let model = metadata["tokenizer.ggml.model"]?.string else {
      throw Self.missing("tokenizer.ggml.model", file.path)
    }
    guard let tokens = metadata["tokenizer.ggml.tokens"]?.strings else {
      throw Self.missing("tokenizer.ggml.tokens", file.path)
    }
    self.init(
      model: model, preTokenizer: metadata["tokenizer.ggml.pre"]?.string, tokens: tokens,
      tokenTypes: metadata["tokenizer.ggml.token_type"]?.integers?.map { Int32(truncatingIfNeeded: $0) },
      scores: metadata["tokenizer.ggml.scores"]?.floats, merges: metadata["tokenizer.ggml.merges"]?.strings,
      bosID: id("bos_token_id"), eosID: id("eos_token_id"), unkID: id("unknown_token_id"),
      padID: id("padding_token_id"), addBOS: metadata["tokenizer.ggml.add_bos_token"]?.bool,
      addEOS: metadata["tokenizer.ggml.add_eos_token"]?.bool,
      addSpacePrefix: metadata["tokenizer.ggml.add_space_prefix"]?.bool,
      chatTemplate: metadata["tokenizer.chat_template"]?.string, modelName: metadata["general.name"]?.string)
    eotID = id("eot_token_id")
    path = file.path
  }

  static func missing(_ key: String, _ path: String?) -> SwiftletError {
    .tokenizer("\(key) is missing; use a GGUF file that contains its tokenizer", path: path)
  }

  /// The metadata entries that store this vocabulary in a GGUF file.
  public var entries: [(key: String, value: GGUFValue)] {
    var entries: [(key: String, value: GGUFValue)] = []
    func add(_ key: String, _ value: GGUFValue?) {
      if let value { entries.append(("tokenizer.\(key)", value)) }
    }
    func id(_ id: Int32?) -> GGUFValue? { id.flatMap { UInt32(exactly: $0) }.map { .uint32($0) } }
    add("ggml.model", .string(model))
    add("ggml.pre", preTokenizer.map { .string($0) })
    add("ggml.tokens", .array(.string(tokens)))
    add("ggml.scores", scores.map { .array(.float32($0)) })
    add("ggml.token_type", tokenTypes.map { .array(.int32($0)) })
    add("ggml.merges", merges.map { .array(.string($0)) })
    add("ggml.bos_token_id", id(bosID))
    add("ggml.eos_token_id", id(eosID))
    add("ggml.eot_token_id", id(eotID))
    add("ggml.unknown_token_id", id(unkID))
    add("ggml.padding_token_id", id(padID))
    add("ggml.add_bos_token", addBOS.map { .bool($0) })
    add("ggml.add_eos_token", addEOS.map { .bool($0) })
    add("ggml.add_space_prefix", addSpacePrefix.map { .bool($0) })
    add("chat_template", chatTemplate.map { .string($0) })
    let names = namedTemplates.keys.sorted()
    if !names.isEmpty { add("chat_templates", .array(.string(names))) }
    for name in names { add("chat_template.\(name)", namedTemplates[name].map { .string($0) }) }
    return entries
  }
}
