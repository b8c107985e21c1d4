import Diagnostics
import OrderedJSON

/// The `model` of a tokenizer, which splits words into tokens.
enum TokenModel: Sendable {
  case bpe(BytePairEncoding)
  case unigram(Unigram)

  var vocabulary: Vocabulary {
    switch self {
    case .bpe(let model): model.vocabulary
    case .unigram(let model): model.vocabulary
    }
  }

  @inline(__always)
  func encode(_ bytes: [UInt8], _ range: Range<Int>, into symbols: inout Symbols) {
    switch self {
    case .bpe(let model): model.encode(bytes, range, into: &symbols)
    case .unigram(let model): model.encode(bytes, range, into: &symbols)
    }
  }

  /// The `model` of a `tokenizer.json`.
  /// - Parameters:
  ///   - endsInBytes: whether pre-tokenization ends by converting bytes to GPT-2's byte alphabet. A BPE model then
  ///     takes raw bytes and the conversion is skipped.
  ///   - scanned: the vocabulary and merges, if they have been read already and `configuration` does not contain them.
  init(
    _ configuration: ConfigurationValue, endsInBytes: Bool, scanned: TokenizerJSONScanner?
  ) throws(SwiftletError) {
    // Files written before 2021 have no type; only BPE has merges.
    let type = try configuration.member("type")?.string() ?? (configuration.member("merges") != nil ? "BPE" : "none")
    switch type {
    case "BPE": self = .bpe(try BytePairEncoding(configuration, endsInBytes: endsInBytes, scanned: scanned))
    case "Unigram": self = .unigram(try Unigram(configuration))
    default: throw configuration.unsupportedType(type, supported: ["BPE", "Unigram"])
    }
  }
}

extension Vocabulary {
  /// A `vocab` object, which maps tokens to ids.
  init(_ configuration: ConfigurationValue) throws(SwiftletError) {
    let members = try configuration.object().members
    var tokens = ByteStrings()
    var ids: [Int32] = []
    for (token, value) in members {
      guard case .integer(let id) = value, (0..<Vocabulary.idLimit).contains(id) else {
        throw configuration.error(
          "has an invalid id for the token \(token.quotedExcerpt); ids are integers from 0 to \(Vocabulary.idLimit - 1)"
        )
      }
      tokens.append(token.utf8)
      ids.append(Int32(truncatingIfNeeded: id))
    }
    self.init(tokens, ids: ids)
  }
}

extension BytePairEncoding {
  /// A `model` of type BPE.
  init(
    _ configuration: ConfigurationValue, endsInBytes: Bool, scanned: TokenizerJSONScanner?
  ) throws(SwiftletError) {
    if let dropout = configuration.member("dropout"), dropout.value.double != 0 {
      throw dropout.error("is not supported; set it to null")
    }
    let vocabulary: Vocabulary
    let merges: MergeList
    if let scanned {
      vocabulary = Vocabulary(scanned.tokens, ids: scanned.ids)
      merges = scanned.merges
    } else {
      vocabulary = try Vocabulary(try configuration.required("vocab"))
      merges = try Self.merges(try configuration.required("merges"))
    }
    var options = Options()
    options.unknownToken = try configuration.member("unk_token")?.string()
    options.fusesUnknown = try configuration.bool("fuse_unk", default: false)
    options.fallsBackToBytes = try configuration.bool("byte_fallback", default: false)
    options.ignoresMerges = try configuration.bool("ignore_merges", default: false)
    options.continuingSubwordPrefix = try configuration.member("continuing_subword_prefix")?.string() ?? ""
    options.endOfWordSuffix = try configuration.member("end_of_word_suffix")?.string() ?? ""
    let (table, splits) = try merges.resolved(
      in: vocabulary, prefix: options.continuingSubwordPrefix, configuration)
    self.init(
      vocabulary: vocabulary, merges: table, options: options,
      takesBytes: endsInBytes && options.continuingSubwordPrefix.isEmpty && options.endOfWordSuffix.isEmpty,
      splitsBeforeMetaspace: splits)
  }

  /// The merges, each written as `["a", "b"]` or `"a b"`.
  private static func merges(_ configuration: ConfigurationValue) throws(SwiftletError) -> MergeList {
    var merges = MergeList()
    for (index, element) in try configuration.array().enumerated() {
      func malformed() -> SwiftletError {
        ConfigurationValue(element, file: configuration.file, keyPath: "\(configuration.keyPath)[\(index)]")
          .error("must be two tokens, as [\"a\", \"b\"] or \"a b\"")
      }
      switch element {
      case .array(let pair):
        guard pair.count == 2, case .string(let left) = pair[0], case .string(let right) = pair[1] else {
          throw malformed()
        }
        merges.append(Array(left.utf8)[...], Array(right.utf8)[...])
      case .string(let text):
        guard merges.append(spaced: Array(text.utf8)[...]) else { throw malformed() }
      default: throw malformed()
      }
    }
    return merges
  }
}

extension Unigram {
  /// A `model` of type Unigram.
  init(_ configuration: ConfigurationValue) throws(SwiftletError) {
    var tokens: [String] = []
    var scores: [Double] = []
    let pieces = try configuration.required("vocab")
    for (index, element) in try pieces.array().enumerated() {
      func malformed(_ problem: String) -> SwiftletError {
        ConfigurationValue(element, file: pieces.file, keyPath: "\(pieces.keyPath)[\(index)]").error(problem)
      }
      guard let token = element[0]?.string, let score = element[1]?.double, score.isFinite else {
        throw malformed("must be an array of a token and its score")
      }
      guard token.utf8.count <= ConfigurationValue.maxLiteralLength else {
        throw malformed("is longer than \(ConfigurationValue.maxLiteralLength) bytes")
      }
      tokens.append(token)
      scores.append(score)
    }
    let unknown = try configuration.member("unk_id")?.integer()
    if let unknown, !scores.indices.contains(unknown) {
      throw configuration.error("has the unk_id \(unknown) but only \(scores.count) tokens")
    }
    self.init(
      vocabulary: Vocabulary(tokens), scores: scores, unknownID: unknown.map { Int32(truncatingIfNeeded: $0) },
      fallsBackToBytes: try configuration.bool("byte_fallback", default: false))
  }
}
