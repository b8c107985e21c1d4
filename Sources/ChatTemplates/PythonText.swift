/// Python's string operations: on code points, with Python's definitions of white space and line breaks.
enum PythonText {
  /// `str.isspace` of a code point: Unicode's White_Space and the four information separators.
  static func isSpace(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.value {
    case 0x09...0x0D, 0x1C...0x20: true
    case 0..<0x80: false
    default: scalar.properties.isWhitespace
    }
  }

  /// The code point at `index` of valid UTF-8, and the index after it.
  static func scalar(_ bytes: [UInt8], at index: Int) -> (scalar: Unicode.Scalar, end: Int) {
    let first = bytes[index]
    let length = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4
    guard length > 1, index + length <= bytes.count else { return (Unicode.Scalar(first), index + 1) }
    var value = UInt32(first) & (0xFF >> UInt32(length + 1))
    for byte in bytes[index + 1..<index + length] { value = value << 6 | UInt32(byte & 0x3F) }
    return (Unicode.Scalar(value) ?? "\u{FFFD}", index + length)
  }

  /// The index after the white space character at `index`; `nil` if there is none.
  static func spaceEnd(_ bytes: [UInt8], at index: Int) -> Int? {
    guard index < bytes.count else { return nil }
    if bytes[index] < 0x80 { return isSpace(Unicode.Scalar(bytes[index])) ? index + 1 : nil }
    let (scalar, end) = scalar(bytes, at: index)
    return isSpace(scalar) ? end : nil
  }

  /// The start of the white space at the end of `range`.
  static func trailingSpaceStart(_ bytes: [UInt8], in range: Range<Int>) -> Int {
    var end = range.upperBound
    while end > range.lowerBound {
      var start = end - 1
      while start > range.lowerBound, bytes[start] & 0xC0 == 0x80 { start -= 1 }
      guard spaceEnd(bytes, at: start) == end else { return end }
      end = start
    }
    return end
  }

  /// Whether two strings have the same bytes. Swift's `==` compares canonical equivalence.
  static func same(_ a: String, _ b: String) -> Bool {
    a.utf8.count == b.utf8.count && a == b && (a.utf8.count <= 1 || a.utf8.elementsEqual(b.utf8))
  }

  /// Whether `a` precedes `b` in code point order, which is the order of their UTF-8 bytes.
  static func precedes(_ a: String, _ b: String) -> Bool { a.utf8.lexicographicallyPrecedes(b.utf8) }

  /// The number of code points.
  static func length(_ text: String) -> Int { text.unicodeScalars.count }

  /// The first index of `needle` in `text` at or after `start`.
  static func firstIndex(of needle: [UInt8], in text: [UInt8], from start: Int = 0) -> Int? {
    guard let first = needle.first else { return start <= text.count ? start : nil }
    var index = start
    let last = text.count - needle.count
    while index <= last {
      if text[index] == first, text[index..<index + needle.count].elementsEqual(needle) { return index }
      index += 1
    }
    return nil
  }

  /// The last index of `needle` in `text` that ends at or before `end`.
  static func lastIndex(of needle: [UInt8], in text: [UInt8], before end: Int) -> Int? {
    var index = end - needle.count
    while index >= 0 {
      if text[index..<index + needle.count].elementsEqual(needle) { return index }
      index -= 1
    }
    return nil
  }

  /// Whether `text` contains `part`, compared by bytes.
  static func contains(_ part: String, in text: String) -> Bool {
    firstIndex(of: Array(part.utf8), in: Array(text.utf8)) != nil
  }

  /// `str.strip`, `lstrip` and `rstrip` of the code points for which `isStripped` is true.
  static func strip(
    _ text: String, left: Bool = true, right: Bool = true, where isStripped: (Unicode.Scalar) -> Bool = isSpace
  ) -> String {
    var scalars = text.unicodeScalars[...]
    if left { scalars = scalars.drop(while: isStripped) }
    if right {
      while let last = scalars.last, isStripped(last) { scalars.removeLast() }
    }
    let isWhole = scalars.startIndex == text.startIndex && scalars.endIndex == text.endIndex
    return isWhole ? text : String(scalars)
  }

  /// `str.splitlines`.
  static func lines(_ text: String, keepEnds: Bool = false) -> [String] {
    var lines: [String] = []
    var line = String.UnicodeScalarView()
    var scalars = text.unicodeScalars[...]
    while let scalar = scalars.popFirst() {
      switch scalar.value {
      case 0x0A...0x0D, 0x1C...0x1E, 0x85, 0x2028, 0x2029:
        if keepEnds { line.append(scalar) }
        if scalar == "\r", scalars.first == "\n" {
          scalars.removeFirst()
          if keepEnds { line.append("\n") }
        }
        lines.append(String(line))
        line = String.UnicodeScalarView()
      default: line.append(scalar)
      }
    }
    if !line.isEmpty { lines.append(String(line)) }
    return lines
  }

  /// `str.title`: titlecase for the first letter of each word, lowercase for the others.
  static func title(_ text: String) -> String {
    var result = ""
    var inWord = false
    for scalar in text.unicodeScalars {
      let isCased = scalar.properties.isCased
      result += inWord ? scalar.properties.lowercaseMapping : scalar.properties.titlecaseMapping
      inWord = isCased
    }
    return result
  }

  /// `str.capitalize`.
  static func capitalize(_ text: String) -> String {
    guard let first = text.unicodeScalars.first else { return text }
    return first.properties.titlecaseMapping + lowercase(String(text.unicodeScalars.dropFirst()))
  }

  /// `str.upper`.
  static func uppercase(_ text: String) -> String {
    if text.utf8.allSatisfy({ $0 < 0x80 }) { return text.uppercased() }
    return text.unicodeScalars.reduce(into: "") { $0 += $1.properties.uppercaseMapping }
  }

  /// `str.lower`, including the final sigma.
  static func lowercase(_ text: String) -> String {
    if text.utf8.allSatisfy({ $0 < 0x80 }) { return text.lowercased() }
    let scalars = Array(text.unicodeScalars)
    var result = ""
    for (index, scalar) in scalars.enumerated() {
      guard scalar == "Σ" else {
        result += scalar.properties.lowercaseMapping
        continue
      }
      let before = scalars[..<index].last { !$0.properties.isCaseIgnorable }
      let after = scalars[(index + 1)...].first { !$0.properties.isCaseIgnorable }
      let endsWord = before?.properties.isCased == true && after?.properties.isCased != true
      result += endsWord ? "ς" : "σ"
    }
    return result
  }

  /// Whether Python's `repr` prints a code point without escaping it.
  static func isPrintable(_ scalar: Unicode.Scalar) -> Bool {
    if scalar.value < 0x7F { return scalar.value >= 0x20 }
    switch scalar.properties.generalCategory {
    case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator, .spaceSeparator:
      return false
    default: return true
    }
  }

  /// Python's `repr` of a string.
  static func quoted(_ text: String) -> String {
    let quote: Unicode.Scalar = text.utf8.contains(39) && !text.utf8.contains(34) ? "\"" : "'"
    var result = String.UnicodeScalarView([quote])
    for scalar in text.unicodeScalars {
      switch scalar {
      case quote, "\\": result.append(contentsOf: ["\\", scalar])
      case "\n": result.append(contentsOf: "\\n".unicodeScalars)
      case "\r": result.append(contentsOf: "\\r".unicodeScalars)
      case "\t": result.append(contentsOf: "\\t".unicodeScalars)
      case _ where isPrintable(scalar): result.append(scalar)
      default:
        let digits = String(scalar.value, radix: 16)
        let (mark, width) = scalar.value < 0x100 ? ("x", 2) : scalar.value < 0x10000 ? ("u", 4) : ("U", 8)
        result.append("\\")
        result.append(contentsOf: (mark + String(repeating: "0", count: width - digits.count) + digits).unicodeScalars)
      }
    }
    result.append(quote)
    return String(result)
  }
}
