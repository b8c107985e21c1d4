import Terminal
import Testing

@Suite struct TableTests {
  @Test func alignsWideAndNarrowCharacters() {
    var table = Table([.init("模型"), .init("bytes", isNumeric: true)])
    table.append(["Qwen3 🙂", "98"])
    table.append(["粵語"])
    #expect(
      table.text(width: 80) == """
        ┌──────────┬───────┐
        │ 模型     │ bytes │
        ├──────────┼───────┤
        │ Qwen3 🙂 │    98 │
        │ 粵語     │       │
        └──────────┴───────┘

        """)
    #expect(table.text(width: 80, border: .plain) == "模型      bytes\n────────  ─────\nQwen3 🙂     98\n粵語\n")
    #expect(table.markdown == "| 模型 | bytes |\n|---|---:|\n| Qwen3 🙂 | 98 |\n| 粵語 |  |\n")
  }

  @Test func comparisonsFitTheTerminal() {
    let table = Table.comparison([
      ("Translate: you will learn.", "You will learn, and that is a long answer of many words.", "Learn, you will."),
      ("好嗎？", "我好，你呢？我今日去咗街市買餸。", "幾好"),
    ])
    for width in [24, 40, 60, 100] {
      let lines = table.text(width: width).split(separator: "\n")
      #expect(Set(lines.map(\.displayWidth)).count == 1)
      #expect(lines.allSatisfy { $0.displayWidth <= width }, "\(width)")
    }
    #expect(table.text(width: 60).contains("├"))
  }

  @Test func cellsAndTitlesCannotControlTheTerminal() {
    var table = Table("a\u{1B}c", "b")
    table.append(["\u{1B}[31mred", "x|y\nz<script>"])
    #expect(!table.text(width: 40).contains("\u{1B}"))
    #expect(table.markdown.hasSuffix("| \u{FFFD}[31mred | x\\|y<br>z&lt;script> |\n"))
    #expect(Table([]).text(width: 10) == "")
    #expect(table.text(width: -5).contains("red"))
  }

  @Test func appliesStylesOnlyIfColored() {
    var table = Table("a")
    table.append(["x"])
    #expect(table.text(width: 40, style: Style(isColored: true)).contains("\u{1B}[1ma\u{1B}[0m"))
    #expect(Style(isColored: false).red("x") == "x")
    #expect(Style(isColored: true).red("x\ny") == "\u{1B}[31mx\u{1B}[0m\n\u{1B}[31my\u{1B}[0m")
  }
}
