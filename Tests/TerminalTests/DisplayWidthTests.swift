import Terminal
import Testing

@Suite struct DisplayWidthTests {
  @Test(arguments: [
    ("", 0), ("abc", 3), ("é", 1), ("e\u{301}", 1), ("你好", 4), ("コンニチハ", 10), ("한국어", 6), ("ﾊﾝｶｸ", 4), ("，。", 4),
    ("🙂", 2), ("👩‍👩‍👧", 2), ("🇭🇰", 2), ("❤️", 2), ("❤", 1), ("1️⃣", 2), ("👍🏽", 2), ("\u{200B}", 0), ("a\u{0}b", 2), ("𠮷", 2),
    ("…", 1), ("━", 1), ("嘅🙂a", 5),
  ])
  func widths(text: String, columns: Int) {
    #expect(text.displayWidth == columns, "\(text)")
  }

  @Test func clipsAtCharacterBoundaries() {
    #expect("你好嗎".clipped(to: 5) == "你好")
    #expect("ab🙂c".clipped(to: 3) == "ab")
    #expect("ab".clipped(to: 0) == "")
    #expect("ab".clipped(to: 9) == "ab")
  }

  @Test func wrapsWordsAndWideCharacters() {
    #expect("the quick brown fox".wrapped(to: 10) == ["the quick", "brown fox"])
    #expect("你哋今日去邊度呀".wrapped(to: 7) == ["你哋今", "日去邊", "度呀"])
    #expect("abcdefghij kl".wrapped(to: 4) == ["abcd", "efgh", "ij", "kl"])
    #expect("a\n\nb".wrapped(to: 4) == ["a", "", "b"])
    #expect("  indented".wrapped(to: 20) == ["  indented"])
    #expect("".wrapped(to: 4) == [""])
    for line in "mixed 文字 and emoji 🙂🙂🙂 wrap well, averyveryverylongword too".wrapped(to: 11) {
      #expect(line.displayWidth <= 11)
    }
  }
}
