import ChatTemplates
import Datasets
import Diagnostics
import Foundation
import OrderedJSON
import Testing
import Tokenizers

/// Rows made and changed in Swift.
@Suite struct RowTests {
  private let rows = InMemoryRows(
    [
      ["sentence": "one", "n": 1, "x": 1.5, "good": true], ["sentence": "two", "n": 2, "x": 2, "good": false],
      ["n": 3, "sentence": nil],
    ], file: "rows.jsonl")

  @Test func typedColumns() throws {
    let row = try rows.row(at: 0)
    let (text, number, fraction, truth): (String, Int, Double, Bool) = (
      try row["sentence"], try row["n"], try row["x"], try row["good"]
    )
    #expect(text == "one" && number == 1 && fraction == 1.5 && truth)
    let value = row["n"]
    #expect(value == 1)
    do throws(SwiftletError) {
      let _: String = try row["n"]
      Issue.record("a number was read as text")
    } catch {
      #expect(error.description == "column \"n\": expected a string, found a number")
    }
    #expect(throws: SwiftletError.self) { let _: Int = try row["missing"] }
    #expect(Row(["b": 1, "a": "x"] as [String: JSONValue]).keys == ["a", "b"])
  }

  @Test func mapToRows() throws {
    let mapped = rows.map { row -> Row in ["text": .string(try row["sentence"] + "!")] }
    #expect(try mapped.row(at: 1) == ["text": "two!"])
    do throws(SwiftletError) {
      _ = try mapped.row(at: 2)
      Issue.record("null was read as text")
    } catch {
      #expect(error.description == "rows.jsonl, row 3, column \"sentence\": expected a string, found null")
    }
  }

  @Test func mapToMessages() throws {
    let chats = try rows.filter { try $0["n"] < 3 }
      .map { [.user(try $0["sentence"]), .assistant("number \(try $0["n"] as Int)")] }
    #expect(
      try chats.row(at: 1)["messages"]
        == [["role": "user", "content": "two"], ["role": "assistant", "content": "number 2"]])
    let (set, report) = try Preparation(.bytes()).prepare(chats)
    #expect(set.documentCount == 2 && report.formats.map(\.name) == ["messages"])
  }

  @Test func filter() throws {
    struct Refusal: Error, CustomStringConvertible { let description = "refused" }
    #expect(try rows.filter { $0["good"] == true }.allRows().count == 1)
    do throws(SwiftletError) {
      _ = try rows.filter { row throws in
        if row["n"] == 2 { throw Refusal() }
        return true
      }
      Issue.record("the error was lost")
    } catch {
      #expect(error.description == "rows.jsonl, row 2: refused")
    }
  }

  @Test func optionsRoundTripThroughCoding() throws {
    var options = PreparationOptions()
    options.maxLength = nil
    options.truncation = .keepEnd
    options.completionOnlyLoss = false
    options.assistantOnlyLoss = true
    options.textField = "t"
    options.packing = .bfdSplit
    options.shuffleSeed = 7
    options.threads = 2
    #expect(try JSONDecoder().decode(PreparationOptions.self, from: JSONEncoder().encode(options)) == options)
    #expect(try JSONDecoder().decode(PreparationOptions.self, from: Data("{}".utf8)) == PreparationOptions())
  }

  /// A model with several templates: rows with tools use `tool_use`, and a row can name another one.
  @Test func namedTemplates() throws {
    let folder = Goldens.folder.deletingLastPathComponent().appendingPathComponent("models/tokenizer")
    let tokenizer = try Tokenizer(directory: folder)
    let renderer = try ChatRenderer(
      sources: [
        "default": "d{{ messages[0].content }}", "tool_use": "t{{ tools|length }}", "rag": "r{{ documents[0] }}",
      ])
    let rows = InMemoryRows([
      ["messages": [["role": "user", "content": "u"]]],
      ["messages": [["role": "user", "content": "u"]], "tools": [["name": "f"]]],
      ["messages": [["role": "user", "content": "u"]], "tools": "[]"],
      [
        "messages": [["role": "user", "content": "u"]],
        "chat_template_kwargs": ["chat_template": "rag", "documents": ["doc"]],
      ],
    ])
    let set = try Preparation(try RowTokenizer(tokenizer, renderer: renderer)).prepare(rows).set
    let texts = (0..<4).map { tokenizer.decode(set.example($0)?.ids ?? []) }
    #expect(texts == ["du", "t1", "t0", "rdoc"])
  }

  /// transformers 5.23 marks everything to the end of the row if a span ends at token 0.
  @Test func onlyTheAssistantsTokensAreTrained() throws {
    var tokenizer = RowTokenizer.bytes()
    tokenizer.render = { conversation in
      var rendering = ChatTemplate.Rendering(text: "")
      for message in conversation.messages {
        let start = rendering.text.utf8.count
        rendering.text += message.content
        if message.role == "assistant" { rendering.generationSpans.append(start..<rendering.text.utf8.count) }
      }
      return rendering
    }
    tokenizer.templateNote = "replaced"
    var options = PreparationOptions()
    options.assistantOnlyLoss = true
    let messages: [Message] = [.assistant("A"), .user("user"), .assistant("Yes"), .assistant(""), .user("end")]
    let rows = InMemoryRows([["messages": .array(messages.map(\.json))]])
    let (set, report) = try Preparation(tokenizer, options: options).prepare(rows)
    #expect(Array(set.labels) == [65, -100, -100, -100, -100, 89, 101, 115, -100, -100, -100])
    #expect(report.notes == ["replaced"])
  }
}
