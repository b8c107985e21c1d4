import Serving
import Testing

/// What is found in a streamed text doesn't depend on the pieces it comes in.
@Suite struct StreamedTextTests {
  private static let pieceLengths = [1, 2, 3, 5, 8, 1000]

  private static func pieces(_ text: String, _ length: Int) -> [String] {
    stride(from: 0, to: text.count, by: length).map { String(text.dropFirst($0).prefix(length)) }
  }

  @Test(arguments: [
    ("Hello world", ["STOP"], "Hello world", false), ("Hello STOP world", ["STOP"], "Hello ", true),
    ("a\n\nb", ["\n\n"], "a", true), ("abcabd", ["abd", "cab"], "ab", true), ("SSTOP", ["STOP"], "S", true),
    ("日本語。終わり", ["。"], "日本語", true), ("ST", ["STOP"], "ST", false), ("x", [""], "x", false),
  ])
  func stopStrings(_ text: String, _ stops: [String], _ expected: String, _ hasStopped: Bool) {
    for length in Self.pieceLengths {
      var filter = StopStrings(stops)
      var found = ""
      for piece in Self.pieces(text, length) { found += filter.append(piece) }
      found += filter.finish()
      #expect(found == expected && filter.hasStopped == hasStopped, "\(length)")
    }
  }

  /// Joins neighbors of the same kind.
  private static func joined(_ parts: [AnswerParser.Part]) -> [AnswerParser.Part] {
    parts.reduce(into: []) { joined, part in
      switch (joined.last, part) {
      case (.content(let a)?, .content(let b)): joined[joined.count - 1] = .content(a + b)
      case (.reasoning(let a)?, .reasoning(let b)): joined[joined.count - 1] = .reasoning(a + b)
      default: joined.append(part)
      }
    }
  }

  @Test(
    arguments: [
      ("Hi <b>there</b>", false, false, [.content("Hi <b>there</b>")]),
      ("<think>\nSo.\n</think>\n\nYes", false, false, [.reasoning("\nSo.\n"), .content("Yes")]),
      ("So.</think>\n\nYes", false, true, [.reasoning("So."), .content("Yes")]),
      ("I <think> so", false, false, [.content("I <think> so")]),
      (
        "Wait.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>", true, false,
        [.content("Wait.\n"), .toolCall(name: "f", arguments: "{\"a\":1}")]
      ),
      (
        "<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>\n<tool_call>{\"name\":\"g\",\"arguments\":{}}</tool_call>",
        true, false, [.toolCall(name: "f", arguments: "{}"), .toolCall(name: "g", arguments: "{}")]
      ),
      (
        "{\"name\": \"f\", \"parameters\": {\"a\": \"b\"}}", true, false,
        [.toolCall(name: "f", arguments: "{\"a\":\"b\"}")]
      ),
      ("{\"x\": 1}", true, false, [.content("{\"x\": 1}")]),
      ("<tool_call>not JSON</tool_call>", true, false, [.content("<tool_call>not JSON</tool_call>")]),
      ("<tool_call>{\"name\":\"f\",\"arguments\":{}}", true, false, [.toolCall(name: "f", arguments: "{}")]),
      ("<tool_call>{}</tool_call>", false, false, [.content("<tool_call>{}</tool_call>")]),
    ] as [(String, Bool, Bool, [AnswerParser.Part])])
  func answers(_ text: String, _ tools: Bool, _ reasoning: Bool, _ expected: [AnswerParser.Part]) {
    for length in Self.pieceLengths {
      var parser = AnswerParser(readsToolCalls: tools, beginsInReasoning: reasoning)
      var parts: [AnswerParser.Part] = []
      for piece in Self.pieces(text, length) { parts += parser.append(piece) }
      parts += parser.finish()
      #expect(Self.joined(parts) == expected, "\(length)")
    }
  }
}
