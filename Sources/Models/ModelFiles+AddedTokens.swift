import Diagnostics
import Essentials
import OrderedJSON
import Tokenizers

extension ModelFiles {
  /// The same model with more tokens. If its embedding has no rows left for them, embedding and head get rows that are the
  /// mean of the others.
  /// - Parameter tokens: the tokens to add; those that the tokenizer has already change nothing.
  /// - Throws: `SwiftletError` for an empty or overlong token, or a model with other tables of tokens.
  package func adding(_ tokens: [AddedToken]) throws -> ModelFiles {
    if tokens.isEmpty { return self }
    let (extended, newIDs) = try tokenizer().adding(tokens)
    var files = self
    files.extendedTokenizer = extended
    files.addedTokens += tokens
    files.addedTokenIDs += newIDs
    try files.resize(to: max(configuration.vocabularySize, extended.vocabularySize))
    return files
  }

  /// The same model with the tokens that an adapter was trained with, if tokens were added for it, and as many embeddings as
  /// it had then.
  /// - Parameter folder: the adapter's folder; `nil` for none. Adapters for llama.cpp and mlx-lm can't have added tokens.
  /// - Throws: `SwiftletError` if a file is damaged.
  package func extended(by folder: URL?) throws -> ModelFiles {
    guard let folder, ![.gguf, .mlx].contains(AdapterFormat(of: folder)) else { return self }
    var files = self
    if let own = try? tokenizer() {
      let tokens = try own.addedTokens(of: folder)
      let extended = try adding(tokens)
      // Other ids belong to another base model.
      if extended.addedTokenIDs == tokens.map(\.id) { files = extended }
    }
    let adapter = try AdapterFile(folder)
    if let rows = adapter.vocabularyRows, rows >= (files.extendedTokenizer?.vocabularySize ?? 0) {
      try files.resize(to: rows)
    } else if let last = adapter.trainedTokens.max(),
      // Otherwise there are not so many new tokens, and reading the adapter says so.
      last < files.configuration.vocabularySize + adapter.trainedTokens.count
    {
      try files.resize(to: max(files.configuration.vocabularySize, last + 1))
    }
    return files
  }

  private mutating func resize(to rows: Int) throws(SwiftletError) {
    guard rows != configuration.vocabularySize else { return }
    guard configuration.perLayerInputSize == 0 else {
      throw SwiftletError.model(
        "tokens can't be added to a model with per-layer embeddings; leave out add_tokens and add_special_tokens",
        in: url.path)
    }
    guard rows > 0, rows <= 1 << 24, Double(rows) * Double(configuration.hiddenSize) <= 0x1p32 else {
      throw SwiftletError.model("a vocabulary of \(rows) tokens is too large for the model", in: url.path)
    }
    addedRows += rows - configuration.vocabularySize
    configuration.vocabularySize = rows
    guard var json = configurationJSON.object else { return }
    if var text = json["text_config"]?.object {
      text["vocab_size"] = .integer(rows)
      json["text_config"] = .object(text)
    }
    if json["vocab_size"] != nil || json["text_config"] == nil { json["vocab_size"] = .integer(rows) }
    configurationJSON = .object(json)
  }
}
