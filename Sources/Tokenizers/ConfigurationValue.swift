import Diagnostics
import OrderedJSON

/// A value in one of the tokenizer's JSON files, with its location for error messages.
struct ConfigurationValue: Sendable {
  let value: JSONValue
  /// The file's path.
  let file: String
  /// The keys that lead to the value, as in "model.vocab"; empty for the top level.
  let keyPath: String

  init(_ value: JSONValue, file: String, keyPath: String = "") {
    self.value = value
    self.file = file
    self.keyPath = keyPath
  }

  /// The longest literal that a tokenizer searches for or inserts, in bytes. Work grows with the length of the text
  /// times the length of the literals, and real ones are tiny.
  static let maxLiteralLength = 1024

  /// The error "KEYPATH PROBLEM" in this file.
  func error(_ problem: String) -> SwiftletError {
    .tokenizer(keyPath.isEmpty ? problem : "\(keyPath) \(problem)", path: file)
  }

  private func mismatch(_ expected: String) -> SwiftletError { error("must be \(expected) (got \(value.kind))") }

  /// The member `key`; `nil` if it is missing or null, or if this is not an object.
  func member(_ key: String) -> ConfigurationValue? {
    guard let member = value[key], !member.isNull else { return nil }
    return ConfigurationValue(member, file: file, keyPath: childPath(key))
  }

  private func childPath(_ key: String) -> String {
    let key = key.escapedLine(limit: 60)
    return keyPath.isEmpty ? key : "\(keyPath).\(key)"
  }

  func required(_ key: String) throws(SwiftletError) -> ConfigurationValue {
    guard case .object = value else { throw mismatch("an object") }
    guard let member = member(key) else {
      throw SwiftletError.tokenizer(
        "\(childPath(key)) is missing; save the tokenizer again with save_pretrained", path: file)
    }
    return member
  }

  func string() throws(SwiftletError) -> String {
    guard let string = value.string else { throw mismatch("a string") }
    return string
  }

  /// The UTF-8 of a string of at most `maxLiteralLength` bytes.
  func literal() throws(SwiftletError) -> [UInt8] {
    let bytes = Array(try string().utf8)
    if bytes.count > Self.maxLiteralLength { throw error("is longer than \(Self.maxLiteralLength) bytes") }
    return bytes
  }

  func bool() throws(SwiftletError) -> Bool {
    guard let bool = value.bool else { throw mismatch("true or false") }
    return bool
  }

  func integer() throws(SwiftletError) -> Int {
    guard let integer = value.integer else { throw mismatch("an integer") }
    return integer
  }

  /// An integer that can be a token id.
  func tokenID() throws(SwiftletError) -> Int32 {
    let id = try integer()
    guard (0..<Vocabulary.idLimit).contains(id) else {
      throw error("must be a token id from 0 to \(Vocabulary.idLimit - 1) (got \(id))")
    }
    return Int32(truncatingIfNeeded: id)
  }

  func object() throws(SwiftletError) -> JSONObject {
    guard let object = value.object else { throw mismatch("an object") }
    return object
  }

  func array() throws(SwiftletError) -> [JSONValue] {
    guard let array = value.array else { throw mismatch("an array") }
    return array
  }

  func elements() throws(SwiftletError) -> [ConfigurationValue] {
    try array().enumerated().map { ConfigurationValue($1, file: file, keyPath: "\(keyPath)[\($0)]") }
  }

  func string(_ key: String) throws(SwiftletError) -> String { try required(key).string() }

  func bool(_ key: String, default fallback: Bool) throws(SwiftletError) -> Bool {
    try member(key)?.bool() ?? fallback
  }

  /// The member `type`, which selects the kind of a normalizer, pre-tokenizer, model, post-processor or decoder.
  func type() throws(SwiftletError) -> String { try string("type") }

  /// The error for a `type` that is not one of `supported`.
  func unsupportedType(_ type: String, supported: [String]) -> SwiftletError {
    error(
      "has the type \(type.quotedExcerpt), which is not supported; supported are \(supported.joined(separator: ", "))")
  }

  /// The components of a component that may be a `Sequence`, whose members are listed under `key`.
  func parts(_ key: String) throws(SwiftletError) -> [ConfigurationValue] {
    guard try type() == "Sequence" else { return [self] }
    var parts: [ConfigurationValue] = []
    for element in try required(key).elements() { parts += try element.parts(key) }
    return parts
  }
}

/// Bounds by how much a sequence of replacements can lengthen a text. In a hostile file, each replacement could
/// multiply the length again.
struct GrowthLimit {
  /// Real tokenizers stay far below.
  private static let maxFactor = 1024
  private var factor = 1

  /// Accounts for a step that replaces `from` bytes with `to` bytes.
  mutating func add(from: Int, to: Int, _ configuration: ConfigurationValue) throws(SwiftletError) {
    let step = (max(to, 1) - 1) / max(from, 1) + 1
    guard step <= Self.maxFactor / factor else {
      throw configuration.error("lengthens the text more than \(Self.maxFactor) times")
    }
    factor *= step
  }
}
