import Diagnostics
import OrderedJSON

/// A token that is matched in the text before pre-tokenization, such as `<|im_start|>`.
package struct AddedToken: Sendable, Hashable {
  package var id: Int32
  package var content: [UInt8]
  /// Whether a match includes the whitespace to its left (`lstrip`).
  var stripsLeft = false
  /// Whether a match includes the whitespace to its right (`rstrip`).
  var stripsRight = false
  /// Whether it only matches between non-word characters.
  var isSingleWord = false
  /// Whether it is matched in normalized text.
  var isNormalized = false
  /// Whether it controls the model and is not part of the text.
  var isSpecial = false

  /// The spelling as text.
  package var text: String { String(decoding: content, as: UTF8.self) }
}

extension AddedToken {
  /// An element of `added_tokens` in a `tokenizer.json`.
  init(_ configuration: ConfigurationValue) throws(SwiftletError) {
    isSpecial = try configuration.bool("special", default: false)
    id = try configuration.required("id").tokenID()
    content = try configuration.required("content").literal()
    stripsLeft = try configuration.bool("lstrip", default: false)
    stripsRight = try configuration.bool("rstrip", default: false)
    isSingleWord = try configuration.bool("single_word", default: false)
    isNormalized = try configuration.bool("normalized", default: !isSpecial)
  }

  /// The element of `added_tokens` in a `tokenizer.json`.
  var json: JSONValue {
    [
      "id": .integer(Int(id)), "content": .string(text), "single_word": .bool(isSingleWord),
      "lstrip": .bool(stripsLeft), "rstrip": .bool(stripsRight), "normalized": .bool(isNormalized),
      "special": .bool(isSpecial),
    ]
  }
}

/// Finds added tokens in text, from left to right and the longest at each position.
struct AddedTokenMatcher: Sendable {
  private let tokens: [AddedToken]
  private let trie: ByteTrie
  /// Whether any token starts with a byte.
  private var isFirstByte = [Bool](repeating: false, count: 256)

  var isEmpty: Bool { tokens.isEmpty }

  /// - Parameter contents: each token with the bytes to search for (its content, normalized if the token requires it).
  init(_ contents: [(token: AddedToken, bytes: [UInt8])]) {
    var strings = ByteStrings()
    for (_, bytes) in contents {
      strings.append(bytes)
      if let first = bytes.first { isFirstByte[Int(first)] = true }
    }
    tokens = contents.map(\.token)
    trie = ByteTrie(strings)
  }

  /// Calls `body` with consecutive parts of `range`, each an added token or, with `nil`, the text between them.
  func forEachPart(_ bytes: [UInt8], _ range: Range<Int>, _ body: (Range<Int>, AddedToken?) -> Void) {
    var done = range.lowerBound
    var index = range.lowerBound
    while index < range.upperBound {
      guard isFirstByte[Int(bytes[index])], let (token, end) = longest(bytes, index..<range.upperBound) else {
        index += 1
        continue
      }
      guard !token.isSingleWord || isIsolated(bytes, index..<end, in: range) else {
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

  /// The longest token at the start of `range`, and where it ends.
  private func longest(_ bytes: [UInt8], _ range: Range<Int>) -> (AddedToken, Int)? {
    var best: (AddedToken, Int)?
    trie.forEachPrefix(of: bytes, range) { best = (tokens[$0], range.lowerBound + $1) }
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

  /// The start of the character before `index`.
  private static func previous(_ bytes: [UInt8], _ index: Int, _ start: Int) -> Int {
    var index = index - 1
    while index > start, bytes[index] & 0xC0 == 0x80 { index -= 1 }
    return index
  }

  /// Whether no word character is next to `part`.
  private func isIsolated(_ bytes: [UInt8], _ part: Range<Int>, in range: Range<Int>) -> Bool {
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
