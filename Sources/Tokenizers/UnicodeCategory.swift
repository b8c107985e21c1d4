/// General categories, in the order of the letters in `UnicodeCategoryTable`.
///
/// The table is for Unicode 16, the version that the `tokenizers` library's regular expressions use.
enum UnicodeCategory: UInt8, CaseIterable {
  case unassigned, control, format, privateUse
  case lowercaseLetter, modifierLetter, otherLetter, titlecaseLetter, uppercaseLetter
  case spacingMark, enclosingMark, nonspacingMark
  case decimalNumber, letterNumber, otherNumber
  case connector, dash, close, finalQuote, initialQuote, otherPunctuation, open
  case currency, modifierSymbol, mathSymbol, otherSymbol
  case lineSeparator, paragraphSeparator, spaceSeparator
  /// Control characters that are whitespace: tab, line feed, vertical tab, form feed, carriage return, next line.
  case spaceControl
}

/// A set of categories, one bit each.
struct UnicodeCategorySet: OptionSet, Sendable {
  let rawValue: UInt32

  init(rawValue: UInt32) { self.rawValue = rawValue }

  init(_ members: UnicodeCategory...) { rawValue = members.reduce(0) { $0 | 1 << UInt32($1.rawValue) } }

  static let letter = Self(.lowercaseLetter, .modifierLetter, .otherLetter, .titlecaseLetter, .uppercaseLetter)
  static let mark = Self(.spacingMark, .enclosingMark, .nonspacingMark)
  static let number = Self(.decimalNumber, .letterNumber, .otherNumber)
  static let punctuation = Self(.connector, .dash, .close, .finalQuote, .initialQuote, .otherPunctuation, .open)
  static let symbol = Self(.currency, .modifierSymbol, .mathSymbol, .otherSymbol)
  static let whitespace = Self(.lineSeparator, .paragraphSeparator, .spaceSeparator, .spaceControl)

  /// Whether the category with raw value `category` is a member.
  @inline(__always)
  func contains(_ category: UInt8) -> Bool { rawValue >> UInt32(category & 31) & 1 == 1 }
}

/// The category of every scalar, stored in deduplicated blocks of 256.
struct UnicodeCategories: Sendable {
  private let pages: [UInt16]
  private let blocks: [UInt8]

  /// The table, decoded on first use.
  static let shared = UnicodeCategories()

  private init() {
    let whitespaceControls: Set<Int> = [9, 10, 11, 12, 13, 0x85]
    var all: [UInt8] = []
    all.reserveCapacity(0x110000)
    var category: UInt8 = 0
    var count = 0
    func flush() {
      all.append(contentsOf: repeatElement(category, count: all.isEmpty && count == 0 ? 0 : max(count, 1)))
    }
    var started = false
    UnicodeCategoryTable.categories.withUTF8Buffer { text in
      for byte in text {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): count = count * 10 + Int(byte - 48)
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"):
          if started { flush() }
          started = true
          category = byte >= 97 ? byte - 97 + 26 : byte - 65
          count = 0
        default: break
        }
      }
      flush()
    }
    for scalar in whitespaceControls where scalar < all.count { all[scalar] = UnicodeCategory.spaceControl.rawValue }
    var pages: [UInt16] = []
    var blocks: [UInt8] = []
    var known: [ArraySlice<UInt8>: UInt16] = [:]
    for start in stride(from: 0, to: 0x110000, by: 256) {
      let block = all[min(start, all.count)..<min(start + 256, all.count)]
      if let page = known[block] {
        pages.append(page)
      } else {
        let page = UInt16(blocks.count / 256)
        known[block] = page
        pages.append(page)
        blocks.append(contentsOf: block)
        blocks.append(contentsOf: repeatElement(0, count: 256 - block.count))
      }
    }
    self.pages = pages
    self.blocks = blocks
  }

  /// The raw value of a scalar's category. The scalar must be below 0x110000.
  @inline(__always)
  subscript(scalar: UInt32) -> UInt8 {
    blocks[Int(pages[Int(scalar >> 8)]) << 8 | Int(scalar & 0xFF)]
  }
}

/// Decodes the scalar at `index` of UTF-8 that ends at `end`. A malformed byte counts as one scalar.
@inline(__always)
func decodeScalar(_ bytes: [UInt8], _ index: Int, _ end: Int) -> (value: UInt32, length: Int) {
  let lead = bytes[index]
  if lead < 0x80 { return (UInt32(lead), 1) }
  if lead < 0xE0 {
    guard lead >= 0xC2, index + 1 < end else { return (0xFFFD, 1) }
    return (UInt32(lead & 0x1F) << 6 | UInt32(bytes[index + 1] & 0x3F), 2)
  }
  if lead < 0xF0 {
    guard index + 2 < end else { return (0xFFFD, 1) }
    return (
      UInt32(lead & 0x0F) << 12 | UInt32(bytes[index + 1] & 0x3F) << 6 | UInt32(bytes[index + 2] & 0x3F), 3
    )
  }
  guard index + 3 < end, lead < 0xF5 else { return (0xFFFD, 1) }
  let high = UInt32(lead & 0x07) << 18 | UInt32(bytes[index + 1] & 0x3F) << 12
  let value = high | UInt32(bytes[index + 2] & 0x3F) << 6 | UInt32(bytes[index + 3] & 0x3F)
  return (min(value, 0x10FFFF), 4)
}

/// Whether a scalar has the Unicode property White_Space.
func isWhitespace(_ scalar: UInt32) -> Bool {
  UnicodeCategorySet.whitespace.contains(UnicodeCategories.shared[min(scalar, 0x10FFFF)])
}

/// Whether a scalar is a word character in Rust's `regex` crate, which defines the pre-tokenizer `Whitespace` and
/// single-word added tokens. Unlike Oniguruma, it includes U+200C and U+200D.
func isWord(_ scalar: UInt32) -> Bool {
  let word: UnicodeCategorySet = [.letter, .mark, .init(.decimalNumber, .letterNumber, .connector)]
  return word.contains(UnicodeCategories.shared[min(scalar, 0x10FFFF)]) || scalar == 0x200C || scalar == 0x200D
    || UnicodeCategoryTable.otherWordScalars.contains { $0.contains(scalar) }
}
