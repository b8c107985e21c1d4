/// The tokens of a model by id, in the vocabulary's own spelling.
struct Vocabulary: Sendable {
  /// The spelling of each id from 0 on; empty for an id that no token has.
  let spellings: ByteStrings
  private let isPresent: [Bool]
  private let index: ByteStringIndex

  /// Ids from here on are taken for a damaged file rather than a vocabulary.
  static let idLimit = 1 << 24

  /// Tokens with their ids, each below `idLimit`; of two with one id the later counts.
  init(_ tokens: ByteStrings, ids: [Int32]) {
    // Files mostly list tokens by id, so that nothing has to move.
    if ids.enumerated().allSatisfy({ $0.offset == Int($0.element) }) {
      spellings = tokens
      isPresent = [Bool](repeating: true, count: tokens.count)
      index = ByteStringIndex(tokens)
      return
    }
    let count = Int(ids.max() ?? -1) + 1
    var order = [Int32](repeating: -1, count: count)
    for (position, id) in ids.enumerated() { order[Int(id)] = Int32(truncatingIfNeeded: position) }
    var spellings = ByteStrings()
    spellings.reserve(count: count, bytes: tokens.bytes.count)
    for position in order { spellings.append(position < 0 ? [] : tokens[Int(position)]) }
    let isPresent = order.map { $0 >= 0 }
    self.spellings = spellings
    self.isPresent = isPresent
    index = ByteStringIndex(spellings) { isPresent[$0] }
  }

  /// The tokens of the ids from 0 on.
  init(_ tokens: [String]) {
    var spellings = ByteStrings()
    spellings.reserve(count: tokens.count, bytes: tokens.count * 8)
    for token in tokens { spellings.append(token.utf8) }
    self.spellings = spellings
    isPresent = [Bool](repeating: true, count: tokens.count)
    index = ByteStringIndex(spellings)
  }

  /// The highest id plus one.
  var count: Int { isPresent.count }

  func contains(_ id: Int) -> Bool { isPresent.indices.contains(id) && isPresent[id] }

  func id(of spelling: some Sequence<UInt8>) -> Int32? {
    index.number(of: Array(spelling), in: spellings).map { Int32(truncatingIfNeeded: $0) }
  }

  func id(of spelling: String) -> Int32? { id(of: spelling.utf8) }

  func id(of bytes: [UInt8], _ range: Range<Int>) -> Int32? {
    index.number(of: bytes, range, in: spellings).map { Int32(truncatingIfNeeded: $0) }
  }
}
