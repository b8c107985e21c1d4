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
  /// - Parameter endsInBytes: whether pre-tokenization ends by writing bytes in GPT-2's alphabet; a BPE model then takes
  ///   the bytes themselves.
  init(_ configuration: ConfigurationValue, endsInBytes: Bool) throws(TokenizerError) {
    // Files before 2021 name no type; only BPE has merges.
    let type = try configuration.member("type")?.string() ?? (configuration.member("merges") != nil ? "BPE" : "none")
    switch type {
    case "BPE": self = .bpe(try BytePairEncoding(configuration, endsInBytes: endsInBytes))
    case "Unigram": self = .unigram(try Unigram(configuration))
    default: throw configuration.unknownType(type, known: ["BPE", "Unigram"])
    }
  }
}

extension Vocabulary {
  /// A `vocab` object: tokens with their ids.
  init(_ configuration: ConfigurationValue) throws(TokenizerError) {
    let members = try configuration.object().members
    var entries: [(token: String, id: Int)] = []
    entries.reserveCapacity(members.count)
    for (token, value) in members {
      guard case .integer(let id) = value, (0..<Vocabulary.idLimit).contains(id) else {
        throw configuration.error(
          "gives the token \(token) \(value.kind) for an id; ids are 0 to \(Vocabulary.idLimit - 1)")
      }
      entries.append((token, id))
    }
    self.init(entries)
  }
}

extension BytePairEncoding {
  /// A BPE `model`.
  init(_ configuration: ConfigurationValue, endsInBytes: Bool) throws(TokenizerError) {
    if let dropout = configuration.member("dropout"), dropout.value.double != 0 {
      throw dropout.error("asks for random tokens; set it to null")
    }
    let vocabulary = try Vocabulary(try configuration.required("vocab"))
    var options = Options()
    options.unknownToken = try configuration.member("unk_token")?.string()
    options.fusesUnknown = try configuration.bool("fuse_unk", default: false)
    options.fallsBackToBytes = try configuration.bool("byte_fallback", default: false)
    options.ignoresMerges = try configuration.bool("ignore_merges", default: false)
    options.continuingSubwordPrefix = try configuration.member("continuing_subword_prefix")?.string() ?? ""
    options.endOfWordSuffix = try configuration.member("end_of_word_suffix")?.string() ?? ""
    var builder = MergeBuilder(
      vocabulary: vocabulary, prefix: options.continuingSubwordPrefix, place: "\(configuration.place).merges")
    for merge in try Self.merges(try configuration.required("merges")) { try builder.add(merge.left, merge.right) }
    self.init(
      vocabulary: vocabulary, merges: builder.table(), options: options,
      takesBytes: endsInBytes && options.continuingSubwordPrefix.isEmpty && options.endOfWordSuffix.isEmpty,
      splitsBeforeMetaspace: builder.splitsBeforeMetaspace)
  }

  /// Merges as pairs, which a file gives as `["a", "b"]` or `"a b"`.
  private static func merges(_ configuration: ConfigurationValue) throws(TokenizerError) -> [MergePair] {
    guard let elements = configuration.value.array else {
      throw configuration.error("is \(configuration.value.kind), but an array is needed")
    }
    var pairs: [MergePair] = []
    pairs.reserveCapacity(elements.count)
    for (index, element) in elements.enumerated() {
      switch element {
      case .array(let pair):
        guard pair.count == 2, case .string(let left) = pair[0], case .string(let right) = pair[1] else {
          throw TokenizerError("\(configuration.place)[\(index)] must hold two tokens.")
        }
        pairs.append(MergePair(left: Array(left.utf8), right: Array(right.utf8)))
      case .string(let text):
        guard let pair = MergePair(text) else {
          throw TokenizerError("\(configuration.place)[\(index)] is \"\(text)\", but must be two tokens and one space.")
        }
        pairs.append(pair)
      default: throw TokenizerError("\(configuration.place)[\(index)] is \(element.kind), but must hold two tokens.")
      }
    }
    return pairs
  }
}

/// Two tokens that merge.
struct MergePair {
  var left: [UInt8]
  var right: [UInt8]

  init(left: [UInt8], right: [UInt8]) {
    self.left = left
    self.right = right
  }

  /// `"a b"`; `nil` unless there is exactly one space.
  init?(_ text: String) {
    let parts = text.utf8.split(separator: 0x20, omittingEmptySubsequences: false)
    guard parts.count == 2 else { return nil }
    self.init(left: Array(parts[0]), right: Array(parts[1]))
  }
}

/// Collects merges, each of lower rank than the next.
struct MergeBuilder {
  private let vocabulary: Vocabulary
  private let prefix: [UInt8]
  private let place: String
  private var merges: [(left: Int32, right: Int32, id: Int32)] = []

  /// Whether no merge joins what ends in another character with what begins with U+2581, SentencePiece's space: words
  /// may then be split before it, and nothing changes but the speed.
  private(set) var splitsBeforeMetaspace = true
  private static let metaspace: [UInt8] = [0xE2, 0x96, 0x81]

  init(vocabulary: Vocabulary, prefix: String, place: String) {
    self.vocabulary = vocabulary
    self.prefix = Array(prefix.utf8)
    self.place = place
  }

  mutating func add(_ left: [UInt8], _ right: [UInt8]) throws(TokenizerError) {
    let leftID = try id(of: left)
    let rightID = try id(of: right)
    let merged = left + right.dropFirst(prefix.isEmpty ? 0 : min(prefix.count, right.count))
    let id = try id(of: merged)
    if splitsBeforeMetaspace, right.starts(with: Self.metaspace), !left.suffix(3).elementsEqual(Self.metaspace) {
      splitsBeforeMetaspace = false
    }
    merges.append((leftID, rightID, id))
  }

  private func id(of token: [UInt8]) throws(TokenizerError) -> Int32 {
    if let id = vocabulary.id(of: token, 0..<token.count) { return id }
    throw TokenizerError(
      "\(place)[\(merges.count)] needs the token \(String(decoding: token, as: UTF8.self)), which the vocabulary lacks."
    )
  }

  func table() -> PairTable {
    var table = PairTable(capacity: merges.count)
    for (rank, merge) in merges.enumerated() {
      table.set(merge.left, merge.right, rank: UInt32(truncatingIfNeeded: rank), id: merge.id)
    }
    return table
  }
}

extension Unigram {
  /// A Unigram `model`.
  init(_ configuration: ConfigurationValue) throws(TokenizerError) {
    var entries: [(token: String, id: Int)] = []
    var scores: [Double] = []
    let pieces = try configuration.required("vocab")
    guard let elements = pieces.value.array else {
      throw pieces.error("is \(pieces.value.kind), but an array of tokens and scores is needed")
    }
    for (index, element) in elements.enumerated() {
      guard let token = element[0]?.string, let score = element[1]?.double, score.isFinite else {
        throw TokenizerError("\(pieces.place)[\(index)] must hold a token and its score.")
      }
      entries.append((token, index))
      scores.append(score)
    }
    let unknown = try configuration.member("unk_id")?.integer()
    if let unknown, !scores.indices.contains(unknown) {
      throw TokenizerError("\(configuration.place).unk_id is \(unknown), but there are \(scores.count) tokens.")
    }
    self.init(
      vocabulary: Vocabulary(entries), scores: scores, unknownID: unknown.map { Int32(truncatingIfNeeded: $0) },
      fallsBackToBytes: try configuration.bool("byte_fallback", default: false))
  }
}
