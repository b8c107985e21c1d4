import Foundation
import OrderedJSON
import Testing

/// `generate`, `chat`, `eval`: the format of their JSON, and that they agree with each other.
@Suite struct AnswerTests {
  @Test func generatePrintsOneJSONValue() async throws {
    let workspace = try Workspace()
    let outcome = try await workspace.run(
      line: "generate --model m --max-new-tokens 5 --json --system Brief --prompt", "你好 🙂")
    let json = try outcome.json()
    #expect(json.object?.keys == ["text", "ids", "prompt_tokens", "finish_reason"])
    #expect(json["ids"]?.array?.count == 5)
    #expect(json["finish_reason"]?.string == "length")
    #expect(outcome.errors == "")
    // The prompt is the system message and the question, rendered by the template.
    try workspace.write(
      "list.json", #"[{"role": "system", "content": "Brief"}, {"role": "user", "content": "你好 🙂"}]"#)
    let rendered = try await workspace.run(line: "render m --messages list.json --add-generation-prompt").text()
    let tokens = try await workspace.run("tokenize", "m", "--json", "--no-special-tokens", "--text", rendered).json()
    #expect(json["prompt_tokens"]?.integer == tokens["ids"]?.array?.count)
    // Decoding the ids gives the text.
    let ids = try #require(json["ids"]?.integers).map(String.init).joined(separator: ",")
    #expect(try await workspace.run(line: "tokenize m --json --decode \(ids)").json()["text"] == json["text"])
  }

  @Test func theStreamedTextIsTheAnswer() async throws {
    let workspace = try Workspace()
    let words = ["generate", "--model", "m", "--max-new-tokens", "20", "--prompt"]
    let text = try await Command.run(words + ["Yoda", "--json"], in: workspace).json()["text"]?.string
    #expect(try await Command.run(words + ["Yoda"], in: workspace).text() == (text ?? "") + "\n")
    #expect(try await Command.run(words + ["-"], in: workspace, input: "Yoda").text() == (text ?? "") + "\n")
    let raw = try await Command.run(words + ["Yoda", "--json", "--raw"], in: workspace).json()
    let tokens = try await workspace.run(line: "tokenize m --json --text Yoda").json()
    #expect(raw["prompt_tokens"]?.integer == tokens["ids"]?.array?.count)
  }

  @Test func theSameSeedDrawsTheSame() async throws {
    let workspace = try Workspace()
    func ids(_ flags: String) async throws -> JSONValue? {
      try await workspace.run(line: "generate --model m --prompt hi --max-new-tokens 20 --json \(flags)").json()["ids"]
    }
    let first = try await ids("--temperature 1 --seed 7")
    #expect(try await ids("--temperature 1 --seed 7") == first)
    #expect(try await ids("--temperature 1 --seed 8") != first)
    // With one candidate, sampling is greedy, whatever the seed.
    let greedy = try await ids("--temperature 0")
    #expect(first != greedy)
    #expect(try await ids("--temperature 1 --top-k 1 --seed 3") == greedy)
    #expect(try await ids("--temperature 1 --top-p 0.000001 --seed 4") == greedy)
  }

  @Test func chatAnswersStartsOverAndQuits() async throws {
    let workspace = try Workspace()
    let answer = try await workspace.run(line: "generate --model m --prompt 你好 --max-new-tokens 4").text()
    let words = ["chat", "--model", "m", "--max-new-tokens", "4"]
    let one = try await Command.run(words, in: workspace, input: "你好\nq\nnever read\n")
    #expect(one.text() == answer)
    #expect(try await Command.run(words, in: workspace, input: "你好\n/new\n\n你好\n").text() == answer + answer)
    #expect(try await Command.run(words, in: workspace, input: "").text() == "")
    // The second turn sees the first one.
    let two = try await Command.run(words, in: workspace, input: "你好\n你好\n").text()
    #expect(two.hasPrefix(answer) && two != answer + answer)
    // A turn beyond the context is refused, and the chat continues.
    let long = String(repeating: "長", count: 200)
    let three = try await Command.run(words, in: workspace, input: "\(long)\n你好\n")
    #expect(three.text() == answer)
    #expect(three.errors.contains("/new"))
  }

  @Test func evalGivesTheLogarithmOfEveryCountedToken() async throws {
    let workspace = try Workspace()
    let json = try await workspace.run(line: "eval --model m --data rows.jsonl --logprobs --json").json()
    #expect(json.object?.keys == ["loss", "perplexity", "tokens", "rows"])
    let rows = try #require(json["rows"]?.array)
    #expect(rows.count == 4)
    var sum = 0.0
    var count = 0
    for row in rows {
      let logarithms = try #require(row["logprobs"]?.array)
      #expect(logarithms.count == (row["ids"]?.array?.count ?? 0) - 1)
      #expect(logarithms.first?.isNull == true, "the prompt is masked")
      for value in logarithms.compactMap(\.double) {
        sum -= value
        count += 1
      }
    }
    let loss = try #require(json["loss"]?.double)
    #expect(json["tokens"]?.integer == count)
    #expect(abs(sum / Double(count) - loss) < 1e-6 * loss)
    #expect(abs(exp(loss) - (json["perplexity"]?.double ?? 0)) < 1e-9 * exp(loss))
    // However rows are batched, the mean is that of the tokens.
    for size in [1, 3] {
      let other = try await workspace.run(line: "eval --model m --data rows.jsonl --json --batch-size \(size)").json()
      #expect(abs((other["loss"]?.double ?? 0) - loss) < 1e-6 * loss)
    }
    let whole = try await workspace.run(
      line: "eval --model m --data rows.jsonl --json --no-completion-only-loss"
    ).json()
    #expect((whole["tokens"]?.integer ?? 0) > count)
  }
}
