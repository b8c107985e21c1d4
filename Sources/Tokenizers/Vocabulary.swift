/// A model's tokens by id, as the vocabulary spells them.
struct Vocabulary: Sendable {
  /// The spelling of each id, starting at 0; empty for an id without a token.
  let spellings: ByteStrings
  private let isPresent: [Bool]
  private let index: ByteStringIndex

  /// The upper bound of token ids (exclusive). It bounds the memory that a hostile file with a single huge id can
  /// claim; real vocabularies have at most a few hundred thousand tokens.
  static let idLimit = 1 << 22

  /// Tokens with their ids, which must be below `idLimit`. If two tokens have the same id, the later one counts.
  init(_ tokens: ByteStrings, ids: [Int32]) {
    // Most files list tokens in id order, so nothing needs to move.
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

  /// The tokens with ids 0, 1, 2 and so on.
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
    index.index(of: Array(spelling), in: spellings).map { Int32(truncatingIfNeeded: $0) }
  }

  func id(of spelling: String) -> Int32? { id(of: spelling.utf8) }

  func id(of bytes: [UInt8], _ range: Range<Int>) -> Int32? {
    index.index(of: bytes, range, in: spellings).map { Int32(truncatingIfNeeded: $0) }
  }
}
