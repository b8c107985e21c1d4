/// Decodes tokens as they arrive, without ever returning part of a character.
///
/// The returned pieces, concatenated, equal `Tokenizer.decode` of all tokens, provided these spell valid UTF-8.
public struct StreamDecoder: Sendable {
  private let tokenizer: Tokenizer
  private let skipSpecialTokens: Bool
  /// The bytes of an incomplete character.
  private var pending: [UInt8] = []
  /// Whether `pending` comes from byte tokens. Each byte then becomes U+FFFD if nothing completes the character.
  private var pendingAreByteTokens = false
  private var isFirst = true
  /// By step, how many more copies a `Strip` may remove from the start of the whole text.
  private var toStrip: [Int: Int] = [:]
  /// The end of the text so far, which a `Strip` may still remove.
  private var heldBack: [UInt8] = []
  /// Whether an end-of-word suffix becomes a space once another token follows.
  private var owesSpace = false

  init(_ tokenizer: Tokenizer, skipSpecialTokens: Bool) {
    self.tokenizer = tokenizer
    self.skipSpecialTokens = skipSpecialTokens
  }

  /// Adds the next token and returns the text that it completes, which is empty in the middle of a character.
  public mutating func append(_ id: Int32) -> String {
    guard let token = tokenizer.spelling(id, skipSpecialTokens: skipSpecialTokens) else { return "" }
    defer { isFirst = false }
    guard let steps = tokenizer.decoderSteps else {
      return String(decoding: isFirst ? token : [0x20] + token, as: UTF8.self)
    }
    var part = token
    var isByteToken = false
    var isFused = false
    for (index, step) in steps.enumerated() {
      switch step {
      case .byteLevel: part = DecoderStep.bytes(part)
      case .byteFallback:
        if let byte = DecoderStep.byte(part) {
          part = [byte]
          isByteToken = true
        }
      case .fuse:
        isFused = true
        part = complete(part, isByteToken: isByteToken)
        isByteToken = false
      case .strip(let content, let start, let stop):
        part =
          isFused
          ? stripped(part, content, start: start, stop: stop, step: index)
          : DecoderStep.stripped(part, content, start: start, stop: stop)
      case .replace(let pattern, let content):
        if !isByteToken { part = DecoderStep.replaced(part, pattern, content) }
      case .metaspace(let replacement, let dropsFirst):
        if !isByteToken {
          part = DecoderStep.replaced(part, .literal(replacement), isFirst && dropsFirst ? [] : [0x20])
        }
      case .suffix(let suffix):
        let owed: [UInt8] = owesSpace ? [0x20] : []
        owesSpace = part.count >= suffix.count && part.suffix(suffix.count).elementsEqual(suffix)
        part = owed + DecoderStep.replaced(part, .literal(suffix), [])
      }
    }
    return String(decoding: isFused ? part : complete(part, isByteToken: isByteToken), as: UTF8.self)
  }

  /// Returns the rest of the text and resets the decoder. An incomplete character becomes U+FFFD.
  public mutating func finish() -> String {
    defer { self = StreamDecoder(tokenizer, skipSpecialTokens: skipSpecialTokens) }
    heldBack = []
    return String(decoding: flushed(), as: UTF8.self)
  }

  /// Adds `part` to the pending bytes and returns the bytes of complete characters.
  private mutating func complete(_ part: [UInt8], isByteToken: Bool) -> [UInt8] {
    var output: [UInt8] = []
    if !pending.isEmpty, isByteToken != pendingAreByteTokens { output = flushed() }
    pendingAreByteTokens = isByteToken
    pending += part
    let incomplete = Self.incompleteSuffix(pending)
    output += pending.dropLast(incomplete)
    pending = Array(pending.suffix(incomplete))
    return output
  }

  private mutating func flushed() -> [UInt8] {
    defer { pending = [] }
    return pendingAreByteTokens ? pending.flatMap { _ in [0xEF, 0xBF, 0xBD] } : pending
  }

  /// Applies a `Strip` to the start and end of the whole text, of which `part` is the next piece.
  private mutating func stripped(
    _ part: [UInt8], _ content: [UInt8], start: Int, stop: Int, step: Int
  ) -> [UInt8] {
    if content.isEmpty || part.isEmpty { return part }
    var rest = part[...]
    var left = toStrip[step] ?? start
    while left > 0, !rest.isEmpty {
      left = rest.starts(with: content) ? left - 1 : 0
      if rest.starts(with: content) { rest = rest.dropFirst(content.count) }
    }
    toStrip[step] = left
    if stop == 0 { return Array(rest) }
    let all = heldBack + rest
    let body = DecoderStep.stripped(all, content, start: 0, stop: stop)
    heldBack = Array(all[body.count...])
    return body
  }

  /// The number of bytes at the end of `bytes` that begin a character and that more bytes may complete.
  static func incompleteSuffix(_ bytes: [UInt8]) -> Int {
    for length in 1...3 where length <= bytes.count {
      let lead = bytes[bytes.count - length]
      if lead & 0xC0 == 0x80 { continue }
      let needed =
        lead >= 0xF0 && lead < 0xF5 ? 4 : lead >= 0xE0 && lead < 0xF0 ? 3 : lead >= 0xC2 && lead < 0xE0 ? 2 : 1
      guard needed > length else { return 0 }
      // Some second bytes are invalid (overlong forms, surrogates), so nothing can complete them.
      if length > 1 {
        let second = bytes[bytes.count - length + 1]
        let low: UInt8 = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80
        let high: UInt8 = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF
        if second < low || second > high { return 0 }
      }
      return length
    }
    return 0
  }
}
