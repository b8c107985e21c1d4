import Diagnostics
import Testing

@Suite struct EscapingTests {
  @Test func escapesControlCharacters() {
    #expect("a\n\r\tb".escapedLine(limit: 100) == "a\\n\\r\\tb")
    #expect("\u{1B}[2J\u{0}\u{7F}\u{9B}".escapedLine(limit: 100) == "\\u{1B}[2J\\u{0}\\u{7F}\\u{9B}")
    #expect("\u{202E}\u{2066}\u{2028}".escapedLine(limit: 100) == "\\u{202E}\\u{2066}\\u{2028}")
    #expect("中文 é 👩‍👧".escapedLine(limit: 100) == "中文 é 👩‍👧")
  }

  @Test func cutsToTheLimit() {
    #expect("abcdef".escapedLine(limit: 6) == "abcdef")
    #expect("abcdefg".escapedLine(limit: 6) == "abcdef…")
    #expect("abcde\u{1B}".escapedLine(limit: 6) == "abcde…")
    #expect("abc".escapedLine(limit: 0) == "…")
    // The limit bounds the escaped text, not only the original.
    let excerpt = String(repeating: "\u{1B}", count: 5000).quotedExcerpt
    #expect(excerpt.unicodeScalars.count <= 103)
  }

  @Test func anErrorIsOneShortPrintableLine() {
    let error = SwiftletError.model(String(repeating: "\u{1B}]0;x\u{7}\n", count: 10_000))
    #expect(error.reason.unicodeScalars.count <= SwiftletError.maximumLength + 1)
    #expect(!error.description.unicodeScalars.contains { $0.isTerminalControl })
  }

  @Test func locationsShowWhatIsKnown() {
    #expect(FileLocation().isEmpty && FileLocation().description == "")
    #expect(FileLocation(column: "a").isEmpty)
    let full = FileLocation(file: "a\u{1B}.jsonl", line: 3, row: 2, column: "x\n")
    #expect(full.description == "a\\u{1B}.jsonl, line 3, column \"x\\n\"")
    #expect(FileLocation(file: "a", row: 2).description == "a, row 2")
    #expect(SwiftletError.data("bad", at: full).description == "\(full): bad")
    #expect(SwiftletError.training("bad").description == "bad")
  }

  @Test func relocatingKeepsTheColumn() {
    let error = SwiftletError.data("bad", column: "prompt")
    let located = error.located(at: FileLocation(file: "a", row: 1, column: "other"))
    #expect(located.description == "a, row 1, column \"prompt\": bad")
    #expect(located.located(at: FileLocation(file: "b")) == located)
    #expect(located.relocated(to: FileLocation(file: "b")).location == FileLocation(file: "b", column: "prompt"))
  }
}
