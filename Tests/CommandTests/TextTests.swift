import Foundation
import OrderedJSON
import Testing

/// `tokenize`, `render`, `preview`: text in any script is unchanged.
@Suite struct TextTests {
  static let text = "你好，世界！廣東話：唔該晒 🙂👩‍👩‍👧 é ﷺ\n\ttwo  spaces <|im_start|>"

  @Test func tokensDecodeToTheText() async throws {
    let workspace = try Workspace()
    try workspace.write("text.txt", Self.text)
    let json = try await workspace.run("tokenize", "m", "--json", "--text", Self.text).json()
    #expect(json.object?.keys == ["ids", "tokens"])
    let ids = try #require(json["ids"]?.integers)
    #expect(json["tokens"]?.array?.count == ids.count)
    #expect(ids.last == 1, "the special token in the text is one token")
    let decoded = try await workspace.run(
      "tokenize", "m", "--json", "--decode", ids.map(String.init).joined(separator: ",")
    ).json()
    #expect(decoded["text"]?.string.map { Array($0.utf8) } == Array(Self.text.utf8))
    let spaced = try await workspace.run("tokenize", "m", "--decode", ids.map(String.init).joined(separator: " "))
    #expect(spaced.text() == Self.text + "\n")
    #expect(try await workspace.run(line: "tokenize m --json --file text.txt").json() == json)
    #expect(try await Command.run(["tokenize", "m", "--json"], in: workspace, input: Self.text).json() == json)
  }

  @Test func templatesRenderExactly() async throws {
    let workspace = try Workspace()
    let messages = #"[{"role": "user", "content": "你好 🙂"}]"#
    try workspace.write("list.json", messages)
    try workspace.write("tools.json", #"[{"name": "天氣"}]"#)
    try workspace.write("both.json", #"{"messages": \#(messages), "tools": [{"name": "天氣"}]}"#)
    try workspace.write(
      "t.jinja", "{{ messages[0].content }}|{{ tools and tools[0].name }}|{{ n }}|{{ think is defined and think }}")
    #expect(
      try await workspace.run(line: "render m --messages list.json").text()
        == "<|im_start|>user\n你好 🙂<|im_end|>\n")
    #expect(
      try await workspace.run(line: "render m --messages list.json --add-generation-prompt").text()
        == "<|im_start|>user\n你好 🙂<|im_end|>\n<|im_start|>assistant\n")
    #expect(
      try await workspace.run(
        line: #"render t.jinja --messages list.json --tools tools.json --set n="二" --set think=true"#
      ).text() == "你好 🙂|天氣|二|True")
    #expect(
      try await workspace.run(line: "render t.jinja --messages both.json --set n=[1,2]").text()
        == "你好 🙂|天氣|[1, 2]|False")
    #expect(
      try await Command.run(["render", "t.jinja", "--messages", "-"], in: workspace, input: messages).text()
        == "你好 🙂|None||False")
  }

  @Test func previewShowsRowsAndWhatIsTrainedOn() async throws {
    let workspace = try Workspace()
    try workspace.write("r.yaml", "model_name_or_path: m\ndataset_name: rows.jsonl\n")
    let shown = try await workspace.run(line: "preview --config r.yaml --rows 2").text()
    for text in ["prompt", "completion", "你好，世界", "唔該晒 🙂", "[你]", "[好]", "[🙂]", "[<|im_end|>]", "廣東話："] {
      #expect(shown.contains(text), "\(text)")
    }
    #expect(!shown.contains("\u{FFFD}"))
    #expect(!shown.contains("Yoda"))
    #expect(shown.contains("% of these tokens are trained on"))
    #expect(try await workspace.run(line: "preview --config r.yaml --rows=2").text() == shown)
    let whole = try await workspace.run(line: "preview --config r.yaml --rows 2 --completion_only_loss false").text()
    #expect(whole.contains("[廣][東][話]") && !shown.contains("[廣]"))
  }

  /// Conversations have a column per role, and several turns of a role are numbered.
  @Test func previewShowsAColumnPerRole() async throws {
    let workspace = try Workspace()
    try workspace.write(
      "chat.jsonl",
      """
      {"messages": [{"role": "user", "content": "one"}, {"role": "assistant", "content": "eins"}]}
      {"messages": [{"role": "system", "content": "deutsch"}, {"role": "user", "content": "two"}, \
      {"role": "assistant", "content": "zwei"}, {"role": "user", "content": "three"}, \
      {"role": "assistant", "content": "drei"}]}

      """)
    let shown = try await workspace.run(line: "preview --model_name_or_path m --dataset_name chat.jsonl").text()
    for line in [
      "│ system  │ user     │ assistant │", "│         │ one      │ eins      │", "│ deutsch │ 1. two   │ 1. zwei   │",
      "│         │ 2. three │ 2. drei   │",
    ] { #expect(shown.contains(line), "\(line)\n\(shown)") }
  }
}

/// The completion scripts of shells.
@Suite struct CompletionTests {
  /// What bash offers for the last of these words.
  private func completions(_ words: String...) async throws -> [String] {
    let workspace = try Workspace()
    let script = try await workspace.run("--generate-completion-script", "bash")
    try workspace.write("swiftlet.bash", script.text())
    let line = words.joined(separator: " ")
    let commands = """
      . ./swiftlet.bash; COMP_WORDS=(\(line)); COMP_CWORD=\(words.count - 1); COMP_LINE='\(line)'; COMP_POINT=\(line.count)
      _swiftlet swiftlet '\(words[words.count - 1])' '\(words[words.count - 2])'; printf '%s\\n' "${COMPREPLY[@]}"
      """
    let outcome = try await Command.run(["-c", commands], in: workspace, launcher: "/bin/bash")
    return outcome.text().split(separator: "\n").map(String.init).sorted()
  }

  @Test func bashCompletesKeysAndFiles() async throws {
    #expect(try await completions("swiftlet", "sft", "--learning") == ["--learning_rate"])
    #expect(try await completions("swiftlet", "sft", "--loss_w") == [])
    #expect(try await completions("swiftlet", "dpo", "--loss_w") == ["--loss_weights"])
    #expect(try await completions("swiftlet", "audit", "--sim") == ["--similarity"])
    #expect(try await completions("swiftlet", "plan", "row") == ["rows.jsonl"])
  }

  @Test(arguments: ["zsh", "fish"]) func otherShellsKnowKeys(_ shell: String) async throws {
    let script = try await Workspace().run("--generate-completion-script", shell).text()
    let lines = script.split(separator: "\n").filter { $0.contains("learning_rate") && $0.contains("The ") }
    // The eight subcommands that take keys.
    #expect(lines.count >= 8, "\(lines)")
  }
}
