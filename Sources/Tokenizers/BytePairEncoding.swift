/// Byte-pair encoding (Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units", 2016):
/// repeatedly merges the adjacent pair with the lowest rank, leftmost first.
struct BytePairEncoding: Sendable {
  /// The options of a BPE model in `tokenizer.json`.
  struct Options: Sendable {
    var unknownToken: String?
    /// Whether adjacent unknown characters become a single unknown token.
    var fusesUnknown = false
    /// Whether an unknown character is encoded as the byte tokens `<0x00>`...`<0xFF>`.
    var fallsBackToBytes = false
    /// Whether a word that is itself a token is never split.
    var ignoresMerges = false
    var continuingSubwordPrefix = ""
    var endOfWordSuffix = ""
  }

  let vocabulary: Vocabulary
  let options: Options
  let merges: MergeTable
  let unknownID: Int32?
  /// The ids of `<0x00>`...`<0xFF>`; empty unless `fallsBackToBytes` is set and the vocabulary has all of them.
  private let fallbackIDs: [Int32]
  /// The token of each byte, or -1. Empty unless words are passed as raw bytes instead of in GPT-2's byte alphabet.
  private let byteIDs: [Int32]
  /// The bytes of each token, for `ignoresMerges` with words that are raw bytes.
  private let contents: (strings: ByteStrings, index: ByteStringIndex)?
  /// Whether splitting words before U+2581 leaves the tokens unchanged; see `MergeList.resolved`.
  let splitsBeforeMetaspace: Bool

  /// Whether words are passed as raw bytes.
  var takesBytes: Bool { !byteIDs.isEmpty }

  init(
    vocabulary: Vocabulary, merges: MergeTable, options: Options, takesBytes: Bool, splitsBeforeMetaspace: Bool = false
  ) {
    self.vocabulary = vocabulary
    self.merges = merges
    self.options = options
    self.splitsBeforeMetaspace = splitsBeforeMetaspace
    unknownID = options.unknownToken.flatMap { vocabulary.id(of: $0) }
    fallbackIDs = options.fallsBackToBytes ? Self.fallbackIDs(vocabulary) : []
    byteIDs = takesBytes ? ByteAlphabet.utf8.map { vocabulary.id(of: $0) ?? -1 } : []
    contents = takesBytes && options.ignoresMerges ? Self.contents(vocabulary) : nil
  }

  /// The ids of `<0x00>`...`<0xFF>`; empty if any is missing.
  static func fallbackIDs(_ vocabulary: Vocabulary) -> [Int32] {
    let ids = (0..<256).compactMap { vocabulary.id(of: byteTokenSpelling(UInt8($0))) }
    return ids.count == 256 ? ids : []
  }

  /// The spelling of a byte token: `<0x0A>` for 10.
  static func byteTokenSpelling(_ byte: UInt8) -> String {
    let digits = String(byte, radix: 16, uppercase: true)
    return digits.utf8.count == 1 ? "<0x0\(digits)>" : "<0x\(digits)>"
  }

  private static func contents(_ vocabulary: Vocabulary) -> (ByteStrings, ByteStringIndex) {
    var strings = ByteStrings()
    var isSpelled: [Bool] = []
    var content: [UInt8] = []
    for id in 0..<vocabulary.count {
      content.removeAll(keepingCapacity: true)
      isSpelled.append(
        vocabulary.contains(id) && ByteAlphabet.appendDecoded(vocabulary.spellings[id], to: &content))
      strings.append(content)
    }
    return (strings, ByteStringIndex(strings) { isSpelled[$0] })
  }

  /// Fills `symbols` with the tokens of the word `bytes[range]` and the number of bytes that each covers.
  func encode(_ bytes: [UInt8], _ range: Range<Int>, into symbols: inout Symbols) {
    symbols.removeAll()
    if range.isEmpty { return }
    if options.ignoresMerges, let id = wholeWord(bytes, range) {
      symbols.append(id, length: range.count)
      return
    }
    if takesBytes {
      appendBytes(bytes, range, to: &symbols)
    } else {
      appendCharacters(bytes, range, to: &symbols)
    }
    symbols.merge(with: merges)
  }

  private func wholeWord(_ bytes: [UInt8], _ range: Range<Int>) -> Int32? {
    guard let contents else { return vocabulary.id(of: bytes, range) }
    return contents.index.index(of: bytes, range, in: contents.strings).map { Int32(truncatingIfNeeded: $0) }
  }

  private func appendBytes(_ bytes: [UInt8], _ range: Range<Int>, to symbols: inout Symbols) {
    for index in range {
      let id = byteIDs[Int(bytes[index])]
      if id >= 0 { symbols.append(id, length: 1) } else { appendUnknown(1, to: &symbols) }
    }
  }

  private func appendCharacters(_ bytes: [UInt8], _ range: Range<Int>, to symbols: inout Symbols) {
    let isPlain = options.continuingSubwordPrefix.isEmpty && options.endOfWordSuffix.isEmpty
    var index = range.lowerBound
    while index < range.upperBound {
      let (_, length) = decodeScalar(bytes, index, range.upperBound)
      let character = index..<index + length
      let id = isPlain ? vocabulary.id(of: bytes, character) : decorated(bytes, character, in: range)
      if let id {
        symbols.append(id, length: length)
      } else if !fallbackIDs.isEmpty {
        for byte in bytes[character] { symbols.append(fallbackIDs[Int(byte)], length: 1) }
      } else {
        appendUnknown(length, to: &symbols)
      }
      index += length
    }
  }

  /// The token of a character with the continuing-subword prefix and the end-of-word suffix where they apply.
  private func decorated(_ bytes: [UInt8], _ character: Range<Int>, in word: Range<Int>) -> Int32? {
    var spelling = character.lowerBound > word.lowerBound ? Array(options.continuingSubwordPrefix.utf8) : []
    spelling += bytes[character]
    if character.upperBound == word.upperBound { spelling += options.endOfWordSuffix.utf8 }
    return vocabulary.id(of: spelling)
  }

  private func appendUnknown(_ length: Int, to symbols: inout Symbols) {
    // Without an unknown token, the tokenizers library drops the character.
    guard let unknownID else { return symbols.skip(length) }
    if options.fusesUnknown, symbols.lastID == unknownID {
      symbols.lengthenLast(by: length)
    } else {
      symbols.append(unknownID, length: length)
    }
  }
}
