/// The merges that a SentencePiece BPE vocabulary stands for: it lists tokens with scores, and any two neighbours whose
/// text together is a token merge, the pair whose token has the highest score first.
enum SentencePieceMerges {
  /// The merges, first the ones of the highest score, and of these those with the longer left part.
  static func make(_ tokens: [String], scores: [Float], isIncluded: (Int) -> Bool) -> MergeList {
    var strings = ByteStrings()
    for token in tokens { strings.append(token.utf8) }
    let index = ByteStringIndex(strings, where: isIncluded)
    var found: [(score: Float, left: Int, right: Int)] = []
    for token in 0..<strings.count where isIncluded(token) {
      let range = strings.range(token)
      guard range.count > 1 else { continue }
      let start = found.count
      for middle in range.lowerBound + 1..<range.upperBound where strings.bytes[middle] & 0xC0 != 0x80 {
        guard let left = index.number(of: strings.bytes, range.lowerBound..<middle, in: strings),
          let right = index.number(of: strings.bytes, middle..<range.upperBound, in: strings)
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
