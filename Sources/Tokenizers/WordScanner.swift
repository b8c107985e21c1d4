/// Splits text like the regular expressions of GPT-2, Llama 3 and Qwen, without a regular expression engine. The
/// properties describe how these expressions differ.
package struct WordScanner: Sendable, Hashable {
  /// The general form of an expression.
  package enum Shape: Sendable, Hashable {
    /// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
    case gpt2
    /// `(?i:'s|...)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,digits}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
    case llama3
  }

  package var shape: Shape
  /// The most digits in one word, for `llama3`.
  package var maxDigits = Int.max
  /// Whether combining marks count as letters, for `llama3`.
  package var joinsMarks = false

  private static let contractions = "'s|'t|'re|'ve|'m|'ll|'d"

  /// The scanner equivalent to `pattern`, or `nil` if there is none.
  package init?(pattern: String) {
    let contractions = Self.contractions
    if pattern == contractions + #"| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"# {
      self.init(shape: .gpt2)
      return
    }
    let prefix = "(?i:\(contractions))|"
    guard pattern.hasPrefix(prefix) else { return nil }
    let rest = pattern.dropFirst(prefix.count)
    for (text, digits) in [(#"\p{N}"#, 1), (#"\p{N}{1,3}"#, 3), (#"\p{N}+"#, Int.max)] {
      let plain = #"[^\r\n\p{L}\p{N}]?\p{L}+|\#(text)| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
      let marks =
        #"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\#(text)| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
      if rest == plain || rest == marks {
        self.init(shape: .llama3, maxDigits: digits, joinsMarks: rest == marks)
        return
      }
    }
    return nil
  }

  package init(shape: Shape, maxDigits: Int = .max, joinsMarks: Bool = false) {
    self.shape = shape
    self.maxDigits = maxDigits
    self.joinsMarks = joinsMarks
  }

  /// The character classes in the expressions.
  private enum Kind: UInt8 {
    case letter, number, space, newline, other
  }

  /// The kind of each general category.
  private static func kinds(joinsMarks: Bool) -> [UInt8] {
    (0..<32).map { (category: UInt8) in
      let letters: UnicodeCategorySet = joinsMarks ? [.letter, .mark] : .letter
      if letters.contains(category) { return Kind.letter.rawValue }
      if UnicodeCategorySet.number.contains(category) { return Kind.number.rawValue }
      return (UnicodeCategorySet.whitespace.contains(category) ? Kind.space : .other).rawValue
    }
  }

  /// The kind of each ASCII byte and of each general category.
  private struct Kinds: Sendable {
    let ascii: [UInt8]
    let categories: [UInt8]

    init(joinsMarks: Bool) {
      let kinds = WordScanner.kinds(joinsMarks: joinsMarks)
      categories = kinds
      ascii = (0..<128).map { scalar in
        scalar == 10 || scalar == 13 ? Kind.newline.rawValue : kinds[Int(UnicodeCategories.shared[scalar])]
      }
    }
  }

  private static let plainKinds = Kinds(joinsMarks: false)
  private static let markKinds = Kinds(joinsMarks: true)

  /// Calls `body` with each word in `range`, in order. The words cover the whole range.
  @inline(__always)
  package func forEachWord(_ bytes: [UInt8], _ range: Range<Int>, _ body: (Range<Int>) -> Void) {
    var cursor = Cursor(
      bytes: bytes, end: range.upperBound, kinds: joinsMarks ? Self.markKinds : Self.plainKinds,
      categories: UnicodeCategories.shared)
    var start = range.lowerBound
    switch shape {
    case .gpt2:
      while start < range.upperBound {
        let end = cursor.gpt2Word(start)
        body(start..<end)
        start = end
      }
    case .llama3:
      while start < range.upperBound {
        let end = cursor.llama3Word(start, maxDigits: maxDigits)
        body(start..<end)
        start = end
      }
    }
  }

  /// Finds the ends of words.
  private struct Cursor {
    let bytes: [UInt8]
    let end: Int
    let kinds: Kinds
    let categories: UnicodeCategories

    @inline(__always)
    func kind(_ index: Int) -> (kind: UInt8, length: Int) {
      let byte = bytes[index]
      if byte < 0x80 { return (kinds.ascii[Int(byte)], 1) }
      let (scalar, length) = decodeScalar(bytes, index, end)
      return (kinds.categories[Int(categories[scalar])], length)
    }

    /// The end of the run of `wanted` characters that starts at `index`.
    @inline(__always)
    func run(_ wanted: Kind, from index: Int) -> Int {
      var index = index
      while index < end {
        let (kind, length) = kind(index)
        if kind != wanted.rawValue { break }
        index &+= length
      }
      return index
    }

    /// The end of `'s`, `'t`, `'re`, `'ve`, `'m`, `'ll` or `'d` at `index`, or `nil`.
    @inline(__always)
    func contraction(_ index: Int, ignoringCase: Bool) -> Int? {
      guard bytes[index] == UInt8(ascii: "'"), index + 1 < end else { return nil }
      let fold: UInt8 = ignoringCase ? 0x20 : 0
      let first = bytes[index + 1] | fold
      switch first {
      case UInt8(ascii: "s"), UInt8(ascii: "t"), UInt8(ascii: "m"), UInt8(ascii: "d"): return index + 2
      case UInt8(ascii: "r"), UInt8(ascii: "v"):
        return index + 2 < end && bytes[index + 2] | fold == UInt8(ascii: "e") ? index + 3 : nil
      case UInt8(ascii: "l"):
        return index + 2 < end && bytes[index + 2] | fold == UInt8(ascii: "l") ? index + 3 : nil
      case 0xC5 | fold where ignoringCase:
        // The long s, U+017F, equals s when ignoring case.
        return bytes[index + 1] == 0xC5 && index + 2 < end && bytes[index + 2] == 0xBF ? index + 3 : nil
      default: return nil
      }
    }

    mutating func gpt2Word(_ start: Int) -> Int {
      if let end = contraction(start, ignoringCase: false) { return end }
      var (kind, length) = kind(start)
      var index = start + length
      if bytes[start] == 0x20, index < end {
        let next = self.kind(index)
        if next.kind != Kind.space.rawValue, next.kind != Kind.newline.rawValue {
          kind = next.kind
          length = next.length
          index += length
        }
      }
      switch kind {
      case Kind.letter.rawValue: return run(.letter, from: index)
      case Kind.number.rawValue: return run(.number, from: index)
      case Kind.other.rawValue: return run(.other, from: index)
      default: return spaces(start, newlines: false)
      }
    }

    mutating func llama3Word(_ start: Int, maxDigits: Int) -> Int {
      if let end = contraction(start, ignoringCase: true) { return end }
      let (kind, length) = kind(start)
      let index = start + length
      switch kind {
      case Kind.letter.rawValue: return run(.letter, from: index)
      case Kind.number.rawValue: return numbers(index, more: maxDigits - 1)
      case Kind.newline.rawValue: return spaces(start, newlines: true)
      default: break
      }
      // Any one character may precede letters; only a space may precede other characters.
      if index < end {
        let next = self.kind(index)
        if next.kind == Kind.letter.rawValue { return run(.letter, from: index + next.length) }
        if bytes[start] == 0x20, next.kind == Kind.other.rawValue {
          return run(.newline, from: run(.other, from: index + next.length))
        }
      }
      if kind == Kind.other.rawValue { return run(.newline, from: run(.other, from: index)) }
      return spaces(start, newlines: true)
    }

    /// The end of at most `more` further digits.
    @inline(__always)
    func numbers(_ index: Int, more: Int) -> Int {
      var index = index
      var more = more
      while index < end, more > 0 {
        let (kind, length) = kind(index)
        if kind != Kind.number.rawValue { break }
        index += length
        more -= 1
      }
      return index
    }

    /// The end of a run of whitespace. If `newlines`, it ends after the last line break, if there is one. Otherwise it
    /// includes everything at the end of the text, and else all but the last character, which belongs to the next word
    /// unless it is the only one.
    func spaces(_ start: Int, newlines: Bool) -> Int {
      var index = start
      var last = start
      var afterNewline: Int?
      while index < end {
        let (kind, length) = kind(index)
        guard kind == Kind.space.rawValue || kind == Kind.newline.rawValue else { break }
        last = index
        index += length
        if kind == Kind.newline.rawValue { afterNewline = index }
      }
      if newlines, let afterNewline { return afterNewline }
      return index == end || last == start ? index : last
    }
  }
}
