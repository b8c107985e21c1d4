import Diagnostics
import Datasets
import OrderedJSON
import Testing

@Suite struct StepTests {
  private let rows = InMemoryRows(
    [
      Row([("a", 1), ("translation", ["zh": "他", "yue": "佢"]), ("lang", "yue")]),
      Row([("a", 2), ("translation", ["zh": "神", "yue": "掯"]), ("lang", "zh")]),
      Row([("a", nil), ("translation", ["zh": "三", "yue": "三"]), ("lang", "yue")]),
    ], file: "pairs.jsonl")

  private func texts(_ steps: [RowStep]) throws -> [String] {
    try rows.applying(steps).allRows().map { JSONValue.object($0).text() }
  }

  @Test func columns() throws {
    #expect(
      try texts([.select(1..<9), .renameColumns([.init("a", "lang"), .init("lang", "a")])])
        == [
          #"{"lang": 2, "translation": {"zh": "神", "yue": "掯"}, "a": "zh"}"#,
          #"{"lang": null, "translation": {"zh": "三", "yue": "三"}, "a": "yue"}"#,
        ])
    #expect(try texts([.select(0..<1), .removeColumns(["translation"])]) == [#"{"a": 1, "lang": "yue"}"#])
    #expect(try texts([.select(0..<1), .selectColumns(["lang", "a"])]) == [#"{"lang": "yue", "a": 1}"#])
  }

  @Test func templatesAndMessages() throws {
    let pattern = try TextPattern("{{{translation.zh}}} -> {translation.yue} ({a})")
    #expect(
      try rows.applying([.template(column: "text", pattern)]).allRows().map { $0["text"]?.string }
        == ["{他} -> 佢 (1)", "{神} -> 掯 (2)", "{三} -> 三 ()"])
    let messages = RowStep.messages(
      column: "messages",
      [
        .init(role: "system", content: try TextPattern("Translate.")),
        .init(role: "user", content: try TextPattern("{translation.zh}")),
      ])
    #expect(
      try rows.applying([messages]).row(at: 1)["messages"]?.text()
        == #"[{"role": "system", "content": "Translate."}, {"role": "user", "content": "神"}]"#)
    #expect(throws: SwiftletError.self) { try TextPattern("{a") }
    #expect(throws: SwiftletError.self) { try TextPattern("a}") }
  }

  @Test func filters() throws {
    #expect(
      try texts([.filter(column: "lang", equals: "yue"), .selectColumns(["a"])]) == [#"{"a": 1}"#, #"{"a": null}"#])
    #expect(try texts([.filter(column: "a", equals: nil), .selectColumns(["a"])]) == [#"{"a": 1}"#, #"{"a": 2}"#])
    #expect(try texts([.filter(column: "translation.zh", equals: "神"), .selectColumns(["a"])]) == [#"{"a": 2}"#])
    #expect(try rows.applying([.filter(column: "gone", equals: nil)]).count == 0)
  }

  @Test func shufflesAndSplits() throws {
    #expect(try rows.applying([.shuffle(seed: 3407)]).allRows().count == 3)
    let split = Split(testSize: .rows(1), seed: nil, part: .test)
    #expect(try texts([.split(split), .selectColumns(["a"])]) == [#"{"a": null}"#])
    #expect(throws: SwiftletError.self) { try Split(testSize: .rows(3), seed: 0, part: .test).indices(count: 3) }
    #expect(throws: SwiftletError.self) { try Split(testSize: .fraction(.nan), seed: 0, part: .test).indices(count: 3) }
  }

  @Test func concatenation() throws {
    let joined = try ConcatenatedRows([rows, rows.applying([.select(0..<2)])], fractions: [1, 2])
    // The second source has 2 rows and two thirds of the total, so the total is 3 and the first contributes 1.
    #expect(try joined.allRows().map { $0["a"]?.integer } == [1, 1, 2])
    #expect(throws: SwiftletError.self) { try ConcatenatedRows([rows], fractions: [0]) }
    #expect(throws: SwiftletError.self) { try Interleaving(probabilities: [0.5]).interleave([rows, rows]) }
    #expect(throws: SwiftletError.self) {
      try Interleaving(probabilities: [1e-300, 1], stoppingStrategy: .allExhausted).interleave([rows, rows])
    }
  }

  @Test func errorsNameRowAndColumn() throws {
    let missing = try rows.applying([.template(column: "text", try TextPattern("{translation.en}"))])
    do {
      _ = try missing.row(at: 1)
      Issue.record("there is no such column")
    } catch {
      #expect(
        error.description
          == "pairs.jsonl, row 2, column \"translation.en\": the template uses this column, but the row has "
          + "\"a\", \"translation\", \"lang\"")
    }
    for step in [RowStep.removeColumns(["x"]), .selectColumns(["x"]), .renameColumns([.init("x", "y")])] {
      #expect(throws: SwiftletError.self) { try rows.applying([step]).allRows() }
    }
    #expect(throws: SwiftletError.self) { try rows.applying([.renameColumns([.init("a", "lang")])]).allRows() }
    #expect(throws: SwiftletError.self) { try rows.row(at: 3) }
    #expect(throws: SwiftletError.self) { try rows.row(at: -1) }
  }
}
