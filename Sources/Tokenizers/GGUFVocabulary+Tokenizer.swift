import Diagnostics

extension GGUFVocabulary {
  /// What a GGUF file says of `tokenizer`, for a model with `size` rows of embeddings; those without a token become
  /// `[PAD7]`, as llama.cpp's converter calls them.
  ///
  /// - Throws: `SwiftletError` for a tokenizer that llama.cpp has no like of.
  public init(_ tokenizer: Tokenizer, size: Int) throws(SwiftletError) {
    if case .gguf(let description) = tokenizer.source {
      self = description.metadata
      pad(to: size)
      return
    }
    guard case .bpe(let model) = tokenizer.pipeline.model else {
      throw SwiftletError.tokenizer(
        "This tokenizer is a Unigram model, which no GGUF model of the families known here has; export the weights of "
          + "a model with a BPE tokenizer.")
    }
    let isByteLevel = model.takesBytes
    guard isByteLevel || model.options.fallsBackToBytes else {
      throw SwiftletError.tokenizer(
        "This BPE tokenizer is neither byte-level nor falls back to bytes, so llama.cpp has no like of it; use the "
          + "model's original tokenizer.json.")
    }
    self.init(model: isByteLevel ? "gpt2" : "llama", tokens: [])
    addTokens(of: tokenizer, model)
    pad(to: size)
    let merges = model.merges.pairs
    if isByteLevel {
      preTokenizer = try GGUFPreTokenizer.name(of: tokenizer.pipeline, ignoresMerges: model.options.ignoresMerges)
      self.merges = merges.map { tokens[Int($0.left)] + " " + tokens[Int($0.right)] }
    } else {
      preTokenizer = "default"
      scores = Self.scores(merges.map(\.id), count: tokens.count)
      addSpacePrefix = Self.prefixesSpace(tokenizer.pipeline)
    }
    addRoles(of: tokenizer)
  }

  /// Whether a text of many kinds of words has the same ids by this vocabulary and by `tokenizer`.
  /// - Throws: `SwiftletError` where the vocabulary is broken.
  public func agrees(with tokenizer: Tokenizer) throws(SwiftletError) -> Bool {
    try Tokenizer(gguf: self).encode(GGUFPreTokenizer.probe) == tokenizer.encode(GGUFPreTokenizer.probe)
  }

  private mutating func addTokens(of tokenizer: Tokenizer, _ model: BytePairEncoding) {
    let added = Dictionary(tokenizer.pipeline.addedTokens.map { ($0.id, $0) }) { $1 }
    var kinds: [Int32] = []
    for id in 0..<tokenizer.vocabularySize {
      guard let text = tokenizer.token(Int32(truncatingIfNeeded: id)) else {
        tokens.append("[PAD\(id)]")
        kinds.append(Kind.unused)
        continue
      }
      if let token = added[Int32(truncatingIfNeeded: id)] {
        let isControl = token.isSpecial || Self.looksSpecial(text)
        // llama.cpp looks for user-defined tokens in the text as it stands.
        tokens.append(isControl ? text : text.replacing("\u{2581}", with: " "))
        kinds.append(isControl ? Kind.control : Kind.userDefined)
      } else {
        tokens.append(text)
        kinds.append(model.options.fallsBackToBytes && Self.isByteToken(text) ? Kind.byte : Kind.normal)
      }
    }
    tokenTypes = kinds
  }

  /// Some models call tokens that control them plain ones.
  private static func looksSpecial(_ text: String) -> Bool {
    ["<pad>", "<mask>", "<2mass>", "[@BOS@]"].contains(text)
      || [("<|", "|>"), ("<\u{FF5C}", "\u{FF5C}>"), ("<unused", ">")].contains {
        text.hasPrefix($0) && text.hasSuffix($1)
      }
  }

  /// `<0x0A>`
  private static func isByteToken(_ text: String) -> Bool {
    text.utf8.count == 6 && text.hasPrefix("<0x") && text.hasSuffix(">")
      && UInt8(text.dropFirst(3).dropLast(), radix: 16) != nil
  }

  private mutating func pad(to size: Int) {
    guard tokens.count < size else { return }
    let missing = tokens.count..<size
    tokens += missing.map { "[PAD\($0)]" }
    tokenTypes = tokenTypes.map { $0 + missing.map { _ in Kind.unused } }
    scores = scores.map { $0 + missing.map { _ in -10000 } }
  }

  /// SentencePiece merges by the scores of what merges become; the merges' own order gives scores that do the same.
  private static func scores(_ merged: [Int32], count: Int) -> [Float] {
    var scores = [Float](repeating: -1_000_000, count: count)
    var next: Float = 0
    for id in merged where scores[Int(id)] == -1_000_000 {
      scores[Int(id)] = next
      next -= 1
    }
    return scores
  }

  /// Whether a text is encoded as if a space stood before it.
  private static func prefixesSpace(_ pipeline: Pipeline) -> Bool {
    let isPrepended = pipeline.normalizers.contains { if case .prepend = $0 { true } else { false } }
    return isPrepended
      || pipeline.preTokenizers.contains {
        if case .metaspace(_, let scheme, _) = $0 { scheme != .never } else { false }
      }
  }

  /// Tokens that end turns in the templates of the families known here.
  private static let endsOfTurns = ["<|im_end|>", "<|eot_id|>", "<|end|>", "<end_of_turn>"]

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
