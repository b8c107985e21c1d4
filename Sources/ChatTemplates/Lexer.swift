import Diagnostics

/// Splits a template into tokens by Jinja2's rules with `trim_blocks` and `lstrip_blocks`, as transformers configures
/// it: the newline after a block or comment is removed, and so are the blanks before one at the start of a line.
struct Lexer {
  let source: [UInt8]
  var position = 0
  var line = 1
  private var tokens: [Token] = []
  /// Whether the last token ended with a newline.
  private var startsLine = true

  /// The tokens of `template`; the last one is `end`.
  static func tokens(of template: String) throws(SwiftletError) -> [Token] {
    var lexer = Lexer(template)
    try lexer.readAll()
    lexer.append(.end, "")
    return lexer.tokens
  }

  private init(_ template: String) {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(template.utf8.count)
    var afterReturn = false
    for byte in template.utf8 {
      if !(byte == 10 && afterReturn) { bytes.append(byte == 13 ? 10 : byte) }
      afterReturn = byte == 13
    }
    if bytes.last == 10 { bytes.removeLast() }
    source = bytes
  }

  func error(_ reason: String) -> SwiftletError { SwiftletError.template(line: line, reason: reason) }

  func text(_ range: Range<Int>) -> String { String(decoding: source[range], as: UTF8.self) }

  func byte(at index: Int) -> UInt8 { index < source.count ? source[index] : 0 }

  func has(_ word: StaticString, at index: Int) -> Bool {
    index <= source.count && source[index...].starts(with: word.description.utf8)
  }

  mutating func append(_ kind: Token.Kind, _ text: String) {
    tokens.append(Token(kind: kind, text: text, line: line))
  }

  /// Advances to `end` and counts lines.
  mutating func advance(to end: Int) {
    for byte in source[position..<end] where byte == 10 { line += 1 }
    if end > position { startsLine = source[end - 1] == 10 }
    position = end
  }

  func skippingSpace(from start: Int) -> Int {
    var index = start
    while let next = PythonText.spaceEnd(source, at: index) { index = next }
    return index
  }

  // MARK: Text between tags

  private mutating func readAll() throws(SwiftletError) {
    while position < source.count {
      guard let tag = nextTag() else {
        append(.data, text(position..<source.count))
        advance(to: source.count)
        return
      }
      let sign = byte(at: tag + 2)
      let isVariable = source[tag + 1] == UInt8(ascii: "{")
      let dataEnd = strippedEnd(of: position..<tag, sign: sign, isVariable: isVariable)
      if dataEnd > position { append(.data, text(position..<dataEnd)) }
      advance(to: tag)
      if let bodyStart = rawBodyStart(tag) {
        advance(to: bodyStart)
        try readRaw()
        continue
      }
      let signed = sign == UInt8(ascii: "-") || sign == UInt8(ascii: "+")
      let inside = tag + (signed ? 3 : 2)
      switch source[tag + 1] {
      case UInt8(ascii: "#"):
        advance(to: inside)
        try readComment()
      case UInt8(ascii: "%"):
        append(.blockBegin, "")
        advance(to: inside)
        try readTag(isBlock: true)
      default:
        append(.variableBegin, "")
        advance(to: inside)
        try readTag(isBlock: false)
      }
    }
  }

  /// The position of the next `{{`, `{%` or `{#`.
  private func nextTag() -> Int? {
    var index = position
    while index + 1 < source.count {
      if source[index] == UInt8(ascii: "{") {
        switch source[index + 1] {
        case UInt8(ascii: "{"), UInt8(ascii: "%"), UInt8(ascii: "#"): return index
        default: break
        }
      }
      index += 1
    }
    return nil
  }

  /// The end of the text before a tag, without the white space that the tag's sign or `lstrip_blocks` removes.
  private func strippedEnd(of range: Range<Int>, sign: UInt8, isVariable: Bool) -> Int {
    if sign == UInt8(ascii: "-") { return PythonText.trailingSpaceStart(source, in: range) }
    if sign == UInt8(ascii: "+") || isVariable { return range.upperBound }
    let lineStart = source[range].lastIndex(of: 10).map { $0 + 1 } ?? range.lowerBound
    guard lineStart > range.lowerBound || startsLine else { return range.upperBound }
    let blanks = PythonText.trailingSpaceStart(source, in: lineStart..<range.upperBound)
    return blanks == lineStart ? lineStart : range.upperBound
  }

  /// The start of the content if the tag is `{% raw %}`.
  private func rawBodyStart(_ tag: Int) -> Int? {
    guard source[tag + 1] == UInt8(ascii: "%") else { return nil }
    var index = tag + 2
    if byte(at: index) == UInt8(ascii: "-") || byte(at: index) == UInt8(ascii: "+") { index += 1 }
    index = skippingSpace(from: index)
    guard has("raw", at: index) else { return nil }
    index = skippingSpace(from: index + 3)
    if has("-%}", at: index) { return skippingSpace(from: index + 3) }
    return has("%}", at: index) ? index + 2 : nil
  }

  private mutating func readRaw() throws(SwiftletError) {
    var index = position
    while index + 1 < source.count {
      if has("{%", at: index) {
        let sign = byte(at: index + 2)
        let signed = sign == UInt8(ascii: "-") || sign == UInt8(ascii: "+")
        let word = skippingSpace(from: index + (signed ? 3 : 2))
        if has("endraw", at: word), let end = blockEnd(at: skippingSpace(from: word + 6)) {
          let dataEnd = strippedEnd(of: position..<index, sign: sign, isVariable: false)
          if dataEnd > position { append(.data, text(position..<dataEnd)) }
          advance(to: end)
          return
        }
      }
      index += 1
    }
    throw error("Missing end of raw directive")
  }

  private mutating func readComment() throws(SwiftletError) {
    var index = position
    while index + 1 < source.count {
      if has("#}", at: index) {
        var end = index + 2
        if index > position, source[index - 1] == UInt8(ascii: "-") {
          end = skippingSpace(from: end)
        } else if byte(at: end) == 10, !(index > position && source[index - 1] == UInt8(ascii: "+")) {
          end += 1
        }
        advance(to: end)
        return
      }
      index += 1
    }
    throw error("Missing end of comment tag")
  }

  /// The position after a block's end and the white space that it trims; `nil` if no block ends here.
  func blockEnd(at index: Int) -> Int? {
    if has("+%}", at: index) { return index + 3 }
    if has("-%}", at: index) { return skippingSpace(from: index + 3) }
    guard has("%}", at: index) else { return nil }
    return byte(at: index + 2) == 10 ? index + 3 : index + 2
  }

  func variableEnd(at index: Int) -> Int? {
    if has("-}}", at: index) { return skippingSpace(from: index + 3) }
    return has("}}", at: index) ? index + 2 : nil
  }
}
