import Diagnostics

/// Splits the inside of tags into names, numbers, strings and operators.
extension Lexer {
  mutating func readTag(isBlock: Bool) throws(SwiftletError) {
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
