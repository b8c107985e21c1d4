import Diagnostics

/// The escapes of string literals, which are those of Python's `unicode-escape` codec.
enum StringEscapes {
  static func resolved(_ literal: ArraySlice<UInt8>, line: Int) throws(SwiftletError) -> String {
    guard literal.contains(UInt8(ascii: "\\")) else { return String(decoding: literal, as: UTF8.self) }
    var result = String.UnicodeScalarView()
    var rest = String(decoding: literal, as: UTF8.self).unicodeScalars[...]
    while let scalar = rest.popFirst() {
      guard scalar == "\\" else {
        result.append(scalar)
        continue
      }
      guard let escape = rest.popFirst() else {
        throw SwiftletError.template(line: line, reason: "\\ at end of string")
      }
      switch escape {
      case "\n": break
      case "\\", "'", "\"": result.append(escape)
      case "a": result.append("\u{07}")
      case "b": result.append("\u{08}")
      case "f": result.append("\u{0C}")
      case "n": result.append("\n")
      case "r": result.append("\r")
      case "t": result.append("\t")
      case "v": result.append("\u{0B}")
      case "x": result.append(try hexadecimal(&rest, count: 2, escape, line))
      case "u": result.append(try hexadecimal(&rest, count: 4, escape, line))
      case "U": result.append(try hexadecimal(&rest, count: 8, escape, line))
      case "0"..."7": result.append(octal(escape, &rest))
      default:
        result.append("\\")
        // The codec handles only ASCII. Jinja2 first converts other characters to escapes, whose backslash this one
        // consumes.
        result.append(contentsOf: escape.isASCII ? String(escape).unicodeScalars : escaped(escape).unicodeScalars)
      }
    }
    return String(result)
  }

  private static func hexadecimal(
    _ rest: inout String.UnicodeScalarView.SubSequence, count: Int, _ kind: Unicode.Scalar, _ line: Int
  ) throws(SwiftletError) -> Unicode.Scalar {
    let digits = String(String.UnicodeScalarView(rest.prefix(count)))
    guard digits.utf8.count == count, digits.utf8.allSatisfy({ $0 != 43 && $0 != 45 }),
      let value = UInt32(digits, radix: 16), value <= 0x10FFFF
    else { throw SwiftletError.template(line: line, reason: "truncated \\\(kind) escape in a string") }
    rest = rest.dropFirst(count)
    return Unicode.Scalar(value) ?? "\u{FFFD}"  // Half of a surrogate pair, which no `String` can hold.
  }

  private static func octal(
    _ first: Unicode.Scalar, _ rest: inout String.UnicodeScalarView.SubSequence
  ) -> Unicode.Scalar {
    var value = first.value - 48
    for _ in 0..<2 {
      guard let next = rest.first, ("0"..."7").contains(next) else { break }
      value = value * 8 + next.value - 48
      rest = rest.dropFirst()
    }
    return Unicode.Scalar(value) ?? "\u{FFFD}"
  }

  private static func escaped(_ scalar: Unicode.Scalar) -> String {
    let digits = String(scalar.value, radix: 16)
    let (mark, width) = scalar.value < 0x100 ? ("x", 2) : scalar.value < 0x10000 ? ("u", 4) : ("U", 8)
    return mark + String(repeating: "0", count: width - digits.count) + digits
  }
}
