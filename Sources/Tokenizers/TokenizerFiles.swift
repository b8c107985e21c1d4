import Diagnostics
import Checkpoints
import Essentials
import OrderedJSON

/// The contents of a tokenizer's files, by name.
struct TokenizerFiles: Sendable {
  var contents: [(name: String, bytes: [UInt8])] = []
  /// Tokens that the files are to get when they are written.
  var addedTokens: [AddedToken] = []

  subscript(name: String) -> [UInt8]? { contents.first { $0.name == name }?.bytes }

  static let tokenizer = "tokenizer.json"
  static let configuration = "tokenizer_config.json"
  static let specialTokensMap = "special_tokens_map.json"
  static let chatTemplate = "chat_template.jinja"
  /// The folder of named chat templates, one `NAME.jinja` file per template.
  static let templateFolder = "additional_chat_templates"

  /// Reads the files that exist in `directory`.
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
    contents.append((name, try RegularFile.contents(of: url, domain: .tokenizer)))
  }

  /// The JSON in file `name`, or `nil` if there is no such file. `path` is for errors.
  func json(_ name: String, path: String) throws(SwiftletError) -> ConfigurationValue? {
    guard let bytes = self[name] else { return nil }
    return try Self.json(bytes, path: path)
  }

  static func json(_ bytes: [UInt8], path: String) throws(SwiftletError) -> ConfigurationValue {
    do {
      return ConfigurationValue(try JSONValue(parsing: bytes), file: path)
    } catch {
      throw SwiftletError.tokenizer("is not valid JSON (\(error)); download it again", path: path)
    }
  }

  func text(_ name: String) -> String? { self[name].map { String(decoding: $0, as: UTF8.self) } }

  /// Writes all files, each of them atomically.
  func write(to directory: URL) throws(SwiftletError) {
    for (name, bytes) in try withAddedTokens(path: directory.path).contents {
      let url = directory.appendingPathComponent(name)
      do {
        try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
        try AtomicFile.write(bytes, to: url)
      } catch {
        throw SwiftletError.tokenizer(
          "could not be written; check the permissions and free disk space", path: url.path)
      }
    }
  }
}

extension Tokenizer {
  /// Reads a tokenizer from a folder: `tokenizer.json` and, if they exist, `tokenizer_config.json`,
  /// `special_tokens_map.json`, `chat_template.jinja` and `additional_chat_templates`.
  /// - Throws: `SwiftletError` naming the file and key at fault.
  public convenience init(directory: URL) throws(SwiftletError) {
    try self.init(try TokenizerFiles(directory: directory), folder: directory.path)
  }

  /// - Parameter folder: the path of the files' folder, for errors.
  convenience init(_ files: TokenizerFiles, folder: String) throws(SwiftletError) {
    func json(_ name: String) throws(SwiftletError) -> ConfigurationValue? {
      try files.json(name, path: "\(folder)/\(name)")
    }
    guard let bytes = files[TokenizerFiles.tokenizer] else {
      throw SwiftletError.tokenizer(
        "contains no tokenizer.json; save the tokenizer with save_pretrained", path: folder)
    }
    let scanned = TokenizerJSONScanner(bytes)
    let main = try TokenizerFiles.json(scanned?.rest ?? bytes, path: "\(folder)/\(TokenizerFiles.tokenizer)")
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

  /// Writes the files that the tokenizer was read from, unchanged but for tokens that were added. For a tokenizer from a
  /// GGUF file, writes equivalent Hugging Face files.
  /// - Throws: `SwiftletError` if a file cannot be written.
  public func write(to directory: URL) throws(SwiftletError) {
    switch source {
    case .files(let files): try files.write(to: directory)
    case .gguf(let conversion): try conversion.files().write(to: directory)
    }
  }
}

extension Pipeline {
  /// The components in a `tokenizer.json`.
  init(_ main: ConfigurationValue, scanned: TokenizerJSONScanner?) throws(SwiftletError) {
    try self.init(main) { endsInBytes throws(SwiftletError) in
      try TokenModel(try main.required("model"), endsInBytes: endsInBytes, scanned: scanned)
    }
  }

  /// The components in a `tokenizer.json`, except for the model.
  /// - Parameter model: creates the model. Its argument is whether pre-tokenization ends by converting bytes to GPT-2's
  ///   byte alphabet.
  init(_ main: ConfigurationValue, model: (Bool) throws(SwiftletError) -> TokenModel) throws(SwiftletError) {
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

  /// Adds the tokens that are only in `added_tokens_decoder` of `tokenizer_config.json`, as transformers does.
  mutating func add(_ configuration: ConfigurationValue?) throws(SwiftletError) {
    guard let decoder = configuration?.member("added_tokens_decoder") else { return }
    let known = Set(addedTokens.map(\.content))
    for key in try decoder.object().keys {
      let element = try decoder.required(key)
      var object = try element.object()
      object["id"] = Int(key).map { .integer($0) } ?? .null
      let token = try AddedToken(
        ConfigurationValue(.object(object), file: element.file, keyPath: element.keyPath))
      if !known.contains(token.content) { addedTokens.append(token) }
    }
  }

  /// Adds BOS and EOS around texts if `tokenizer_config.json` requests it. Only for a `tokenizer.json` without a
  /// post-processor.
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
  private static let roles = [
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token",
  ]

  /// The special tokens in `tokenizer_config.json` and `special_tokens_map.json`. As in transformers, the latter counts
  /// first, or not at all if the configuration has `added_tokens_decoder`.
  init(
    _ pipeline: Pipeline, _ configuration: ConfigurationValue?, _ map: ConfigurationValue?
  ) throws(SwiftletError) {
    let map = configuration?.member("added_tokens_decoder") == nil ? map : nil
    named = try Self.named(map, configuration)
    func id(_ text: String) -> Int32? {
      let bytes = Array(text.utf8)
      return pipeline.addedTokens.last { $0.content == bytes }?.id ?? pipeline.model.vocabulary.id(of: text)
    }
    func token(_ role: String) -> Token? {
      guard let text = named[role] else { return nil }
      return id(text).map { Token(text: text, id: $0) }
    }
    (bos, eos, pad, unk) = (token("bos_token"), token("eos_token"), token("pad_token"), token("unk_token"))
    ids = Set(pipeline.addedTokens.filter(\.isSpecial).map(\.id))
    for text in named.values { if let id = id(text) { ids.insert(id) } }
    for key in ["additional_special_tokens", "extra_special_tokens"] {
      guard let further = map?.member(key) ?? configuration?.member(key), case .array = further.value else { continue }
      for element in try further.elements() { if let id = id(try Self.text(element)) { ids.insert(id) } }
    }
  }

  /// - Parameter sources: files in the order in which they count.
  private static func named(_ sources: ConfigurationValue?...) throws(SwiftletError) -> [String: String] {
    var named: [String: String] = [:]
    for source in sources.reversed() {
      guard let members = source?.value.object?.members else { continue }
      for (key, value) in members where !value.isNull && key.hasSuffix("_token") {
        if roles.contains(key), let value = source?.member(key) {
          named[key] = try text(value)
        } else if let text = value.string ?? value["content"]?.string {
          named[key] = text
        }
      }
      for (key, value) in source?.member("extra_special_tokens")?.value.object?.members ?? [] {
        if let text = value.string ?? value["content"]?.string { named[key] = text }
      }
    }
    return named
  }

  private static func text(_ value: ConfigurationValue) throws(SwiftletError) -> String {
    if case .object = value.value { return try value.string("content") }
    return try value.string()
  }
}
