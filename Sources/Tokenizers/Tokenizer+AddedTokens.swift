import Diagnostics
import Essentials
import OrderedJSON

extension AddedToken {
  /// A token to be added, as transformers' `add_tokens` and `add_special_tokens` make it of a string. It has no id yet.
  package init(_ text: String, isSpecial: Bool) {
    self.init(id: -1, content: Array(text.utf8))
    self.isSpecial = isSpecial
    isNormalized = !isSpecial
  }
}

extension Tokenizer {
  /// The tokenizer with more added tokens, whose ids follow those that it has. A text that is in the vocabulary already
  /// keeps its id, and is from now on matched as a whole.
  /// - Returns: the tokenizer, and the ids that are new.
  /// - Throws: `SwiftletError` for an empty or overlong token, or too many.
  package func adding(_ tokens: [AddedToken]) throws(SwiftletError) -> (tokenizer: Tokenizer, newIDs: [Int32]) {
    if case .gguf(let conversion) = source {
      var vocabulary = conversion.vocabulary
      let newIDs = try vocabulary.add(tokens)
      return (try Tokenizer(gguf: vocabulary), newIDs)
    }
    var pipeline = pipeline
    var special = specialTokens
    var added: [AddedToken] = []
    var newIDs: [Int32] = []
    var size = vocabularySize
    for var token in tokens {
      try token.check(below: size)
      if let place = pipeline.addedTokens.lastIndex(where: { $0.content == token.content }) {
        guard token.isSpecial, !pipeline.addedTokens[place].isSpecial else { continue }
        token = pipeline.addedTokens[place]
        token.isSpecial = true
        pipeline.addedTokens[place] = token
      } else {
        if let id = pipeline.model.vocabulary.id(of: token.content) {
          token.id = id
        } else {
          token.id = Int32(size)
          newIDs.append(token.id)
          size += 1
        }
        pipeline.addedTokens.append(token)
      }
      if token.isSpecial { special.ids.insert(token.id) }
      added.append(token)
    }
    var source = source
    if case .files(var files) = source {
      files.addedTokens += added
      source = .files(files)
    }
    let tokenizer = Tokenizer(pipeline, specialTokens: special, chatTemplates: chatTemplateSources, source: source)
    return (tokenizer, newIDs)
  }

  /// The tokens that are matched before pre-tokenization.
  package var addedTokens: [AddedToken] { pipeline.addedTokens }

  /// Those of another tokenizer's tokens that this one lacks, in the order of their ids.
  package func lackedTokens(among tokens: [AddedToken]) -> [AddedToken] {
    tokens.filter { id(of: $0.text) == nil }.sorted { $0.id < $1.id }
  }

  /// Tokens that fill the vocabulary up to a multiple of `count`: `<extra_id_0>` and so on, as TRL names them.
  package func fillers(toMultipleOf count: Int) -> [AddedToken] {
    let missing = (count - vocabularySize % count) % count
    // Some of the names may be taken.
    let names = (0...).lazy.map { "<extra_id_\($0)>" }.filter { self.id(of: $0) == nil }
    return names.prefix(missing).map { AddedToken($0, isSpecial: false) }
  }

  /// The added tokens of the tokenizer in a folder that this one lacks, in the order of their ids; none if the folder has no
  /// tokenizer.
  /// - Throws: `SwiftletError` if the file can't be read.
  package func addedTokens(of directory: URL) throws(SwiftletError) -> [AddedToken] {
    let files = try TokenizerFiles(directory: directory)
    guard let bytes = files[TokenizerFiles.tokenizer] else { return [] }
    let path = directory.appendingPathComponent(TokenizerFiles.tokenizer).path
    let main = try TokenizerFiles.json(TokenizerJSONScanner(bytes)?.rest ?? bytes, path: path)
    let elements = try main.member("added_tokens")?.elements() ?? []
    return lackedTokens(among: try elements.map { element throws(SwiftletError) in try AddedToken(element) })
  }
}

extension AddedToken {
  /// Checks that it can be added to a vocabulary of `size` tokens.
  fileprivate func check(below size: Int) throws(SwiftletError) {
    guard (1...ConfigurationValue.maxLiteralLength).contains(content.count) else {
      throw SwiftletError.tokenizer(
        "the token \(text.quotedExcerpt) can't be added: it has \(content.count) bytes; give it between 1 and "
          + "\(ConfigurationValue.maxLiteralLength)")
    }
    guard size < Vocabulary.idLimit else {
      throw SwiftletError.tokenizer("no token can be added: there are \(Vocabulary.idLimit) already")
    }
  }
}

extension GGUFVocabulary {
  /// Adds tokens to the vocabulary. They take the place of what only fills it up to the size of the embedding.
  /// - Returns: the ids that are new.
  fileprivate mutating func add(_ added: [AddedToken]) throws(SwiftletError) -> [Int32] {
    var types = tokenTypes ?? [Int32](repeating: TokenType.normal, count: tokens.count)
    while let last = tokens.last, last == "[PAD\(tokens.count - 1)]", types.last == TokenType.unused {
      tokens.removeLast()
      types.removeLast()
      if scores?.isEmpty == false { scores?.removeLast() }
    }
    var newIDs: [Int32] = []
    for token in added {
      try token.check(below: tokens.count)
      let type = token.isSpecial ? TokenType.control : TokenType.userDefined
      if let id = tokens.firstIndex(where: { $0.utf8.elementsEqual(token.content) }) {
        if types[id] != TokenType.control { types[id] = type }
        continue
      }
      newIDs.append(Int32(tokens.count))
      tokens.append(token.text)
      types.append(type)
      // As llama.cpp's converter does.
      scores?.append(-1000)
    }
    tokenTypes = types
    return newIDs
  }
}

extension TokenizerFiles {
  /// The files with the added tokens in them.
  func withAddedTokens(path: String) throws(SwiftletError) -> TokenizerFiles {
    guard !addedTokens.isEmpty else { return self }
    var files = self
    files.addedTokens = []
    for index in contents.indices {
      let (name, bytes) = contents[index]
      guard [Self.tokenizer, Self.configuration, Self.specialTokensMap].contains(name),
        var json = try Self.json(bytes, path: "\(path)/\(name)").value.object
      else { continue }
      switch name {
      case Self.tokenizer: addToList(&json, "added_tokens", addedTokens.map(\.json))
      case Self.configuration: addToConfiguration(&json)
      default: addSpecialTexts(&json)
      }
      files.contents[index].bytes = Array((JSONValue.object(json).text(.pretty) + "\n").utf8)
    }
    return files
  }

  /// Tokens replace those that have their ids.
  private func addToList(_ json: inout JSONObject, _ key: String, _ tokens: [JSONValue]) {
    let ids = Set(addedTokens.map { Int($0.id) })
    let kept = (json[key]?.array ?? []).filter { element in element["id"]?.integer.map { !ids.contains($0) } ?? true }
    json[key] = .array(kept + tokens)
  }

  /// Earlier versions of transformers list all added tokens in `added_tokens_decoder`.
  private func addToConfiguration(_ json: inout JSONObject) {
    if var decoder = json["added_tokens_decoder"]?.object {
      for token in addedTokens {
        guard var element = token.json.object else { continue }
        element["id"] = nil
        decoder["\(token.id)"] = .object(element)
      }
      json["added_tokens_decoder"] = .object(decoder)
    }
    addSpecialTexts(&json)
  }

  /// Version 4 of transformers calls the list `additional_special_tokens`, and version 5 `extra_special_tokens`, but it reads
  /// both.
  private func addSpecialTexts(_ json: inout JSONObject) {
    let texts = addedTokens.filter(\.isSpecial).map { JSONValue.string($0.text) }
    guard !texts.isEmpty else { return }
    let key = json["extra_special_tokens"]?.array == nil ? "additional_special_tokens" : "extra_special_tokens"
    let known = json[key]?.array ?? []
    func bytes(_ value: JSONValue) -> [UInt8] { Array((value.string ?? value["content"]?.string ?? "").utf8) }
    let listed = Set(known.map(bytes))
    json[key] = .array(known + texts.filter { !listed.contains(bytes($0)) })
  }
}
