import Diagnostics
import OrderedJSON

extension Tokenizer {
  /// The tokenizer of a GGUF vocabulary: byte-level BPE (`gpt2`) or SentencePiece BPE (`llama`, `gemma4`).
  /// - Throws: `SwiftletError` if a key is missing, invalid or not supported.
  public convenience init(gguf vocabulary: GGUFVocabulary) throws(SwiftletError) {
    let conversion = try GGUFConversion(vocabulary)
    let main = ConfigurationValue(conversion.skeleton, file: conversion.path)
    let pipeline = try Pipeline(main) { _ throws(SwiftletError) in .bpe(try conversion.model()) }
    let configuration = ConfigurationValue(conversion.configuration, file: conversion.path)
    let special = try SpecialTokens(pipeline, configuration, nil)
    self.init(
      pipeline, specialTokens: special, chatTemplates: vocabulary.chatTemplate.map { ["default": $0] } ?? [:],
      source: .gguf(conversion))
  }
}

/// A GGUF vocabulary converted to the terms of `tokenizer.json`.
struct GGUFConversion: Sendable {
  let vocabulary: GGUFVocabulary
  private let merges: MergeList
  private let options: BytePairEncoding.Options
  private let isByteLevel: Bool
  /// `tokenizer.json` without its `model`.
  private(set) var skeleton: JSONValue = nil
  /// `tokenizer_config.json`.
  private(set) var configuration: JSONValue = nil
  private(set) var addedTokens: [AddedToken] = []

  private typealias TokenType = GGUFVocabulary.TokenType

  /// The path of the GGUF file, for errors.
  var path: String { vocabulary.path ?? "GGUF vocabulary" }

  init(_ vocabulary: GGUFVocabulary) throws(SwiftletError) {
    self.vocabulary = vocabulary
    let count = vocabulary.tokens.count
    guard (1...Vocabulary.idLimit).contains(count) else {
      throw Self.error(
        vocabulary, "tokenizer.ggml.tokens has \(count) tokens; between 1 and \(Vocabulary.idLimit) are supported")
    }
    if let types = vocabulary.tokenTypes, types.count != count {
      throw Self.error(vocabulary, "tokenizer.ggml.token_type has \(types.count) elements for \(count) tokens")
    }
    let steps: Steps
    switch vocabulary.model {
    case "gpt2": (steps, options, merges) = try Self.byteLevel(vocabulary)
    case "llama": (steps, options, merges) = try Self.sentencePiece(vocabulary)
    case "gemma4": (steps, options, merges) = try Self.gemma(vocabulary)
    default:
      throw Self.error(
        vocabulary,
        "tokenizer.ggml.model \(vocabulary.model.quotedExcerpt) is not supported; supported are gpt2, llama and gemma4")
    }
    isByteLevel = vocabulary.model == "gpt2"
    addedTokens = try Self.addedTokens(vocabulary)
    let bos = steps.addsBOS ? try role(vocabulary.bosID, "bos_token_id") : nil
    let eos = vocabulary.addEOS ?? false ? try role(vocabulary.eosID, "eos_token_id") : nil
    skeleton = [
      "version": "1.0", "truncation": nil, "padding": nil, "added_tokens": .array(addedTokens.map(\.json)),
      "normalizer": steps.normalizer, "pre_tokenizer": steps.preTokenizer,
      "post_processor": Self.template(bos, eos), "decoder": steps.decoder,
    ]
    configuration = try tokenizerConfiguration(addsBOS: bos != nil, addsEOS: eos != nil)
  }

  private static func error(_ vocabulary: GGUFVocabulary, _ problem: String) -> SwiftletError {
    .tokenizer(problem, path: vocabulary.path ?? "GGUF vocabulary")
  }

  /// The components that depend on `tokenizer.ggml.model`.
  private struct Steps {
    var normalizer: JSONValue = nil
    var preTokenizer: JSONValue = nil
    var decoder: JSONValue
    var addsBOS: Bool
  }

  private typealias Parts = (Steps, BytePairEncoding.Options, MergeList)

  private static func byteLevel(_ vocabulary: GGUFVocabulary) throws(SwiftletError) -> Parts {
    guard let rules = GGUFPreTokenizer(vocabulary.preTokenizer) else {
      throw error(
        vocabulary,
        "tokenizer.ggml.pre \((vocabulary.preTokenizer ?? "").quotedExcerpt) is not supported; supported are "
          + GGUFPreTokenizer.supported)
    }
    var options = BytePairEncoding.Options()
    options.ignoresMerges = rules.ignoresMerges
    let decoder: JSONValue = ["type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true]
    let steps = Steps(
      normalizer: rules.normalizer, preTokenizer: rules.json, decoder: decoder,
      addsBOS: vocabulary.addBOS ?? rules.addsBOS)
    return (steps, options, try listedMerges(vocabulary))
  }

  private static func sentencePiece(_ vocabulary: GGUFVocabulary) throws(SwiftletError) -> Parts {
    guard let scores = vocabulary.scores, scores.count == vocabulary.tokens.count else {
      throw error(
        vocabulary,
        "tokenizer.ggml.scores has \(vocabulary.scores?.count ?? 0) elements for \(vocabulary.tokens.count) tokens")
    }
    guard scores.allSatisfy(\.isFinite) else {
      throw error(vocabulary, "tokenizer.ggml.scores contains a value that is not finite")
    }
    let merges = SentencePieceMerges.make(vocabulary.tokens, scores: scores) { id in
      [TokenType.normal, TokenType.userDefined].contains(vocabulary.tokenTypes?[id] ?? TokenType.normal)
    }
    let prefixes = vocabulary.addSpacePrefix ?? true
    return (spaceSteps(prefixes: prefixes, addsBOS: vocabulary.addBOS ?? true), spaceOptions(vocabulary), merges)
  }

  /// Gemma 4 has a list of merges. They apply across words but not across line breaks.
  private static func gemma(_ vocabulary: GGUFVocabulary) throws(SwiftletError) -> Parts {
    var steps = spaceSteps(prefixes: vocabulary.addSpacePrefix ?? false, addsBOS: vocabulary.addBOS ?? true)
    steps.preTokenizer = [
      "type": "Split", "pattern": ["Regex": #"[^\n]+|[\n]+"#], "behavior": "Isolated", "invert": false,
    ]
    return (steps, spaceOptions(vocabulary), try listedMerges(vocabulary))
  }

  private static func spaceSteps(prefixes: Bool, addsBOS: Bool) -> Steps {
    let space: JSONValue = ["String": " "]
    let mark: JSONValue = "\u{2581}"
    let replace: JSONValue = ["type": "Replace", "pattern": space, "content": mark]
    let prepend: [JSONValue] = prefixes ? [["type": "Prepend", "prepend": mark]] : []
    let strip: [JSONValue] = prefixes ? [["type": "Strip", "content": " ", "start": 1, "stop": 0]] : []
    return Steps(
      normalizer: ["type": "Sequence", "normalizers": .array(prepend + [replace])],
      decoder: [
        "type": "Sequence",
        "decoders": .array(
          [
            ["type": "Replace", "pattern": ["String": mark], "content": " "], ["type": "ByteFallback"],
            ["type": "Fuse"],
          ] + strip),
      ],
      addsBOS: addsBOS)
  }

  private static func spaceOptions(_ vocabulary: GGUFVocabulary) -> BytePairEncoding.Options {
    var options = BytePairEncoding.Options()
    options.fallsBackToBytes = true
    options.fusesUnknown = true
    if let id = vocabulary.unkID, vocabulary.tokens.indices.contains(Int(id)) {
      options.unknownToken = vocabulary.tokens[Int(id)]
    }
    return options
  }

  private static func listedMerges(_ vocabulary: GGUFVocabulary) throws(SwiftletError) -> MergeList {
    guard let merges = vocabulary.merges else {
      throw GGUFVocabulary.missing("tokenizer.ggml.merges", vocabulary.path)
    }
    var list = MergeList()
    for (index, merge) in merges.enumerated() {
      guard list.append(spaced: Array(merge.utf8)[...]) else {
        throw error(
          vocabulary,
          "tokenizer.ggml.merges[\(index)] must be two tokens separated by a space (got \(merge.quotedExcerpt))")
      }
    }
    return list
  }

  private static func addedTokens(_ vocabulary: GGUFVocabulary) throws(SwiftletError) -> [AddedToken] {
    guard let types = vocabulary.tokenTypes else { return [] }
    let name = vocabulary.modelName?.lowercased() ?? ""
    let isPhi3 = name.contains("phi-3") || name.contains("phi3")
    var tokens: [AddedToken] = []
    for (id, type) in types.enumerated()
    where type == TokenType.control || type == TokenType.userDefined || type == TokenType.unknown {
      let text = vocabulary.tokens[id]
      if text.utf8.isEmpty { continue }
      guard text.utf8.count <= ConfigurationValue.maxLiteralLength else {
        throw error(
          vocabulary, "tokenizer.ggml.tokens[\(id)] is longer than \(ConfigurationValue.maxLiteralLength) bytes")
      }
      var token = AddedToken(id: Int32(truncatingIfNeeded: id), content: Array(text.utf8))
      token.isSpecial = type != TokenType.userDefined
      token.stripsRight = isPhi3 && !["<unk>", "<s>", "<|endoftext|>"].contains(text)
      tokens.append(token)
    }
    return tokens
  }

  /// The special token whose id is stored under `key`.
  private func role(_ id: Int32?, _ key: String) throws(SwiftletError) -> (text: String, id: Int32)? {
    guard let id else { return nil }
    guard vocabulary.tokens.indices.contains(Int(id)) else {
      throw Self.error(
        vocabulary, "tokenizer.ggml.\(key) is \(id) but there are only \(vocabulary.tokens.count) tokens")
    }
    return (vocabulary.tokens[Int(id)], id)
  }

  private static func template(_ bos: (text: String, id: Int32)?, _ eos: (text: String, id: Int32)?) -> JSONValue {
    if bos == nil, eos == nil { return nil }
    func single(_ type: Int) -> [JSONValue] {
      func piece(_ token: (text: String, id: Int32)?) -> [JSONValue] {
        token.map { [["SpecialToken": ["id": .string($0.text), "type_id": .integer(type)]]] } ?? []
      }
      let text: JSONValue = ["Sequence": ["id": type == 0 ? "A" : "B", "type_id": .integer(type)]]
      return piece(bos) + [text] + piece(eos)
    }
    var special = JSONObject()
    for token in [bos, eos] {
      guard let token else { continue }
      special[token.text] = [
        "id": .string(token.text), "ids": [.integer(Int(token.id))], "tokens": [.string(token.text)],
      ]
    }
    return [
      "type": "TemplateProcessing", "single": .array(single(0)), "pair": .array(single(0) + single(1)),
      "special_tokens": .object(special),
    ]
  }

  private func tokenizerConfiguration(addsBOS: Bool, addsEOS: Bool) throws(SwiftletError) -> JSONValue {
    func text(_ id: Int32?, _ key: String) throws(SwiftletError) -> JSONValue {
      try role(id, key).map { .string($0.text) } ?? nil
    }
    return [
      "add_bos_token": .bool(addsBOS), "add_eos_token": .bool(addsEOS),
      "bos_token": try text(vocabulary.bosID, "bos_token_id"), "eos_token": try text(vocabulary.eosID, "eos_token_id"),
      "pad_token": try text(vocabulary.padID, "padding_token_id"),
      "unk_token": try text(vocabulary.unkID, "unknown_token_id"),
      "clean_up_tokenization_spaces": false,
      // This class reads tokenizer.json unchanged; model-specific classes rebuild parts of it.
      "tokenizer_class": "PreTrainedTokenizerFast",
    ]
  }

  func model() throws(SwiftletError) -> BytePairEncoding {
    let tokens = Vocabulary(vocabulary.tokens)
    let (table, splits) = try merges.resolved(
      in: tokens, prefix: "", ConfigurationValue(nil, file: path, keyPath: "tokenizer.ggml.merges"))
    return BytePairEncoding(
      vocabulary: tokens, merges: table, options: options, takesBytes: isByteLevel,
      splitsBeforeMetaspace: splits)
  }

  /// `tokenizer.json`, `tokenizer_config.json`, `special_tokens_map.json` and `chat_template.jinja`.
  func files() -> TokenizerFiles {
    let ids = JSONObject(vocabulary.tokens.enumerated().map { ($1, JSONValue.integer($0)) })
    let pairs = (0..<merges.count).map { index -> JSONValue in
      [.string(merges.strings.text(2 * index)), .string(merges.strings.text(2 * index + 1))]
    }
    var whole = skeleton.object ?? JSONObject()
    whole["model"] = [
      "type": "BPE", "dropout": nil, "unk_token": options.unknownToken.map { .string($0) } ?? nil,
      "continuing_subword_prefix": nil, "end_of_word_suffix": nil, "fuse_unk": .bool(options.fusesUnknown),
      "byte_fallback": .bool(options.fallsBackToBytes), "ignore_merges": .bool(options.ignoresMerges),
      "vocab": .object(ids), "merges": .array(pairs),
    ]
    var map = JSONObject()
    for key in ["bos_token", "eos_token", "pad_token", "unk_token"] {
      if let value = configuration[key], !value.isNull { map[key] = value }
    }
    func bytes(_ value: JSONValue) -> [UInt8] { Array((value.text(.pretty) + "\n").utf8) }
    var contents = [
      (TokenizerFiles.tokenizer, bytes(.object(whole))), (TokenizerFiles.configuration, bytes(configuration)),
      (TokenizerFiles.specialTokensMap, bytes(.object(map))),
    ]
    if let template = vocabulary.chatTemplate { contents.append((TokenizerFiles.chatTemplate, Array(template.utf8))) }
    return TokenizerFiles(contents)
  }
}
