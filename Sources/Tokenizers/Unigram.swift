import OrderedJSON

/// A unigram language model (Kudo, "Subword Regularization", 2018): splits text into the tokens with the highest total
/// score (log probability).
struct Unigram: Sendable {
  let vocabulary: Vocabulary
  private let scores: [Double]
  private let unknownID: Int32?
  private let unknownScore: Double
  private let fallbackIDs: [Int32]
  private let trie: ByteTrie

  /// - Parameter scores: the score of each token, by id.
  init(vocabulary: Vocabulary, scores: [Double], unknownID: Int32?, fallsBackToBytes: Bool) {
    self.vocabulary = vocabulary
    self.scores = scores
    self.unknownID = unknownID
    // SentencePiece's penalty for unknown characters.
    unknownScore = (scores.min() ?? 0) - 10
    fallbackIDs = fallsBackToBytes ? BytePairEncoding.fallbackIDs(vocabulary) : []
    trie = ByteTrie(vocabulary.spellings)
  }

  /// Fills `symbols` with the tokens of the word `bytes[range]` and the number of bytes that each covers.
  func encode(_ bytes: [UInt8], _ range: Range<Int>, into symbols: inout Symbols) {
    symbols.removeAll()
    if range.isEmpty { return }
    for (id, part) in bestPath(bytes, range) { append(id, part, bytes, to: &symbols) }
  }

  private func append(_ id: Int32, _ part: Range<Int>, _ bytes: [UInt8], to symbols: inout Symbols) {
    if id >= 0 { return symbols.append(id, length: part.count) }
    if !fallbackIDs.isEmpty {
      for byte in bytes[part] { symbols.append(fallbackIDs[Int(byte)], length: 1) }
    } else if let unknownID {
      symbols.append(unknownID, length: part.count)
    } else {
      symbols.skip(part.count)
    }
  }

  /// The best path through the lattice (Viterbi). The id -1 marks a run of unknown characters.
  private func bestPath(_ bytes: [UInt8], _ range: Range<Int>) -> [(Int32, Range<Int>)] {
    let count = range.count
    var best = [Double](repeating: -.infinity, count: count + 1)
    var last = [Int32](repeating: -1, count: count + 1)
    var from = [Int32](repeating: -1, count: count + 1)
    best[0] = 0
    var start = 0
    while start < count {
      let (_, length) = decodeScalar(bytes, range.lowerBound + start, range.upperBound)
      let base = best[start]
      var coversOne = false
      trie.forEachPrefix(of: bytes, range.lowerBound + start..<range.upperBound) { id, matched in
        let score = base + scores[id]
        if from[start + matched] < 0 || score > best[start + matched] {
          best[start + matched] = score
          last[start + matched] = Int32(truncatingIfNeeded: id)
          from[start + matched] = Int32(truncatingIfNeeded: start)
        }
        if matched == length { coversOne = true }
      }
      if !coversOne, from[start + length] < 0 || base + unknownScore > best[start + length] {
        best[start + length] = base + unknownScore
        last[start + length] = -1
        from[start + length] = Int32(truncatingIfNeeded: start)
      }
      start += length
    }
    return path(last, from, range)
  }

  private func path(_ last: [Int32], _ from: [Int32], _ range: Range<Int>) -> [(Int32, Range<Int>)] {
    var path: [(Int32, Range<Int>)] = []
    var end = last.count - 1
    while end > 0 {
      let start = Int(from[end])
      if start < 0 { break }
      let id = last[end] == unknownID ? -1 : last[end]
      let part = range.lowerBound + start..<range.lowerBound + end
      if id < 0, let (next, nextPart) = path.last, next < 0 {
        path[path.count - 1] = (-1, part.lowerBound..<nextPart.upperBound)
      } else {
        path.append((id, part))
      }
      end = start
    }
    return path.reversed()
  }
}

/// Finds all strings that are a prefix of a text.
struct ByteTrie: Sendable {
  /// The child of each (node, byte) in one open-addressing table. Most nodes have one child, so a table per node would
  /// waste memory.
  private var slots: [(key: UInt64, node: Int32)]
  private var mask: Int
  private var strings: [Int32] = [-1]
  private static let free = UInt64.max

  /// A trie of the non-empty strings in `all`. Among equal strings, the last one is found.
  init(_ all: ByteStrings) {
    var capacity = 16
    while capacity < all.bytes.count * 2 + 2 { capacity *= 2 }
    slots = Array(repeating: (Self.free, -1), count: capacity)
    mask = capacity - 1
    for string in 0..<all.count where !all.range(string).isEmpty {
      var node: Int32 = 0
      for index in all.range(string) {
        let key = UInt64(UInt32(bitPattern: node)) << 8 | UInt64(all.bytes[index])
        let slot = slot(of: key)
        if slots[slot].key == Self.free {
          slots[slot] = (key, Int32(truncatingIfNeeded: strings.count))
          strings.append(-1)
        }
        node = slots[slot].node
      }
      strings[Int(node)] = Int32(truncatingIfNeeded: string)
    }
  }

  private func slot(of key: UInt64) -> Int {
    var slot = Int(truncatingIfNeeded: mixed(key &* 0x9E37_79B9_7F4A_7C15)) & mask
    while slots[slot].key != key, slots[slot].key != Self.free { slot = (slot + 1) & mask }
    return slot
  }

  /// Calls `body` with the index and length of each string that is a prefix of `bytes[range]`, shortest first.
  func forEachPrefix(of bytes: [UInt8], _ range: Range<Int>, _ body: (Int, Int) -> Void) {
    var node: Int32 = 0
    for index in range {
      let key = UInt64(UInt32(bitPattern: node)) << 8 | UInt64(bytes[index])
      node = slots[slot(of: key)].node
      if node < 0 { return }
      let string = strings[Int(node)]
      if string >= 0 { body(Int(string), index - range.lowerBound + 1) }
    }
  }
}
