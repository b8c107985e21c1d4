/// The merges implied by a SentencePiece BPE vocabulary. Such a vocabulary lists tokens with scores; two adjacent
/// tokens merge if their concatenation is a token, and the pair with the highest score merges first.
enum SentencePieceMerges {
  /// The longest token that can result from a merge, in bytes. Finding the merges of one token takes time quadratic in
  /// its length; SentencePiece limits tokens to 16 characters by default.
  private static let maxTokenLength = 512

  /// The merges in the order of their scores, highest first. Among equal scores, longer left parts come first.
  /// - Parameter isIncluded: whether the token with this id takes part in merges.
  static func make(_ tokens: [String], scores: [Float], isIncluded: (Int) -> Bool) -> MergeList {
    var strings = ByteStrings()
    for token in tokens { strings.append(token.utf8) }
    let index = ByteStringIndex(strings, where: isIncluded)
    var found: [(score: Float, left: Int, right: Int)] = []
    for token in 0..<strings.count where isIncluded(token) {
      let range = strings.range(token)
      guard (2...maxTokenLength).contains(range.count) else { continue }
      let start = found.count
      for middle in range.lowerBound + 1..<range.upperBound where strings.bytes[middle] & 0xC0 != 0x80 {
        guard let left = index.index(of: strings.bytes, range.lowerBound..<middle, in: strings),
          let right = index.index(of: strings.bytes, middle..<range.upperBound, in: strings)
        else { continue }
        found.append((scores[token], left, right))
      }
      found[start...].sort { ($0.left, $0.right) < ($1.left, $1.right) }
    }
    let lengths = tokens.map(\.unicodeScalars.count)
    let order = found.indices.sorted {
      let (a, b) = (found[$0], found[$1])
      if a.score != b.score { return a.score > b.score }
      if lengths[a.left] != lengths[b.left] { return lengths[a.left] > lengths[b.left] }
      if lengths[a.right] != lengths[b.right] { return lengths[a.right] > lengths[b.right] }
      return $0 < $1
    }
    var merges = MergeList()
    for index in order { merges.append(strings[found[index].left], strings[found[index].right]) }
    return merges
  }
}
