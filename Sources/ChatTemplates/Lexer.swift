import Diagnostics

/// Splits a template into tokens by Jinja2's rules with `trim_blocks` and `lstrip_blocks`, as transformers configures
/// it: the newline after a block or comment is removed, and so are the blanks before one at the start of a line.
struct Lexer {
  private let source: [UInt8]
  private var position = 0
  private var line = 1
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

  private func error(_ reason: String) -> SwiftletError { SwiftletError.template(line: line, reason: reason) }

  private func text(_ range: Range<Int>) -> String { String(decoding: source[range], as: UTF8.self) }

  private func byte(at index: Int) -> UInt8 { index < source.count ? source[index] : 0 }

  private func has(_ word: StaticString, at index: Int) -> Bool {
    index <= source.count && source[index...].starts(with: word.description.utf8)
  }

  private mutating func append(_ kind: Token.Kind, _ text: String) {
    tokens.append(Token(kind: kind, text: text, line: line))
  }

  /// Advances to `end` and counts lines.
  private mutating func advance(to end: Int) {
    for byte in source[position..<end] where byte == 10 { line += 1 }
    if end > position { startsLine = source[end - 1] == 10 }
    position = end
  }

  private func skippingSpace(from start: Int) -> Int {
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
  private func blockEnd(at index: Int) -> Int? {
    if has("+%}", at: index) { return index + 3 }
    if has("-%}", at: index) { return skippingSpace(from: index + 3) }
    guard has("%}", at: index) else { return nil }
    return byte(at: index + 2) == 10 ? index + 3 : index + 2
  }

  private func variableEnd(at index: Int) -> Int? {
    if has("-}}", at: index) { return skippingSpace(from: index + 3) }
    return has("}}", at: index) ? index + 2 : nil
  }

  // MARK: Inside tags

  private mutating func readTag(isBlock: Bool) throws(SwiftletError) {
    var open: [UInt8] = []
    while position < source.count {
      if open.isEmpty, let end = isBlock ? blockEnd(at: position) : variableEnd(at: position) {
        append(isBlock ? .blockEnd : .variableEnd, "")
        advance(to: end)
        return
      }
      let space = skippingSpace(from: position)
      if space > position {
        advance(to: space)
        continue
      }
      let byte = source[position]
      switch byte {
      case UInt8(ascii: "0")...UInt8(ascii: "9"): readNumber()
      case UInt8(ascii: "'"), UInt8(ascii: "\""): try readString(quote: byte)
      default:
        if let end = nameEnd() {
          append(.name, text(position..<end))
          advance(to: end)
        } else {
          try readSymbol(&open)
        }
      }
    }
    // The parser reports the missing end.
  }

  private func nameEnd() -> Int? {
    var index = position
    while index < source.count {
      switch source[index] {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "_"): index += 1
      case UInt8(ascii: "0")...UInt8(ascii: "9") where index > position: index += 1
      case 0x80...:
        let (scalar, end) = PythonText.scalar(source, at: index)
        guard index > position ? scalar.properties.isXIDContinue : scalar.properties.isXIDStart else {
          return index > position ? index : nil
        }
        index = end
      default: return index > position ? index : nil
      }
    }
    return index > position ? index : nil
  }

  private mutating func readNumber() {
    func digits(_ start: Int, _ isDigit: (UInt8) -> Bool) -> Int {
      var index = start
      while isDigit(byte(at: index)) || (byte(at: index) == UInt8(ascii: "_") && isDigit(byte(at: index + 1))) {
        index += 1
      }
      return index
    }
    func isDecimal(_ byte: UInt8) -> Bool { byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") }
    func isHexadecimal(_ byte: UInt8) -> Bool { isDecimal(byte) || (byte | 0x20 >= 97 && byte | 0x20 <= 102) }
    let whole = digits(position, isDecimal)
    var end = whole
    var isInteger = true
    // A number after a dot is an index, as in `pair.0.name`.
    let afterDot = position > 0 && source[position - 1] == UInt8(ascii: ".")
    if !afterDot {
      if byte(at: end) == UInt8(ascii: "."), isDecimal(byte(at: end + 1)) {
        end = digits(end + 1, isDecimal)
        isInteger = false
      }
      if byte(at: end) | 0x20 == UInt8(ascii: "e") {
        let sign = byte(at: end + 1)
        let first = sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-") ? end + 2 : end + 1
        if isDecimal(byte(at: first)) {
          end = digits(first, isDecimal)
          isInteger = false
        }
      }
    }
    if isInteger, source[position] == UInt8(ascii: "0") {
      let mark = byte(at: position + 1) | 0x20
      var prefixed = position
      switch mark {
      case UInt8(ascii: "x"): prefixed = digits(position + 2, isHexadecimal)
      case UInt8(ascii: "b"): prefixed = digits(position + 2) { $0 == 48 || $0 == 49 }
      case UInt8(ascii: "o"): prefixed = digits(position + 2) { $0 >= 48 && $0 < 56 }
      default: break
      }
      if prefixed > position + 2 { end = prefixed }
    }
    append(isInteger ? .integer : .number, text(position..<end).filter { $0 != "_" })
    advance(to: end)
  }

  private mutating func readString(quote: UInt8) throws(SwiftletError) {
    var index = position + 1
    while index < source.count, source[index] != quote {
      index += source[index] == UInt8(ascii: "\\") ? 2 : 1
    }
    guard index < source.count else { throw error("a string that starts here has no end") }
    let content = try StringEscapes.resolved(source[position + 1..<index], line: line)
    append(.string, content)
    advance(to: index + 1)
  }

  private mutating func readSymbol(_ open: inout [UInt8]) throws(SwiftletError) {
    let byte = source[position]
    var length = 1
    for double: StaticString in ["//", "**", "==", "!=", ">=", "<="] where has(double, at: position) { length = 2 }
    switch byte {
    case UInt8(ascii: "("): open.append(UInt8(ascii: ")"))
    case UInt8(ascii: "["): open.append(UInt8(ascii: "]"))
    case UInt8(ascii: "{"): open.append(UInt8(ascii: "}"))
    case UInt8(ascii: ")"), UInt8(ascii: "]"), UInt8(ascii: "}"):
      let found = text(position..<position + 1)
      guard let expected = open.popLast() else { throw error("unexpected '\(found)'") }
      if expected != byte {
        throw error("unexpected '\(found)', expected '\(String(decoding: [expected], as: UTF8.self))'")
      }
    case _ where length == 2: break
    case UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "/"), UInt8(ascii: "*"), UInt8(ascii: "%"),
      UInt8(ascii: "~"), UInt8(ascii: ">"), UInt8(ascii: "<"), UInt8(ascii: "="), UInt8(ascii: "."),
      UInt8(ascii: ":"), UInt8(ascii: "|"), UInt8(ascii: ","), UInt8(ascii: ";"):
      break
    default:
      let (scalar, _) = PythonText.scalar(source, at: position)
      throw error("unexpected char '\(scalar)'")
    }
    append(.symbol, text(position..<position + length))
    advance(to: position + length)
  }
}
