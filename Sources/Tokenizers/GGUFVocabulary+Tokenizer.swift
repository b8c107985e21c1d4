import Diagnostics

extension GGUFVocabulary {
  /// The GGUF vocabulary of `tokenizer`.
  /// - Parameters:
  ///   - size: the number of rows of the model's embedding. Ids without a token become `[PAD7]` and so on, as in
  ///     llama.cpp's converter.
  ///   - spaceModel: `tokenizer.ggml.model` of a tokenizer that replaces spaces by marks: "llama", or "gemma4".
  /// - Throws: `SwiftletError` if llama.cpp does not support such a tokenizer.
  public init(_ tokenizer: Tokenizer, size: Int, spaceModel: String = "llama") throws(SwiftletError) {
    if case .gguf(let conversion) = tokenizer.source {
      self = conversion.vocabulary
      pad(to: size)
      return
    }
    guard case .bpe(let model) = tokenizer.pipeline.model else {
      throw SwiftletError.tokenizer(
        "GGUF export does not support Unigram tokenizers; export a model with a BPE tokenizer")
    }
    let isByteLevel = model.takesBytes
    guard isByteLevel || model.options.fallsBackToBytes else {
      throw SwiftletError.tokenizer(
        "llama.cpp does not support a BPE tokenizer that is neither byte-level nor has byte_fallback; use the model's "
          + "original tokenizer.json")
    }
    self.init(model: isByteLevel ? "gpt2" : spaceModel, tokens: [])
    addTokens(of: tokenizer, model)
    pad(to: size)
    let merges = model.merges.pairs
    if isByteLevel {
      preTokenizer = try GGUFPreTokenizer.name(of: tokenizer.pipeline, ignoresMerges: model.options.ignoresMerges)
    } else {
      addSpacePrefix = Self.prefixesSpace(tokenizer.pipeline)
    }
    if self.model == "llama" {
      preTokenizer = "default"
      scores = Self.scores(merges.map(\.id), count: tokens.count)
    } else {
      self.merges = merges.map { tokens[Int($0.left)] + " " + tokens[Int($0.right)] }
    }
    // The converter writes scores without a meaning.
    if self.model == "gemma4" { scores = Array(repeating: -1000, count: tokens.count) }
    addRoles(of: tokenizer)
  }

  /// Whether this vocabulary and `tokenizer` encode a varied test text to the same ids.
  /// - Throws: `SwiftletError` if the vocabulary is invalid.
  public func agrees(with tokenizer: Tokenizer) throws(SwiftletError) -> Bool {
    try Tokenizer(gguf: self).encode(GGUFPreTokenizer.probe) == tokenizer.encode(GGUFPreTokenizer.probe)
  }

  private mutating func addTokens(of tokenizer: Tokenizer, _ model: BytePairEncoding) {
    let added = Dictionary(tokenizer.pipeline.addedTokens.map { ($0.id, $0) }) { $1 }
    var kinds: [Int32] = []
    for id in 0..<tokenizer.vocabularySize {
      guard let text = tokenizer.token(Int32(truncatingIfNeeded: id)) else {
        tokens.append("[PAD\(id)]")
        kinds.append(TokenType.unused)
        continue
      }
      if let token = added[Int32(truncatingIfNeeded: id)] {
        let isShown = self.model == "gemma4" && Self.shownTokens.contains(text)
        let isControl = (token.isSpecial || Self.looksSpecial(text)) && !isShown
        // llama.cpp matches user-defined tokens in the original text, before spaces are replaced. Gemma 4's merges name them as
        // they are.
        let isRewritten = !isControl && self.model != "gemma4"
        tokens.append(isRewritten ? text.replacing("\u{2581}", with: " ") : text)
        kinds.append(isControl ? TokenType.control : TokenType.userDefined)
      } else {
        tokens.append(text)
        kinds.append(model.options.fallsBackToBytes && Self.isByteToken(text) ? TokenType.byte : TokenType.normal)
      }
    }
    tokenTypes = kinds
  }

  /// Gemma 4's special tokens that llama.cpp shows in answers, where its chat parser looks for them.
  private static let shownTokens: Set<String> = [
    "<|channel>", "<channel|>", "<|tool_call>", "<tool_call|>", "<|tool_response>", "<tool_response|>", "<|\"|>",
  ]

  /// Whether a token is a control token even if its tokenizer does not mark it as special.
  private static func looksSpecial(_ text: String) -> Bool {
    ["<pad>", "<mask>", "<2mass>", "[@BOS@]"].contains(text)
      || [("<|", "|>"), ("<\u{FF5C}", "\u{FF5C}>"), ("<unused", ">")].contains {
        text.hasPrefix($0) && text.hasSuffix($1)
      }
  }

  /// Whether a token spells a byte, as `<0x0A>` does.
  private static func isByteToken(_ text: String) -> Bool {
    text.utf8.count == 6 && text.hasPrefix("<0x") && text.hasSuffix(">")
      && UInt8(text.dropFirst(3).dropLast(), radix: 16) != nil
  }

  private mutating func pad(to size: Int) {
    guard tokens.count < size else { return }
    let missing = tokens.count..<size
    tokens += missing.map { "[PAD\($0)]" }
    tokenTypes = tokenTypes.map { $0 + missing.map { _ in TokenType.unused } }
    scores = scores.map { $0 + missing.map { _ in -10000 } }
  }

  /// Scores that reproduce the order of merges: SentencePiece merges the pair whose resulting token has the highest
  /// score.
  private static func scores(_ merged: [Int32], count: Int) -> [Float] {
    var scores = [Float](repeating: -1_000_000, count: count)
    var next: Float = 0
    for id in merged where scores[Int(id)] == -1_000_000 {
      scores[Int(id)] = next
      next -= 1
    }
    return scores
  }

  /// Whether a space is prepended to text.
  private static func prefixesSpace(_ pipeline: Pipeline) -> Bool {
    let isPrepended = pipeline.normalizers.contains { if case .prepend = $0 { true } else { false } }
    return isPrepended
      || pipeline.preTokenizers.contains {
        if case .metaspace(_, let scheme, _) = $0 { scheme != .never } else { false }
      }
  }

  /// End-of-turn tokens of the supported model families.
  private static let endsOfTurns = ["<|im_end|>", "<|eot_id|>", "<|end|>", "<end_of_turn>", "<turn|>"]

  private mutating func addRoles(of tokenizer: Tokenizer) {
    let special = tokenizer.specialTokens
    let around = tokenizer.pipeline.postProcessor
    addBOS = !around.before.isEmpty
    addEOS = !around.after.isEmpty
    bosID = around.before.count == 1 ? around.before[0] : special.bos?.id
    eosID = special.eos?.id
    unkID = special.unk?.id
    padID = special.pad?.id
    let end = Self.endsOfTurns.lazy.compactMap { tokenizer.id(of: $0) }.first { special.ids.contains($0) }
    eotID = end == eosID ? nil : end
    chatTemplate = tokenizer.chatTemplateSource
    namedTemplates = tokenizer.chatTemplateSources.filter { $0.key != "default" }
  }
}
