import Diagnostics
import Checkpoints
import Foundation
import OrderedJSON

/// The files of a tokenizer, by name, as they were read or built.
struct TokenizerFiles: Sendable {
  var contents: [(name: String, bytes: [UInt8])] = []

  subscript(name: String) -> [UInt8]? { contents.first { $0.name == name }?.bytes }

  static let tokenizer = "tokenizer.json"
  static let configuration = "tokenizer_config.json"
  static let specialTokensMap = "special_tokens_map.json"
  static let chatTemplate = "chat_template.jinja"
  /// Further templates stand here, one a file, named as they are.
  static let templateFolder = "additional_chat_templates"

  /// Reads those files of `directory` that there are.
  init(directory: URL) throws(SwiftletError) {
    for name in [Self.tokenizer, Self.configuration, Self.specialTokensMap, Self.chatTemplate] {
      try read(name, in: directory)
    }
    let folder = directory.appendingPathComponent(Self.templateFolder)
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
    for name in names.sorted() where name.hasSuffix(".jinja") {
      try read("\(Self.templateFolder)/\(name)", in: directory)
    }
  }

  init(_ contents: [(name: String, bytes: [UInt8])]) { self.contents = contents }

  private mutating func read(_ name: String, in directory: URL) throws(SwiftletError) {
    let url = directory.appendingPathComponent(name)
    guard FileManager.default.fileExists(atPath: url.path) else { return }
    do {
      contents.append((name, Array(try Data(contentsOf: url))))
    } catch {
      throw SwiftletError.tokenizer("\(url.path) cannot be read; check that it is a file you may read.")
    }
  }

  /// The file as JSON; `nil` where there is none.
  func json(_ name: String, place: String) throws(SwiftletError) -> ConfigurationValue? {
    guard let bytes = self[name] else { return nil }
    return try Self.json(bytes, place: place)
  }

  static func json(_ bytes: [UInt8], place: String) throws(SwiftletError) -> ConfigurationValue {
    do {
      return ConfigurationValue(value: try JSONValue(parsing: bytes), place: "\(place):")
    } catch {
      throw SwiftletError.tokenizer("\(place) is not valid JSON, \(error); fetch it again.")
    }
  }

  func text(_ name: String) -> String? { self[name].map { String(decoding: $0, as: UTF8.self) } }

  /// Writes all files; each is whole or not there at all.
  func write(to directory: URL) throws(SwiftletError) {
    for (name, bytes) in contents {
      let url = directory.appendingPathComponent(name)
      do {
        try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
        try AtomicFile.write(bytes, to: url)
      } catch {
        throw SwiftletError.tokenizer("\(url.path) cannot be written; check the folder's permissions and free space.")
      }
    }
  }
}

extension Tokenizer {
  /// Reads the tokenizer in a folder: `tokenizer.json`, and where there are such `tokenizer_config.json`,
  /// `special_tokens_map.json`, `chat_template.jinja` and `additional_chat_templates`.
  ///
  /// - Throws: `SwiftletError` naming the file and key.
  public convenience init(directory: URL) throws(SwiftletError) {
    try self.init(try TokenizerFiles(directory: directory), place: directory.path)
  }

  /// - Parameter place: where the files are, for messages.
  convenience init(_ files: TokenizerFiles, place: String) throws(SwiftletError) {
    func json(_ name: String) throws(SwiftletError) -> ConfigurationValue? {
      try files.json(name, place: "\(place)/\(name)")
    }
    guard let bytes = files[TokenizerFiles.tokenizer] else {
      throw SwiftletError.tokenizer(
        "\(place) holds no tokenizer.json; save it there with the tokenizer's save_pretrained.")
    }
    let scanned = TokenizerJSONScanner(bytes)
    let main = try TokenizerFiles.json(scanned?.rest ?? bytes, place: "\(place)/\(TokenizerFiles.tokenizer)")
    let configuration = try json(TokenizerFiles.configuration)
    let map = try json(TokenizerFiles.specialTokensMap)
    var pipeline = try Pipeline(main, scanned: scanned)
    try pipeline.add(configuration)
    let special = try SpecialTokens(pipeline, configuration, map)
    if main.member("post_processor") == nil, let configuration {
      try pipeline.addTokensAround(configuration, special)
    }
    self.init(
      pipeline, specialTokens: special, chatTemplates: try Self.chatTemplates(configuration, files),
      source: .files(files))
  }

  private static func chatTemplates(
    _ configuration: ConfigurationValue?, _ files: TokenizerFiles
  ) throws(SwiftletError) -> [String: String] {
    var templates: [String: String] = [:]
    if let member = configuration?.member("chat_template") {
      if let text = member.value.string {
        templates["default"] = text
      } else {
        for named in try member.elements() { templates[try named.string("name")] = try named.string("template") }
      }
    }
    for (name, bytes) in files.contents where name.hasSuffix(".jinja") {
      let text = String(decoding: bytes, as: UTF8.self)
      let stem = name.split(separator: "/").last.map { String($0.dropLast(".jinja".count)) } ?? name
      templates[name == TokenizerFiles.chatTemplate ? "default" : stem] = text
    }
    return templates
  }

  /// Writes the files the tokenizer was read from, unchanged; for one from a GGUF file, files that say the same.
  ///
  /// - Throws: `SwiftletError` naming the file that could not be written.
  public func write(to directory: URL) throws(SwiftletError) {
    switch source {
    case .files(let files): try files.write(to: directory)
    case .gguf(let description): try description.files().write(to: directory)
    }
  }
}

extension Pipeline {
  /// What a `tokenizer.json` describes.
  init(_ main: ConfigurationValue, scanned: TokenizerJSONScanner?) throws(SwiftletError) {
    try self.init(main) { endsInBytes throws(SwiftletError) in
      try Model(try main.required("model"), endsInBytes: endsInBytes, scanned: scanned)
    }
  }

  /// What a `tokenizer.json` describes, with a model made apart.
  ///
  /// - Parameter model: makes the model; told whether pre-tokenization ends by writing bytes in GPT-2's alphabet.
  init(_ main: ConfigurationValue, model: (Bool) throws(SwiftletError) -> Model) throws(SwiftletError) {
    normalizers = try main.member("normalizer").map { c throws(SwiftletError) in try Normalizer.steps(c) } ?? []
    preTokenizers = try main.member("pre_tokenizer").map { c throws(SwiftletError) in try PreTokenizer.steps(c) } ?? []
    var endsInBytes = false
    if case .byteAlphabet? = preTokenizers.last { endsInBytes = true }
    self.model = try model(endsInBytes)
    postProcessor =
      try main.member("post_processor").map { c throws(SwiftletError) in try PostProcessor(c) } ?? PostProcessor()
    decoder = try main.member("decoder").map { c throws(SwiftletError) in try DecoderStep.steps(c) }
    for element in try main.member("added_tokens")?.elements() ?? [] { addedTokens.append(try AddedToken(element)) }
  }

  /// Adds what `added_tokens_decoder` of `tokenizer_config.json` has beyond `tokenizer.json`, as transformers does.
  mutating func add(_ configuration: ConfigurationValue?) throws(SwiftletError) {
    guard let decoder = configuration?.member("added_tokens_decoder") else { return }
    let known = Set(addedTokens.map(\.content))
    for key in try decoder.object().keys {
      let element = try decoder.required(key)
      guard case .object(var object) = element.value else { throw element.error("must be an object") }
      object["id"] = Int(key).map { .integer($0) } ?? .null
      let token = try AddedToken(ConfigurationValue(value: .object(object), place: element.place))
      if !known.contains(token.content) { addedTokens.append(token) }
    }
  }

  /// Puts BOS and EOS around texts where `tokenizer_config.json` asks for it and `tokenizer.json` says nothing.
  mutating func addTokensAround(_ configuration: ConfigurationValue, _ special: SpecialTokens) throws(SwiftletError) {
    if try configuration.bool("add_bos_token", default: false), let bos = special.bos {
      postProcessor.before.append(bos.id)
    }
    if try configuration.bool("add_eos_token", default: false), let eos = special.eos {
      postProcessor.after.append(eos.id)
    }
  }
}

extension SpecialTokens {
  /// The roles that `tokenizer_config.json` gives, or else `special_tokens_map.json`.
  init(
    _ pipeline: Pipeline, _ configuration: ConfigurationValue?, _ map: ConfigurationValue?
  ) throws(SwiftletError) {
    func id(_ text: String) -> Int32? {
      let bytes = Array(text.utf8)
      return pipeline.addedTokens.last { $0.content == bytes }?.id ?? pipeline.model.vocabulary.id(of: text)
    }
    func text(_ value: ConfigurationValue) throws(SwiftletError) -> String {
      if case .object = value.value { return try value.string("content") }
      return try value.string()
    }
    func token(_ role: String) throws(SwiftletError) -> Token? {
      guard let value = configuration?.member(role) ?? map?.member(role) else { return nil }
      let text = try text(value)
      return id(text).map { Token(text: text, id: $0) }
    }
    bos = try token("bos_token")
    eos = try token("eos_token")
    pad = try token("pad_token")
    unk = try token("unk_token")
    ids = Set(pipeline.addedTokens.filter(\.isSpecial).map(\.id))
    for role in [bos, eos, pad, unk] { if let role { ids.insert(role.id) } }
    let further = configuration?.member("additional_special_tokens") ?? map?.member("additional_special_tokens")
    for element in try further?.elements() ?? [] {
      if let id = id(try text(element)) { ids.insert(id) }
    }
  }
}
