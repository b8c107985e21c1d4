import OrderedJSON
import Testing
import Tokenizers

/// The scanners find the same words as the regular expressions they replace.
@Suite struct WordScannerTests {
  static let contractions = "'s|'t|'re|'ve|'m|'ll|'d"
  static let patterns = [
    contractions + #"| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#,
    "(?i:\(contractions))|"
      + #"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#,
    "(?i:\(contractions))|" + #"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#,
    "(?i:\(contractions))|" + #"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#,
    "(?i:\(contractions))|"
      + #"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#,
  ]

  /// Random texts in which all character classes of the expressions appear next to each other.
  static let texts: [String] = {
    let parts = [
      "'", "s", "S", "T", "re", "Re", "LL", "l", "ve", "d", "\u{17F}", "a", "Ω", "中", "न", "्", "\u{301}", "1", "23",
      "٣", "½",
      " ", "  ", "\n", "\r", "\r\n", "\t", "\u{A0}", "\u{3000}", "\u{2028}", "\u{85}", "\u{180E}", ".", "!?", "_", "。",
      "😀", "\u{200D}",
      "\u{0}", "\u{FFFD}", "\u{E000}",
    ]
    var generator = PropertyTests.Generator(state: 3)
    return (0..<6000).map { _ in
      (0..<Int.random(in: 1...12, using: &generator)).map { _ in parts.randomElement(using: &generator) ?? "" }.joined()
    }
  }()

  @Test(arguments: patterns)
  func scannersMatchTheirExpressions(pattern: String) throws {
    let scanner = try #require(WordScanner(pattern: pattern))
    let expression = try RegularExpression(pattern)
    for text in Self.texts {
      let bytes = Array(text.utf8)
      var scanned: [Range<Int>] = []
      var matched: [Range<Int>] = []
      scanner.forEachWord(bytes, 0..<bytes.count) { scanned.append($0) }
      expression.forEachMatch(bytes, 0..<bytes.count) { matched.append($0) }
      #expect(scanned == matched, "\(text.debugDescription)")
    }
  }

  @Test func otherExpressionsHaveNoScanner() {
    #expect(WordScanner(pattern: #"\p{L}+|\s+"#) == nil)
    #expect(WordScanner(pattern: Self.patterns[1] + "|x") == nil)
  }

  @Test func findsMatchesLongerThanAWindow() throws {
    for (pattern, text, expected) in [
      (#"\p{L}+"#, String(repeating: "中", count: 5000) + " ab", [0..<15000, 15001..<15003]),
      (#"x[^y]*y"#, "aax" + String(repeating: "b", count: 9000) + "yx", [2..<9004]),
      (#"\s+$"#, "a" + String(repeating: " ", count: 7000), [1..<7001]),
    ] {
      var matched: [Range<Int>] = []
      let bytes = Array(text.utf8)
      try RegularExpression(pattern).forEachMatch(bytes, 0..<bytes.count) { matched.append($0) }
      #expect(matched == expected)
    }
  }
}
