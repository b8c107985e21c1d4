import Diagnostics

/// The merges of a BPE model as pairs of spellings, in rank order.
struct MergeList: Sendable {
  /// Alternating left and right parts. The two parts of a merge are adjacent, so together they spell the merged token.
  private(set) var strings = ByteStrings()

  var count: Int { strings.count / 2 }

  mutating func append(_ left: ArraySlice<UInt8>, _ right: ArraySlice<UInt8>) {
    strings.append(left)
    strings.append(right)
  }

  /// Adds a merge written as `a b`. Returns `false` unless there is exactly one space, between two non-empty parts.
  mutating func append(spaced text: ArraySlice<UInt8>) -> Bool {
    guard let space = text.firstIndex(of: 0x20), space > text.startIndex, space + 1 < text.endIndex,
      !text[(space + 1)...].contains(0x20)
    else { return false }
    append(text[..<space], text[(space + 1)...])
    return true
  }

  func left(_ index: Int) -> Range<Int> { strings.range(2 * index) }
  func right(_ index: Int) -> Range<Int> { strings.range(2 * index + 1) }

  /// The merges in terms of token ids, and whether splitting words before U+2581 leaves their tokens unchanged: that is
  /// the case if no merge joins U+2581 to a preceding character other than U+2581.
  ///
  /// - Parameters:
  ///   - prefix: the prefix that the right part loses when merged (`continuing_subword_prefix`).
  ///   - configuration: the value that contains the merges, for errors.
  func resolved(
    in vocabulary: Vocabulary, prefix: String, _ configuration: ConfigurationValue
  ) throws(SwiftletError) -> (table: MergeTable, splitsBeforeMetaspace: Bool) {
    var table = MergeTable(capacity: count)
    var splits = true
    let prefix = Array(prefix.utf8)
    for index in 0..<count {
      let left = left(index)
      let right = right(index)
      let merged: Int32?
      if prefix.isEmpty {
        merged = vocabulary.id(of: strings.bytes, left.lowerBound..<right.upperBound)
      } else {
        merged = vocabulary.id(of: strings.bytes[left] + strings.bytes[right].dropFirst(prefix.count))
      }
      guard let a = vocabulary.id(of: strings.bytes, left), let b = vocabulary.id(of: strings.bytes, right),
        let merged
      else { throw missing(index, vocabulary, configuration) }
      table.set(a, b, rank: UInt32(truncatingIfNeeded: index), id: merged)
      if splits, startsWithMetaspace(right), !endsWithMetaspace(left) { splits = false }
    }
    return (table, splits)
  }

  private func missing(
    _ index: Int, _ vocabulary: Vocabulary, _ configuration: ConfigurationValue
  ) -> SwiftletError {
    let (left, right) = (strings.text(2 * index), strings.text(2 * index + 1))
    let token = [left, right].first { vocabulary.id(of: $0) == nil } ?? left + right
    return configuration.error(
      "has a merge (number \(index)) that needs the token \(token.quotedExcerpt), which is not in the vocabulary")
  }

  /// Whether the first character is U+2581, which SentencePiece uses for a space.
  private func startsWithMetaspace(_ range: Range<Int>) -> Bool {
    range.count >= 3 && isMetaspace(range.lowerBound)
  }

  private func endsWithMetaspace(_ range: Range<Int>) -> Bool {
    range.count >= 3 && isMetaspace(range.upperBound - 3)
  }

  private func isMetaspace(_ index: Int) -> Bool {
    strings.bytes[index] == 0xE2 && strings.bytes[index + 1] == 0x96 && strings.bytes[index + 2] == 0x81
  }
}
