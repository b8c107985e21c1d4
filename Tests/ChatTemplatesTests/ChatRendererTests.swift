import ChatTemplates
import Diagnostics
import Foundation
import OrderedJSON
import Testing

@Suite("Rendering with a model's templates")
struct ChatRendererTests {
  private let renderer: ChatRenderer
  private let tools: JSONValue = [["type": "function", "function": ["name": "f"]]]

  init() throws {
    renderer = try ChatRenderer(
      sources: [
        "default": "D{{ bos_token }}{{ messages[0].content }}", "tool_use": "T{{ tools|length }}",
        "rag": "R{{ documents|length }}", "broken": "{% nothing %}",
      ], variables: ["bos_token": "<s>"])
  }

  @Test("Named templates are chosen as transformers chooses them") func names() throws {
    #expect(try renderer.render(Conversation([.user("u")])).text == "D<s>u")
    #expect(try renderer.render(Conversation([.user("u")], tools: tools)).text == "T1")
    #expect(try renderer.render(Conversation([.user("u")], tools: [])).text == "T0")
    let rag: JSONObject = ["chat_template": "rag", "documents": [["text": "d"]]]
    #expect(try renderer.render(Conversation([.user("u")], tools: tools, variables: rag)).text == "R1")
    let own: JSONObject = ["chat_template": "{{ messages|length }}"]
    #expect(try renderer.render(Conversation([.user("u")], variables: own)).text == "1")
    #expect(throws: SwiftletError.self) {
      try renderer.render(Conversation([.user("u")], variables: ["chat_template": "missing"]))
    }
    let only = try ChatRenderer(sources: ["default": "{{ tools|length }}"])
    #expect(try only.render(Conversation([.user("u")], tools: tools)).text == "1")
    let unnamed = try ChatRenderer(sources: ["a": "a", "b": "b"])
    #expect(throws: SwiftletError.self) { try unnamed.render(Conversation([.user("u")])) }
  }

  @Test("Variables of the conversation override those of the model") func variables() throws {
    #expect(try renderer.render(Conversation([.user("u")], variables: ["bos_token": "<b>"])).text == "D<b>u")
  }

  @Test("Null members are dropped, large integers keep their digits") func messages() throws {
    let json = try JSONValue(
      parsing: #"[{"role": "assistant", "content": null, "tool_calls": [{"n": 12345678901234567890}]}]"#)
    let template = try ChatTemplate(
      "{{ messages[0].content is defined }} {{ messages[0].tool_calls|tojson }} {{ messages[0].tool_calls }}")
    let text = try template.render(messages: try Message.list(json)).text
    #expect(text == #"False [{"n": 12345678901234567890}] [{'n': 12345678901234567890}]"#)
    let comparisons = try ChatTemplate(
      "{% set n = messages[0].tool_calls[0].n %}{{ n > 1 }} {{ n == n }} {{ n is number }} {{ n is integer }} "
        + "{{ n|string }} {{ n|abs }} {{ n > 1e30 }}")
    #expect(
      try comparisons.render(messages: try Message.list(json)).text
        == "True True True True 12345678901234567890 12345678901234567890 False")
    #expect(throws: SwiftletError.self) { try Message.list(["x"]) }
    #expect(throws: SwiftletError.self) { try Message.list(["role": "user"]) }
  }

  @Test("Messages keep every member and survive coding") func coding() throws {
    let call: JSONValue = ["type": "function", "function": ["name": "f", "arguments": ["a": 1]]]
    let messages: [Message] = [
      .system("s"), .user("u"), .assistant("a", reasoning: "r", toolCalls: [call]), .tool("t", name: "f"),
    ]
    #expect(messages.map(\.role) == ["system", "user", "assistant", "tool"])
    #expect(messages[2].reasoningContent == "r" && messages[2].toolCalls == [call])
    #expect(messages[3].members["name"]?.string == "f")
    #expect(try JSONDecoder().decode([Message].self, from: JSONEncoder().encode(messages)) == messages)
    let parts = Message(["role": "user", "content": [["type": "text", "text": "a"], ["type": "image"]], "x": 1])
    #expect(parts.content == "a" && parts.json["x"]?.integer == 1)
  }

  @Test("The template of a folder") func folder() throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "swiftlet-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    #expect(try ChatRenderer.templateSource(in: folder) == nil)
    let configuration = folder.appending(path: "tokenizer_config.json")
    try #"{"chat_template": [{"name": "tool_use", "template": "T"}, {"name": "default", "template": "D"}]}"#
      .write(to: configuration, atomically: true, encoding: .utf8)
    #expect(try ChatRenderer.templateSource(in: folder) == "D")
    try #"{"chat_template": "C"}"#.write(to: configuration, atomically: true, encoding: .utf8)
    #expect(try ChatRenderer.templateSource(in: folder) == "C")
    try "{".write(to: configuration, atomically: true, encoding: .utf8)
    #expect(throws: SwiftletError.self) { try ChatRenderer.templateSource(in: folder) }
    try "J".write(to: folder.appending(path: "chat_template.jinja"), atomically: true, encoding: .utf8)
    #expect(try ChatRenderer.templateSource(in: folder) == "J")
  }

  @Test("strftime_now formats like C's strftime in the C locale") func strftime() throws {
    let codes =
      "%a|%A|%b|%B|%c|%C|%d|%D|%e|%F|%g|%G|%h|%H|%I|%j|%k|%l|%m|%M|%n|%p|%P|%r|%R|%S|%t|%T|%u|%U|%V|%w|%W|%x|"
      + "%X|%y|%Y|%%|%f|%z|%Z|%-d|%_H|%^a|%05d|%:z|%Od|%Ey|é"
    let template = try ChatTemplate("{{ strftime_now('\(codes)') }}{{ strftime_now('') }}")
    let now = CivilTime(year: 2021, month: 1, day: 3, hour: 15, minute: 4, second: 5, microsecond: 67)
    #expect(
      try template.render(messages: [], now: now).text
        == "Sun|Sunday|Jan|January|Sun Jan  3 15:04:05 2021|20|03|01/03/21| 3|2021-01-03|20|2020|Jan|15|03|003|15| 3|01|04|"
        + "\n|PM|pm|03:04:05 PM|15:04|05|\t|15:04:05|7|01|53|0|00|01/03/21|15:04:05|21|2021|%|000067|||3|15|SUN|00003||03|21|é"
    )
  }
}
