import Diagnostics

/// The merges of a BPE model as pairs of spellings, those merged first before others.
struct MergeList: Sendable {
  /// Left and right parts in turn, so that the two parts of a merge lie side by side, as the token they become.
  private(set) var strings = ByteStrings()

  var count: Int { strings.count / 2 }

  mutating func append(_ left: ArraySlice<UInt8>, _ right: ArraySlice<UInt8>) {
    strings.append(left)
    strings.append(right)
  }

  /// Adds `a b`; `false` unless there is exactly one space, neither first nor last.
  mutating func append(spaced text: ArraySlice<UInt8>) -> Bool {
    guard let space = text.firstIndex(of: 0x20), space > text.startIndex, space + 1 < text.endIndex,
      !text[(space + 1)...].contains(0x20)
    else { return false }
    append(text[..<space], text[(space + 1)...])
    return true
  }

  func left(_ index: Int) -> Range<Int> { strings.range(2 * index) }
  func right(_ index: Int) -> Range<Int> { strings.range(2 * index + 1) }

  /// The merges by id.
  ///
  /// - Parameters:
  ///   - prefix: what the right part loses where it is joined (`continuing_subword_prefix`).
  ///   - place: where the merges stand, for messages.
  func resolved(
    in vocabulary: Vocabulary, prefix: String, place: String
  ) throws(SwiftletError) -> (table: PairTable, splitsBeforeMetaspace: Bool) {
    var table = PairTable(capacity: count)
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
      else { throw missing(index, vocabulary, place) }
      table.set(a, b, rank: UInt32(truncatingIfNeeded: index), id: merged)
      if splits, startsWithMetaspace(right), !endsWithMetaspace(left) { splits = false }
    }
    return (table, splits)
  }

  private func missing(_ index: Int, _ vocabulary: Vocabulary, _ place: String) -> SwiftletError {
    let (left, right) = (strings.text(2 * index), strings.text(2 * index + 1))
    let token = [left, right].first { vocabulary.id(of: $0) == nil } ?? left + right
    return SwiftletError.tokenizer(
      "\(place)[\(index)] needs the token \(token), which the vocabulary lacks; use files that belong together.")
  }

  /// Whether U+2581, SentencePiece's space, is the first character.
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
