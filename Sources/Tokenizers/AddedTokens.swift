import Diagnostics
import OrderedJSON

/// A token that is found in text as it stands, before the model sees any of it.
struct AddedToken: Sendable, Hashable {
  var id: Int32
  var content: [UInt8]
  /// Whether it takes white space to its left along.
  var stripsLeft = false
  /// Whether it takes white space to its right along.
  var stripsRight = false
  /// Whether it is one only where no word character stands beside it.
  var isSingleWord = false
  /// Whether it is looked for in normalized text.
  var isNormalized = false
  /// Whether it controls the model rather than being text.
  var isSpecial = false
}

extension AddedToken {
  /// An element of `added_tokens` of a `tokenizer.json`.
  init(_ configuration: ConfigurationValue) throws(SwiftletError) {
    let id = try configuration.required("id").integer()
    guard (0..<Vocabulary.idLimit).contains(id) else {
      throw configuration.error("has the id \(id), which is not one a token can have")
    }
    isSpecial = try configuration.bool("special", default: false)
    self.id = Int32(truncatingIfNeeded: id)
    content = Array(try configuration.string("content").utf8)
    stripsLeft = try configuration.bool("lstrip", default: false)
    stripsRight = try configuration.bool("rstrip", default: false)
    isSingleWord = try configuration.bool("single_word", default: false)
    isNormalized = try configuration.bool("normalized", default: !isSpecial)
  }
}

/// Finds added tokens in text: at each place the longest, from left to right.
struct AddedTokenMatcher: Sendable {
  /// A trie over bytes.
  private struct Node {
    var children: [UInt8: Int32] = [:]
    var token: Int32 = -1
  }

  private var nodes = [Node()]
  private var tokens: [AddedToken] = []
  /// Whether any token starts with a byte.
  private var starts = [Bool](repeating: false, count: 256)

  var isEmpty: Bool { tokens.isEmpty }

  /// - Parameter contents: each token with the bytes to look for (its content, normalized where it is to be).
  init(_ contents: [(token: AddedToken, bytes: [UInt8])]) {
    for (token, bytes) in contents {
      guard let first = bytes.first else { continue }
      starts[Int(first)] = true
      var node = 0
      for byte in bytes {
        if let child = nodes[node].children[byte] {
          node = Int(child)
        } else {
          nodes[node].children[byte] = Int32(truncatingIfNeeded: nodes.count)
          node = nodes.count
          nodes.append(Node())
        }
      }
      nodes[node].token = Int32(truncatingIfNeeded: tokens.count)
      tokens.append(token)
    }
  }

  /// Calls `body` with the parts of `range` in order: a token that stands there, or `nil` for text.
  func forEachPart(_ bytes: [UInt8], _ range: Range<Int>, _ body: (Range<Int>, AddedToken?) -> Void) {
    var done = range.lowerBound
    var index = range.lowerBound
    while index < range.upperBound {
      guard starts[Int(bytes[index])], let (token, end) = longest(bytes, at: index, range.upperBound) else {
        index += 1
        continue
      }
      guard !token.isSingleWord || standsAlone(bytes, index..<end, in: range) else {
        index = end
        continue
      }
      var found = index..<end
      if token.stripsLeft { found = max(done, spaceStart(bytes, before: index, range.lowerBound))..<end }
      if token.stripsRight { found = found.lowerBound..<spaceEnd(bytes, after: end, range.upperBound) }
      if done < found.lowerBound { body(done..<found.lowerBound, nil) }
      body(found, token)
      done = found.upperBound
      index = max(end, done)
    }
    if done < range.upperBound { body(done..<range.upperBound, nil) }
  }

  private func longest(_ bytes: [UInt8], at start: Int, _ end: Int) -> (AddedToken, Int)? {
    var node = 0
    var index = start
    var best: (AddedToken, Int)?
    while index < end, let child = nodes[node].children[bytes[index]] {
      node = Int(child)
      index += 1
      if nodes[node].token >= 0 { best = (tokens[Int(nodes[node].token)], index) }
    }
    return best
  }

  private func spaceEnd(_ bytes: [UInt8], after index: Int, _ end: Int) -> Int {
    var index = index
    while index < end {
      let (scalar, length) = decodeScalar(bytes, index, end)
      if !isWhitespace(scalar) { break }
      index += length
    }
    return index
  }

  private func spaceStart(_ bytes: [UInt8], before index: Int, _ start: Int) -> Int {
    var index = index
    while index > start {
      let previous = Self.previous(bytes, index, start)
      if !isWhitespace(decodeScalar(bytes, previous, index).value) { break }
      index = previous
    }
    return index
  }

  private static func previous(_ bytes: [UInt8], _ index: Int, _ start: Int) -> Int {
    var index = index - 1
    while index > start, bytes[index] & 0xC0 == 0x80 { index -= 1 }
    return index
  }

  private func standsAlone(_ bytes: [UInt8], _ part: Range<Int>, in range: Range<Int>) -> Bool {
    if part.upperBound < range.upperBound,
      isWord(decodeScalar(bytes, part.upperBound, range.upperBound).value)
    {
      return false
    }
    guard part.lowerBound > range.lowerBound else { return true }
    let previous = Self.previous(bytes, part.lowerBound, range.lowerBound)
    return !isWord(decodeScalar(bytes, previous, part.lowerBound).value)
  }
}
