import Datasets
import OrderedJSON
import Testing

@Suite struct PreparationTests {
  private func prepare(
    _ rows: [Row], addsBOS: Bool = false, _ change: (inout PreparationOptions) -> Void = { _ in }
  ) throws -> (set: TrainingSet, report: PreparationReport) {
    var options = PreparationOptions()
    change(&options)
    return try Preparation(.bytes(addsBOS: addsBOS), options: options)
      .prepare(InMemoryRows(rows, file: "rows.jsonl"))
  }

  private func failure(_ rows: [Row], _ change: (inout PreparationOptions) -> Void = { _ in }) -> String {
    do {
      _ = try prepare(rows, change)
      return "no error"
    } catch {
      return "\(error)"
    }
  }

  private func conversation(_ turns: (String, String)...) -> JSONValue {
    .array(turns.map { ["role": .string($0.0), "content": .string($0.1)] })
  }

  @Test func promptsAlone() throws {
    func change(_ options: inout PreparationOptions) { (options.rowKind, options.maxLength) = (.prompt, 20) }
    let messages = conversation(("user", "a"))
    let (set, report) = try prepare(
      [
        Row([("prompt", "ab"), ("completion", "cd")]), Row([("prompt", "twenty characters or")]),
        Row([("prompt", messages), ("answer", 7)]), Row([("prompt", "")]),
      ], change)
    #expect(set.rows == [0, 2] && report.holdsPrompts)
    #expect(set.example(0)?.ids == [97, 98])
    #expect(set.example(0)?.labels == [-100, -100])
    // The generation prompt follows the message.
    #expect((set.example(1)?.ids.count ?? 0) > 7)
    #expect(report.fullyMaskedRows == 1 && report.emptyRows == 1 && report.formats.map(\.rows) == [3, 1])
    #expect(report.warnings.contains("1 rows were dropped: their prompts fill max_length"))
    #expect(!report.warnings.contains { $0.contains("stop token") })
    #expect(failure([Row([("text", "a")])], change).contains("needs a \"prompt\", but has the columns \"text\""))
    #expect(failure([Row([("prompt", 7)])], change).contains("expected a string or a list of messages"))
    #expect(failure([Row([("prompt", "twenty characters or")])], change).contains("none of the 1 rows is left"))
  }

  @Test func report() throws {
    let (set, report) = try prepare(
      [
        Row([("prompt", "ab"), ("completion", "cd")]),
        Row([("prompt", "too long a prompt"), ("completion", "x")]),
        Row([("text", "")]),
        Row([("text", "0123456789")]),
        Row([("messages", conversation(("user", "a"), ("assistant", "b")))]),
      ]
    ) { $0.maxLength = 8 }
    #expect(set.documentCount == 4)
    #expect(set.rows == [0, 2, 3, 4])
    #expect(report.rows == 5)
    #expect(report.formats.map(\.name) == ["prompt and completion", "text", "messages"])
    #expect(report.formats.map(\.rows) == [2, 2, 1])
    #expect(report.keptRows == 4)
    #expect(report.fullyMaskedRows == 1)
    #expect(report.truncatedRows == 3)
    #expect(report.truncatedTokens == 11 + 3 + 13)
    #expect(report.tokens == 5 + 1 + 8 + 8)
    // "cd</s>" has 3 targets, "</s>" alone none because nothing predicts it, and the two truncated rows have 7 each.
    #expect(report.trainedTokens == 3 + 0 + 7 + 7)
    #expect(report.rowsWithTrainedEOS == 2 + 1)
    #expect(report.longestRow == 21)
    #expect(report.lengths.map(\.limit) == [16, 32])
    #expect(report.lengths.map(\.rows) == [3, 2])
    #expect(report.warnings.count == 2)
    #expect(report.json["trained_share"]?.double == 17.0 / 22.0)
  }

  @Test func warnings() throws {
    let doubled = try prepare([Row([("text", "a")])], addsBOS: true).report
    #expect(doubled.rowsWithDoubledBOS == 0)
    let ids: [JSONValue] = [256, 256, 5, 6]
    let pretokenized = try prepare([Row([("input_ids", .array(ids))])], addsBOS: true).report
    #expect(pretokenized.rowsWithDoubledBOS == 1)
    #expect(pretokenized.warnings.count == 2)  // and no stop token is trained
    let padded = [Row([("input_ids", [1, 2]), ("attention_mask", [1, 0])])]
    #expect(try prepare(padded).report.notes.first?.hasPrefix("attention_mask is ignored") == true)
    let masks = [Row([("input_ids", [1, 2]), ("completion_mask", [0, 1])])]
    #expect(try prepare(masks).report.notes == ["completion_mask is ignored unless completion_only_loss is true"])
  }

  @Test func shareGPTRows() throws {
    let turns: JSONValue = [
      ["from": "human", "value": "a"], ["from": "gpt", "value": "b"], ["from": "x", "value": nil],
    ]
    let (set, report) = try prepare([Row([("conversations", turns)])])
    #expect(Array(set.ids) == RowTokenizer.bytes().encode("human:a</s>\ngpt:b</s>\nx:</s>\n", false))
    #expect(report.notes.count == 1)
    #expect(report.notes.first?.contains("\"human\"") == true)
  }

  @Test func alpacaRows() throws {
    let row = Row([
      ("instruction", "Add."), ("input", "1 2"), ("output", "3"), ("system", "S"), ("history", [["q", "a"]]),
    ])
    let set = try prepare([row]).set
    let text = "system:S</s>\nuser:q</s>\nassistant:a</s>\nuser:Add.\n1 2</s>\nassistant:3</s>\n"
    #expect(Array(set.ids) == RowTokenizer.bytes().encode(text, false))
    #expect(set.labels.filter { $0 != -100 } == [51, 257, 10])
  }

  @Test func resultDoesNotDependOnThreads() throws {
    let rows = (0..<300).map { Row([("prompt", .string("row \($0)")), ("completion", .string("answer \($0 * $0)"))]) }
    let one = try prepare(rows) { $0.threads = 1 }
    let many = try prepare(rows) { $0.threads = 7 }
    #expect(one.set.ids == many.set.ids)
    #expect(one.set.labels == many.set.labels)
    #expect(one.report == many.report)
    // The error names the first bad row, whichever thread fails first.
    var broken = rows
    broken[70] = Row([("prompt", "x")])
    broken[290] = Row()
    #expect(failure(broken) { $0.threads = 7 }.hasPrefix("rows.jsonl, row 71, column \"completion\""))
  }

  @Test func errors() {
    #expect(failure([]).contains("there are no rows"))
    #expect(
      failure([Row([("a", 1), ("b", 2)])])
        == "rows.jsonl, row 1: the row has the columns \"a\", \"b\", but needs \"prompt\" and \"completion\", \"messages\", "
        + "\"text\" or \"input_ids\"; rename columns with rename_columns, or build one with template or messages")
    #expect(
      failure([Row([("prompt", "a"), ("completion", [["role": "x"]])])]).contains(
        "expected a string like the prompt, found an array"))
    #expect(failure([Row([("messages", [])])]).contains("is empty"))
    #expect(failure([Row([("messages", [["content": "x"]])])]).contains("no \"role\""))
    #expect(failure([Row([("text", 5)])]).contains("expected a string, found a number"))
    #expect(failure([Row([("input_ids", [1, 2]), ("labels", [1])])]).contains("has 1 numbers, but input_ids has 2"))
    for column in ["attention_mask", "completion_mask", "assistant_masks", "labels"] {
      let ids: JSONValue = [1, 2]
      let message = failure([Row([("input_ids", ids)]), Row([("input_ids", ids), (column, [1, 1, 1] as JSONValue)])])
      #expect(
        message == "rows.jsonl, row 2, column \"\(column)\": the list has 3 numbers, but input_ids has 2")
    }
    #expect(failure([Row([("input_ids", [5_000_000_000])])]).contains("a token id"))
    #expect(failure([Row([("text", "a")])]) { $0.assistantOnlyLoss = true }.contains("needs conversations"))
    #expect(
      failure([Row([("messages", conversation(("user", "a")))])]) { $0.assistantOnlyLoss = true }
        .contains("no token of this row is the assistant's"))
    #expect(failure([Row([("messages", conversation(("user", "a"))), ("tools", "[")])]).contains("not JSON"))
    #expect(failure([Row([("text", "a")])]) { $0.maxLength = 0 }.contains("at least 1"))
    #expect(failure([Row([("text", "a")])]) { ($0.maxLength, $0.packing) = (nil, .bfd) }.contains("needs max_length"))
    #expect(
      failure([Row([("input_ids", [1, 2]), ("labels", [-100, -100])])]).contains("none of the 1 rows has a token"))
  }
}
