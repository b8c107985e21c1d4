import Diagnostics
import OrderedJSON

extension Tokenizer {
  /// The tokenizer that a GGUF file's vocabulary describes: byte-level BPE (`gpt2`) or SentencePiece BPE (`llama`,
  /// `gemma4`).
  ///
  /// - Throws: `SwiftletError` naming the key that is missing or not understood.
  public convenience init(gguf metadata: GGUFVocabulary) throws(SwiftletError) {
    let description = try GGUFDescription(metadata)
    let place = "The GGUF file's vocabulary"
    let main = ConfigurationValue(value: description.skeleton, place: "\(place):")
    let pipeline = try Pipeline(main) { _ throws(SwiftletError) in .bpe(try description.model()) }
    let configuration = ConfigurationValue(value: description.configuration, place: "\(place):")
    let special = try SpecialTokens(pipeline, configuration, nil)
    self.init(
      pipeline, specialTokens: special, chatTemplates: metadata.chatTemplate.map { ["default": $0] } ?? [:],
      source: .gguf(description))
  }
}

/// A GGUF vocabulary in the terms of `tokenizer.json`.
struct GGUFDescription: Sendable {
  let metadata: GGUFVocabulary
  private let merges: MergeList
  private let options: BytePairEncoding.Options
  private let isByteLevel: Bool
  /// Everything of `tokenizer.json` but tokens and merges.
  private(set) var skeleton: JSONValue = nil
  /// `tokenizer_config.json`.
  private(set) var configuration: JSONValue = nil
  private(set) var addedTokens: [AddedToken] = []

  private typealias Kind = GGUFVocabulary.Kind

  init(_ metadata: GGUFVocabulary) throws(SwiftletError) {
    self.metadata = metadata
    let count = metadata.tokens.count
    guard count > 0, count <= Vocabulary.idLimit else {
      throw SwiftletError.tokenizer(
        "tokenizer.ggml.tokens holds \(count) tokens; use a GGUF file with a whole vocabulary.")
    }
    if let types = metadata.tokenTypes, types.count != count {
      throw SwiftletError.tokenizer(
        "tokenizer.ggml.token_type holds \(types.count) kinds for \(count) tokens; use a file that is not damaged.")
    }
    let steps: Steps
    switch metadata.model {
    case "gpt2": (steps, options, merges) = try Self.byteLevel(metadata)
    case "llama": (steps, options, merges) = try Self.sentencePiece(metadata)
    case "gemma4": (steps, options, merges) = try Self.gemma(metadata)
    default:
      throw SwiftletError.tokenizer(
        "tokenizer.ggml.model is \(metadata.model), which Swiftlet does not know; it knows gpt2, llama and gemma4.")
    }
    isByteLevel = metadata.model == "gpt2"
    addedTokens = Self.addedTokens(metadata)
    let bos = steps.addsBOS ? try role(metadata.bosID, "bos_token_id") : nil
    let eos = metadata.addEOS ?? false ? try role(metadata.eosID, "eos_token_id") : nil
    skeleton = [
      "version": "1.0", "truncation": nil, "padding": nil, "added_tokens": .array(addedTokens.map(\.json)),
      "normalizer": steps.normalizer, "pre_tokenizer": steps.preTokenizer,
      "post_processor": Self.template(bos, eos), "decoder": steps.decoder,
    ]
    configuration = try tokenizerConfiguration(addsBOS: bos != nil, addsEOS: eos != nil)
  }

  /// The parts that differ between kinds of vocabularies.
  private struct Steps {
    var normalizer: JSONValue = nil
    var preTokenizer: JSONValue = nil
    var decoder: JSONValue
    var addsBOS: Bool
  }

  private typealias Parts = (Steps, BytePairEncoding.Options, MergeList)

  private static func byteLevel(_ metadata: GGUFVocabulary) throws(SwiftletError) -> Parts {
    guard let rules = GGUFPreTokenizer(metadata.preTokenizer) else {
      throw SwiftletError.tokenizer(
        "tokenizer.ggml.pre is \(metadata.preTokenizer ?? ""), which Swiftlet does not know; it knows "
          + "\(GGUFPreTokenizer.known).")
    }
    var options = BytePairEncoding.Options()
    options.ignoresMerges = rules.ignoresMerges
    let decoder: JSONValue = ["type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true]
    let steps = Steps(
      normalizer: rules.normalizer, preTokenizer: rules.json, decoder: decoder,
      addsBOS: metadata.addBOS ?? rules.addsBOS)
    return (steps, options, try listedMerges(metadata))
  }

  private static func sentencePiece(_ metadata: GGUFVocabulary) throws(SwiftletError) -> Parts {
    guard let scores = metadata.scores, scores.count == metadata.tokens.count else {
      throw SwiftletError.tokenizer(
        "tokenizer.ggml.scores holds \(metadata.scores?.count ?? 0) scores for \(metadata.tokens.count) tokens; "
          + "use a file that is not damaged.")
    }
    let merges = SentencePieceMerges.make(metadata.tokens, scores: scores) { id in
      [Kind.normal, Kind.userDefined].contains(metadata.tokenTypes?[id] ?? Kind.normal)
    }
    let prefixes = metadata.addSpacePrefix ?? true
    return (spaceSteps(prefixes: prefixes, addsBOS: metadata.addBOS ?? true), spaceOptions(metadata), merges)
  }

  /// Gemma 4 lists its merges, and merges across words, but not across line breaks.
  private static func gemma(_ metadata: GGUFVocabulary) throws(SwiftletError) -> Parts {
    var steps = spaceSteps(prefixes: metadata.addSpacePrefix ?? false, addsBOS: metadata.addBOS ?? true)
    steps.preTokenizer = [
      "type": "Split", "pattern": ["Regex": #"[^\n]+|[\n]+"#], "behavior": "Isolated", "invert": false,
    ]
    return (steps, spaceOptions(metadata), try listedMerges(metadata))
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

  private static func spaceOptions(_ metadata: GGUFVocabulary) -> BytePairEncoding.Options {
    var options = BytePairEncoding.Options()
    options.fallsBackToBytes = true
    options.fusesUnknown = true
    if let id = metadata.unkID, metadata.tokens.indices.contains(Int(id)) {
      options.unknownToken = metadata.tokens[Int(id)]
    }
    return options
  }

  private static func listedMerges(_ metadata: GGUFVocabulary) throws(SwiftletError) -> MergeList {
    guard let merges = metadata.merges else {
      throw SwiftletError.tokenizer("The GGUF file has no tokenizer.ggml.merges; use one that holds its tokenizer.")
    }
    var list = MergeList()
    for (index, merge) in merges.enumerated() {
      guard list.append(spaced: Array(merge.utf8)[...]) else {
        throw SwiftletError.tokenizer(
          "tokenizer.ggml.merges[\(index)] is \"\(merge)\", but must be two tokens and one space.")
      }
    }
    return list
  }

  private static func addedTokens(_ metadata: GGUFVocabulary) -> [AddedToken] {
    guard let types = metadata.tokenTypes else { return [] }
    let name = metadata.modelName?.lowercased() ?? ""
    let isPhi3 = name.contains("phi-3") || name.contains("phi3")
    var tokens: [AddedToken] = []
    for (id, type) in types.enumerated()
    where type == Kind.control || type == Kind.userDefined || type == Kind.unknown {
      let text = metadata.tokens[id]
      if text.utf8.isEmpty { continue }
      var token = AddedToken(id: Int32(truncatingIfNeeded: id), content: Array(text.utf8))
      token.isSpecial = type != Kind.userDefined
      token.stripsRight = isPhi3 && !["<unk>", "<s>", "<|endoftext|>"].contains(text)
      tokens.append(token)
    }
    return tokens
  }

  /// The text of the token that `key` names.
  private func role(_ id: Int32?, _ key: String) throws(SwiftletError) -> (text: String, id: Int32)? {
    guard let id else { return nil }
    guard metadata.tokens.indices.contains(Int(id)) else {
      throw SwiftletError.tokenizer(
        "tokenizer.ggml.\(key) is \(id), but there are \(metadata.tokens.count) tokens; use a file that is not damaged."
      )
    }
    return (metadata.tokens[Int(id)], id)
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
      "bos_token": try text(metadata.bosID, "bos_token_id"), "eos_token": try text(metadata.eosID, "eos_token_id"),
      "pad_token": try text(metadata.padID, "padding_token_id"),
      "unk_token": try text(metadata.unkID, "unknown_token_id"),
      "clean_up_tokenization_spaces": false,
      // The class that reads tokenizer.json as it stands; those named after models rebuild parts of it.
      "tokenizer_class": "PreTrainedTokenizerFast",
    ]
  }

  func model() throws(SwiftletError) -> BytePairEncoding {
    let vocabulary = Vocabulary(metadata.tokens)
    let (table, splits) = try merges.resolved(in: vocabulary, prefix: "", place: "tokenizer.ggml.merges")
    return BytePairEncoding(
      vocabulary: vocabulary, merges: table, options: options, takesBytes: isByteLevel,
      splitsBeforeMetaspace: splits)
  }

  /// `tokenizer.json`, `tokenizer_config.json`, `special_tokens_map.json` and `chat_template.jinja`.
  func files() -> TokenizerFiles {
    var vocabulary = JSONObject()
    var members: [(String, JSONValue)] = []
    for (id, token) in metadata.tokens.enumerated() { members.append((token, .integer(id))) }
    vocabulary = JSONObject(members)
    let pairs = (0..<merges.count).map { index -> JSONValue in
      [.string(merges.strings.text(2 * index)), .string(merges.strings.text(2 * index + 1))]
    }
    var whole = skeleton.object ?? JSONObject()
    whole["model"] = [
      "type": "BPE", "dropout": nil, "unk_token": options.unknownToken.map { .string($0) } ?? nil,
      "continuing_subword_prefix": nil, "end_of_word_suffix": nil, "fuse_unk": .bool(options.fusesUnknown),
      "byte_fallback": .bool(options.fallsBackToBytes), "ignore_merges": .bool(options.ignoresMerges),
      "vocab": .object(vocabulary), "merges": .array(pairs),
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
    if let template = metadata.chatTemplate { contents.append((TokenizerFiles.chatTemplate, Array(template.utf8))) }
    return TokenizerFiles(contents)
  }
}

extension AddedToken {
  /// An element of `added_tokens`.
  fileprivate var json: JSONValue {
    [
      "id": .integer(Int(id)), "content": .string(String(decoding: content, as: UTF8.self)),
      "single_word": .bool(isSingleWord), "lstrip": .bool(stripsLeft), "rstrip": .bool(stripsRight),
      "normalized": .bool(isNormalized), "special": .bool(isSpecial),
    ]
  }
}
