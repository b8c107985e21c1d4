import Diagnostics
import OrderedJSON

/// What takes words apart into tokens.
enum Model: Sendable {
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
  ///   - endsInBytes: whether pre-tokenization ends by writing bytes in GPT-2's alphabet; a BPE model then takes
  ///   the bytes themselves.
  ///   - scanned: the vocabulary and merges, where they have been read before and `configuration` is without them.
  init(
    _ configuration: ConfigurationValue, endsInBytes: Bool, scanned: TokenizerJSONScanner?
  ) throws(SwiftletError) {
    // Files before 2021 name no type; only BPE has merges.
    let type = try configuration.member("type")?.string() ?? (configuration.member("merges") != nil ? "BPE" : "none")
    switch type {
    case "BPE": self = .bpe(try BytePairEncoding(configuration, endsInBytes: endsInBytes, scanned: scanned))
    case "Unigram": self = .unigram(try Unigram(configuration))
    default: throw configuration.unknownType(type, known: ["BPE", "Unigram"])
    }
  }
}

extension Vocabulary {
  /// A `vocab` object: tokens with their ids.
  init(_ configuration: ConfigurationValue) throws(SwiftletError) {
    let members = try configuration.object().members
    var tokens = ByteStrings()
    var ids: [Int32] = []
    for (token, value) in members {
      guard case .integer(let id) = value, (0..<Vocabulary.idLimit).contains(id) else {
        throw configuration.error(
          "gives the token \(token) an id that is not a whole number from 0 to \(Vocabulary.idLimit - 1)")
      }
      tokens.append(token.utf8)
      ids.append(Int32(truncatingIfNeeded: id))
    }
    self.init(tokens, ids: ids)
  }
}

extension BytePairEncoding {
  /// A BPE `model`.
  init(
    _ configuration: ConfigurationValue, endsInBytes: Bool, scanned: TokenizerJSONScanner?
  ) throws(SwiftletError) {
    if let dropout = configuration.member("dropout"), dropout.value.double != 0 {
      throw dropout.error("asks for random tokens; set it to null")
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
      in: vocabulary, prefix: options.continuingSubwordPrefix, place: "\(configuration.place).merges")
    self.init(
      vocabulary: vocabulary, merges: table, options: options,
      takesBytes: endsInBytes && options.continuingSubwordPrefix.isEmpty && options.endOfWordSuffix.isEmpty,
      splitsBeforeMetaspace: splits)
  }

  /// Merges as pairs, which a file gives as `["a", "b"]` or `"a b"`.
  private static func merges(_ configuration: ConfigurationValue) throws(SwiftletError) -> MergeList {
    guard let elements = configuration.value.array else {
      throw configuration.error("is \(configuration.value.kind), but an array is needed")
    }
    var merges = MergeList()
    for (index, element) in elements.enumerated() {
      switch element {
      case .array(let pair):
        guard pair.count == 2, case .string(let left) = pair[0], case .string(let right) = pair[1] else {
          throw SwiftletError.tokenizer("\(configuration.place)[\(index)] must hold two tokens.")
        }
        merges.append(Array(left.utf8)[...], Array(right.utf8)[...])
      case .string(let text):
        guard merges.append(spaced: Array(text.utf8)[...]) else {
          throw SwiftletError.tokenizer(
            "\(configuration.place)[\(index)] is \"\(text)\", but must be two tokens and one space.")
        }
      default:
        throw SwiftletError.tokenizer("\(configuration.place)[\(index)] is \(element.kind), but must hold two tokens.")
      }
    }
    return merges
  }
}

extension Unigram {
  /// A Unigram `model`.
  init(_ configuration: ConfigurationValue) throws(SwiftletError) {
    var tokens: [String] = []
    var scores: [Double] = []
    let pieces = try configuration.required("vocab")
    guard let elements = pieces.value.array else {
      throw pieces.error("is \(pieces.value.kind), but an array of tokens and scores is needed")
    }
    for (index, element) in elements.enumerated() {
      guard let token = element[0]?.string, let score = element[1]?.double, score.isFinite else {
        throw SwiftletError.tokenizer("\(pieces.place)[\(index)] must hold a token and its score.")
      }
      tokens.append(token)
      scores.append(score)
    }
    let unknown = try configuration.member("unk_id")?.integer()
    if let unknown, !scores.indices.contains(unknown) {
      throw SwiftletError.tokenizer(
        "\(configuration.place).unk_id is \(unknown), but there are \(scores.count) tokens.")
    }
    self.init(
      vocabulary: Vocabulary(tokens), scores: scores, unknownID: unknown.map { Int32(truncatingIfNeeded: $0) },
      fallsBackToBytes: try configuration.bool("byte_fallback", default: false))
  }
}
