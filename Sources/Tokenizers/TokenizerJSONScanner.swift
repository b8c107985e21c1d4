import OrderedJSON

/// Extracts the two large members of a `tokenizer.json`, the vocabulary and merges of a BPE model, without creating
/// hundreds of thousands of JSON values. The rest is left for the JSON parser.
///
/// It gives up on anything unusual. The JSON parser then reads the whole file and reports any errors.
struct TokenizerJSONScanner {
  private let bytes: [UInt8]
  private var position = 0

  /// The file with the vocabulary and merges emptied.
  private(set) var rest: [UInt8] = []
  private(set) var tokens = ByteStrings()
  private(set) var ids: [Int32] = []
  private(set) var merges = MergeList()

  /// Fails if the file has an unusual structure or is corrupt.
  init?(_ file: [UInt8]) {
    bytes = file
    // The JSON parser reports invalid UTF-8.
    guard String(validating: file, as: UTF8.self) != nil else { return nil }
    var copied = 0
    var parts: [(range: Range<Int>, replacement: String)] = []
    let isUsual = object { scanner, key in
      guard key == "model", scanner.next == UInt8(ascii: "{") else { return scanner.skipValue() }
      return scanner.object { scanner, key in
        let start = scanner.position
        switch (key, scanner.next) {
        case ("vocab", UInt8(ascii: "{")):
          guard scanner.ids.isEmpty, scanner.scanVocabulary() else { return false }
          parts.append((start..<scanner.position, "{}"))
        case ("merges", UInt8(ascii: "[")):
          guard scanner.merges.count == 0, scanner.scanMerges() else { return false }
          parts.append((start..<scanner.position, "[]"))
        default: return scanner.skipValue()
        }
        return true
      }
    }
    guard isUsual, parts.count == 2 else { return nil }
    for part in parts {
      rest += bytes[copied..<part.range.lowerBound]
      rest += part.replacement.utf8
      copied = part.range.upperBound
    }
    rest += bytes[copied...]
  }

  /// The byte at the position; 0 at the end.
  private var next: UInt8 { position < bytes.count ? bytes[position] : 0 }

  private mutating func skipSpace() {
    while next == 0x20 || next == 0x0A || next == 0x0D || next == 0x09 { position += 1 }
  }

  private mutating func skip(_ byte: Character) -> Bool {
    skipSpace()
    guard let byte = byte.asciiValue, next == byte else { return false }
    position += 1
    return true
  }

  /// Scans an object. `member` is called with each key at the start of the value and must move past the value.
  private mutating func object(_ member: (inout TokenizerJSONScanner, String) -> Bool) -> Bool {
    guard skip("{") else { return false }
    if skip("}") { return true }
    repeat {
      skipSpace()
      guard let key = string(), skip(":") else { return false }
      skipSpace()
      guard member(&self, String(decoding: bytes[key], as: UTF8.self)) else { return false }
    } while skip(",")
    return skip("}")
  }

  /// Scans a string and returns the range between its quotation marks.
  private mutating func string() -> Range<Int>? {
    guard next == UInt8(ascii: "\"") else { return nil }
    let start = position + 1
    var index = start
    while index < bytes.count, bytes[index] != UInt8(ascii: "\"") {
      index += bytes[index] == UInt8(ascii: "\\") ? 2 : 1
    }
    guard index < bytes.count else { return nil }
    position = index + 1
    return start..<index
  }

  private mutating func skipValue() -> Bool {
    var depth = 0
    repeat {
      skipSpace()
      switch next {
      case UInt8(ascii: "\""): if string() == nil { return false }
      case UInt8(ascii: "{"), UInt8(ascii: "["):
        depth += 1
        position += 1
      case UInt8(ascii: "}"), UInt8(ascii: "]"):
        depth -= 1
        position += 1
      case 0: return false
      default: position += 1
      }
      // Numbers and keywords are skipped byte by byte, up to the end of the member.
    } while depth > 0 || !isAtMemberEnd
    return true
  }

  private var isAtMemberEnd: Bool {
    switch next {
    case UInt8(ascii: ","), UInt8(ascii: "}"), UInt8(ascii: "]"), 0x20, 0x0A, 0x0D, 0x09, 0: true
    default: false
    }
  }

  /// The unescaped string at `range`; `nil` if an escape is invalid.
  private func content(_ range: Range<Int>) -> [UInt8]? {
    let quoted = bytes[range.lowerBound - 1...range.upperBound]
    guard case .string(let text)? = try? JSONValue(parsing: quoted) else { return nil }
    return Array(text.utf8)
  }

  private func hasEscape(_ range: Range<Int>) -> Bool {
    for index in range where bytes[index] == UInt8(ascii: "\\") || bytes[index] < 0x20 { return true }
    return false
  }

  private mutating func scanVocabulary() -> Bool {
    guard skip("{") else { return false }
    if skip("}") { return true }
    repeat {
      skipSpace()
      guard let key = string(), skip(":") else { return false }
      skipSpace()
      let start = position
      var id = 0
      while next >= 48, next <= 57, id < Vocabulary.idLimit {
        id = id * 10 + Int(next - 48)
        position += 1
      }
      guard position > start, id < Vocabulary.idLimit, isAtMemberEnd else { return false }
      if hasEscape(key) {
        guard let token = content(key) else { return false }
        tokens.append(token)
      } else {
        tokens.append(bytes[key])
      }
      ids.append(Int32(truncatingIfNeeded: id))
    } while skip(",")
    return skip("}")
  }

  private mutating func scanMerges() -> Bool {
    guard skip("[") else { return false }
    if skip("]") { return true }
    repeat {
      skipSpace()
      guard next == UInt8(ascii: "[") ? scanPair() : scanSpacedPair() else { return false }
    } while skip(",")
    return skip("]")
  }

  /// Scans a merge written as `["a", "b"]`.
  private mutating func scanPair() -> Bool {
    position += 1
    skipSpace()
    guard let left = string(), skip(",") else { return false }
    skipSpace()
    guard let right = string(), skip("]") else { return false }
    if !hasEscape(left), !hasEscape(right) {
      merges.append(bytes[left], bytes[right])
    } else if let left = content(left), let right = content(right) {
      merges.append(left[...], right[...])
    } else {
      return false
    }
    return true
  }

  /// Scans a merge written as `"a b"`.
  private mutating func scanSpacedPair() -> Bool {
    guard let text = string() else { return false }
    if !hasEscape(text) { return merges.append(spaced: bytes[text]) }
    guard let content = content(text) else { return false }
    return merges.append(spaced: content[...])
  }
}
