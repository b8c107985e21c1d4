import Diagnostics
import Terminal
import Testing

@Suite struct PrintableTests {
  @Test func replacesControlCharacters() {
    #expect("\u{1B}[2Jx\ty\r\nz\u{7}\u{202E}".printable == "\u{FFFD}[2Jx  y\nz\u{FFFD}\u{FFFD}")
    #expect("👩‍👧 你好 é".printable == "👩‍👧 你好 é")
  }

  /// Messages escape and the terminal replaces exactly the same scalars, apart from line breaks and tabs.
  @Test func sharesTheRulesOfErrorMessages() throws {
    for value in UInt32(0)...0x3000 {
      guard let scalar = Unicode.Scalar(value) else { continue }
      let text = String(scalar)
      #expect(!text.escapedLine(limit: 20).unicodeScalars.contains { $0.isTerminalControl })
      #expect(!text.printable.replacing("\n", with: "").unicodeScalars.contains { $0.isTerminalControl })
      if !scalar.isTerminalControl { #expect(text.printable == text && text.escapedLine(limit: 20) == text) }
    }
  }

  @Test func outputsKeepOnlyTheirOwnColors() {
    let hostile = "a\u{1B}[2J\u{1B}]0;title\u{7}\u{1B}[8mb\u{9B}31m"
    let cleaned = "a\u{FFFD}[2J\u{FFFD}]0;title\u{FFFD}\u{FFFD}[8mb\u{FFFD}31m"
    for isColored in [false, true] {
      let recorder = Recorder()
      let output = recorder.output(isTerminal: true, isColored: isColored)
      output.print(output.style.red("x") + hostile)
      #expect(recorder.take() == output.style.red("x") + cleaned + "\n")
    }
    let recorder = Recorder()
    recorder.output(isTerminal: true).print(Style(isColored: true).red("x"))
    #expect(recorder.take() == "\u{FFFD}[31mx\u{FFFD}[0m\n")
  }

  @Test func textIsVerbatimUnlessOnATerminal() {
    let recorder = Recorder()
    recorder.output(isTerminal: true).writeText("a\u{1B}[0m")
    #expect(recorder.take() == "a\u{FFFD}[0m")
    recorder.output(isTerminal: false).writeText("a\u{1B}[0m\t")
    #expect(recorder.take() == "a\u{1B}[0m\t")
  }
}
