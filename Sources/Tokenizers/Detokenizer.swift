/// Converts token spellings to text with the steps of a `decoder`.
struct Detokenizer: Sendable {
  /// Without steps (`nil`), tokens are joined by spaces.
  let steps: [DecoderStep]?

  /// The text of `tokens`, given their spellings. The result is not always valid UTF-8.
  func decode(_ tokens: [[UInt8]]) -> [UInt8] {
    guard let steps else { return Array(tokens.joined(separator: [0x20])) }
    var parts = tokens
    for step in steps { parts = step.apply(parts) }
    return Array(parts.joined())
  }
}

extension DecoderStep {
  fileprivate func apply(_ parts: [[UInt8]]) -> [[UInt8]] {
    switch self {
    case .byteLevel: [Self.repaired(parts.flatMap(Self.bytes))]
    case .byteFallback: Self.joinedBytes(parts)
    case .fuse: [Array(parts.joined())]
    case .strip(let content, let start, let stop):
      parts.map { Self.stripped($0, content, start: start, stop: stop) }
    case .replace(let pattern, let content): parts.map { Self.replaced($0, pattern, content) }
    case .metaspace(let replacement, let dropsFirst):
      parts.enumerated().map { index, part in
        Self.replaced(part, .literal(replacement), index == 0 && dropsFirst ? [] : [0x20])
      }
    case .suffix(let suffix):
      parts.enumerated().map { index, part in
        Self.replaced(part, .literal(suffix), index == parts.count - 1 ? [] : [0x20])
      }
    }
  }

  /// The bytes of a token in a byte-level vocabulary. A token with characters outside the byte alphabet is unchanged.
  static func bytes(_ token: [UInt8]) -> [UInt8] {
    var bytes: [UInt8] = []
    return ByteAlphabet.appendDecoded(token, to: &bytes) ? bytes : token
  }

  /// The bytes with invalid UTF-8 replaced by U+FFFD.
  private static func repaired(_ bytes: [UInt8]) -> [UInt8] { Array(String(decoding: bytes, as: UTF8.self).utf8) }

  static func replaced(_ part: [UInt8], _ pattern: TextPattern, _ content: [UInt8]) -> [UInt8] {
    var output: [UInt8] = []
    var done = 0
    pattern.forEachMatch(part, 0..<part.count) { match in
      output += part[done..<match.lowerBound]
      output += content
      done = match.upperBound
    }
    return done == 0 ? part : output + part[done...]
  }

  static func stripped(_ part: [UInt8], _ content: [UInt8], start: Int, stop: Int) -> [UInt8] {
    if content.isEmpty { return part }
    var rest = part[...]
    var count = 0
    while count < start, rest.starts(with: content) {
      rest = rest.dropFirst(content.count)
      count += 1
    }
    count = 0
    while count < stop, rest.suffix(content.count).elementsEqual(content) {
      rest = rest.dropLast(content.count)
      count += 1
    }
    return Array(rest)
  }

  /// The value of a byte token such as `<0x0A>`; `nil` for any other token.
  static func byte(_ token: [UInt8]) -> UInt8? {
    guard token.count == 6, token.starts(with: "<0x".utf8), token[5] == UInt8(ascii: ">") else { return nil }
    return UInt8(String(decoding: token[3...4], as: UTF8.self), radix: 16)
  }

  /// Joins each run of byte tokens to a string, or to one U+FFFD per byte if the run is not valid UTF-8.
  private static func joinedBytes(_ parts: [[UInt8]]) -> [[UInt8]] {
    var output: [[UInt8]] = []
    var run: [UInt8] = []
    func flush() {
      if run.isEmpty { return }
      if String(validating: run, as: UTF8.self) != nil {
        output.append(run)
      } else {
        output += run.map { _ in [0xEF, 0xBF, 0xBD] }
      }
      run = []
    }
    for part in parts {
      if let byte = byte(part) {
        run.append(byte)
      } else {
        flush()
        output.append(part)
      }
    }
    flush()
    return output
  }
}
