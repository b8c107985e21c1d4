import Checkpoints

extension GGUFVocabulary {
  /// Reads the vocabulary in the header of a GGUF file.
  ///
  /// - Throws: `TokenizerError` naming a key that is missing.
  public init(_ file: GGUFFile) throws(TokenizerError) {
    let metadata = file.metadata
    func id(_ key: String) -> Int32? { metadata["tokenizer.ggml.\(key)"]?.integer.flatMap { Int32(exactly: $0) } }
    guard let model = metadata["tokenizer.ggml.model"]?.string else {
      throw TokenizerError("The GGUF file has no tokenizer.ggml.model; use one that holds its tokenizer.")
    }
    guard let tokens = metadata["tokenizer.ggml.tokens"]?.strings else {
      throw TokenizerError("The GGUF file has no tokenizer.ggml.tokens; use one that holds its tokenizer.")
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
  }
}
