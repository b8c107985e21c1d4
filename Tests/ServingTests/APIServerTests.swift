import Diagnostics
import Foundation
import Models
import OrderedJSON
import Serving
import TestSupport
import Testing

/// OpenAI's protocol over a tiny model with random weights.
@Suite struct APIServerTests {
  private static let question: JSONValue = [["role": "user", "content": "Hello, who are you?"]]

  private static func chat(_ members: [(String, JSONValue)] = []) -> JSONValue {
    .object(JSONObject([("messages", question), ("temperature", 0), ("max_tokens", 12)] + members))
  }

  private static func content(_ json: JSONValue, _ index: Int = 0) -> String? {
    json["choices"]?[index]?["message"]?["content"]?.string
  }

  /// What `swiftlet generate` would answer.
  private static func answer(_ text: String, _ sampling: SamplingConfiguration, maxNewTokens: Int) throws -> String {
    let model = try TinyModel.model()
    return model.generate(
      try model.prompt([.user(text)]), sampling: sampling, maxNewTokens: maxNewTokens
    ).text
  }

  @Test func answersAreThoseOfGenerate() async throws {
    let server = APIServer(try await TinyFolder.engine())
    var sampling = SamplingConfiguration()
    let greedy = try await server.post("/v1/chat/completions", Self.chat())
    #expect(greedy.status == 200, "\(greedy.json.text())")
    let expected = try Self.answer("Hello, who are you?", sampling, maxNewTokens: 12)
    #expect(Self.content(greedy.json) == expected)
    #expect(greedy.json["usage"]?["completion_tokens"]?.integer == 12)
    #expect(greedy.json["choices"]?[0]?["finish_reason"]?.string == "length")

    (sampling.temperature, sampling.topP, sampling.seed) = (0.9, 0.95, 7)
    let sampled = try await server.post(
      "/v1/chat/completions", Self.chat([("temperature", 0.9), ("top_p", 0.95), ("seed", 7)]))
    #expect(Self.content(sampled.json) == (try Self.answer("Hello, who are you?", sampling, maxNewTokens: 12)))
  }

  /// Requests that share a batch don't change each other's answers.
  @Test func requestsShareABatch() async throws {
    let server = APIServer(try await TinyFolder.engine())
    let questions = (0..<12).map { "Question number \($0): " + String(repeating: "why? ", count: $0) }
    let found = try await withThrowingTaskGroup(of: (Int, String?).self) { group in
      for (index, question) in questions.enumerated() {
        group.addTask {
          let json = try await server.post(
            "/v1/chat/completions",
            ["messages": [["role": "user", "content": .string(question)]], "temperature": 0, "max_tokens": 10]
          ).json
          return (index, Self.content(json))
        }
      }
      return try await group.reduce(into: [Int: String?]()) { $0[$1.0] = $1.1 }
    }
    for (index, question) in questions.enumerated() {
      #expect(found[index] == (try Self.answer(question, SamplingConfiguration(), maxNewTokens: 10)), "\(index)")
    }
  }

  @Test func aLaterTurnReusesTheCache() async throws {
    let server = APIServer(try await TinyFolder.engine())
    let first = try await server.post("/v1/chat/completions", Self.chat()).json
    #expect(first["usage"]?["prompt_tokens_details"]?["cached_tokens"]?.integer == 0)
    let turns: JSONValue = [
      ["role": "user", "content": "Hello, who are you?"],
      ["role": "assistant", "content": .string(Self.content(first) ?? "")], ["role": "user", "content": "And then?"],
    ]
    let body: JSONValue = ["messages": turns, "temperature": 0, "max_tokens": 8]
    let second = try await server.post("/v1/chat/completions", body).json
    #expect(second["usage"]?["prompt_tokens_details"]?["cached_tokens"]?.integer ?? 0 > 16)
    let fresh = APIServer(try await TinyFolder.engine())
    #expect(Self.content(second) == Self.content(try await fresh.post("/v1/chat/completions", body).json))
  }

  @Test func streamedAnswersAreTheSame() async throws {
    let server = APIServer(try await TinyFolder.engine())
    let whole = try await server.post("/v1/chat/completions", Self.chat()).json
    let events = try await server.events(
      "/v1/chat/completions", Self.chat([("stream", true), ("stream_options", ["include_usage": true])]))
    #expect(events.last == "[DONE]")
    let chunks = try events.dropLast().map { try JSONValue(parsing: $0) }
    let text = chunks.compactMap { $0["choices"]?[0]?["delta"]?["content"]?.string }.joined()
    #expect(text == Self.content(whole))
    #expect(chunks.first?["choices"]?[0]?["delta"]?["role"]?.string == "assistant")
    #expect(chunks.contains { $0["choices"]?[0]?["finish_reason"]?.string == "length" })
    #expect(chunks.last?["usage"]?["completion_tokens"]?.integer == 12)
    #expect(Set(chunks.compactMap { $0["id"]?.string }).count == 1)
  }

  /// An error is of the same type whether it comes before an answer or in the middle of a stream.
  @Test func errorsOfStreamsHaveTheirTypes() async throws {
    let errors: [(error: any Error, type: String)] = [
      (SwiftletError.model("broken"), "invalid_request_error"), (CancellationError(), "server_error"),
      (APIError.conflict("busy"), "invalid_request_error"),
    ]
    for (error, type) in errors {
      guard case .bytes(let whole) = APIError.response(to: error).body,
        case .stream(let chunks) = HTTPResponse.events({ _ in throw error }).body
      else {
        Issue.record("an error is a whole response, and events are a stream")
        continue
      }
      var events = ""
      for try await chunk in chunks { events += String(decoding: chunk, as: UTF8.self) }
      let streamed = try JSONValue(parsing: String(events.dropFirst("data: ".count)))
      #expect(streamed["error"]?["type"]?.string == type)
      #expect(try streamed == JSONValue(parsing: whole))
    }
  }

  @Test func severalAnswersAndProbabilities() async throws {
    let server = APIServer(try await TinyFolder.engine())
    let json = try await server.post(
      "/v1/chat/completions",
      Self.chat([("n", 3), ("temperature", 1), ("seed", 3), ("logprobs", true), ("top_logprobs", 4)])
    ).json
    #expect(json["choices"]?.array?.count == 3)
    #expect(Set((0..<3).compactMap { Self.content(json, $0) }).count == 3)
    let entries = json["choices"]?[0]?["logprobs"]?["content"]?.array ?? []
    #expect(entries.count == 12)
    for entry in entries {
      let top = entry["top_logprobs"]?.array?.compactMap { $0["logprob"]?.double } ?? []
      #expect(top.count == 4 && top == top.sorted(by: >))
      #expect((entry["logprob"]?.double ?? 1) <= 0)
    }
  }

  @Test func stopStringsEndAnAnswer() async throws {
    let server = APIServer(try await TinyFolder.engine())
    let whole = Self.content(try await server.post("/v1/chat/completions", Self.chat()).json) ?? ""
    let stop = String(whole.dropFirst(3).prefix(2))
    let json = try await server.post("/v1/chat/completions", Self.chat([("stop", [.string(stop)])])).json
    #expect(Self.content(json) == whole.firstRange(of: stop).map { String(whole[..<$0.lowerBound]) })
    #expect(json["choices"]?[0]?["finish_reason"]?.string == "stop")
  }

  /// Even a model with random weights writes what a schema allows.
  @Test func answersFollowASchema() async throws {
    let server = APIServer(try await TinyFolder.engine())
    let schema: JSONValue = [
      "type": "object", "required": ["mood", "sure", "list"],
      "properties": [
        "mood": ["enum": ["good", "bad", "日本"]], "sure": ["type": "boolean"],
        "list": ["type": "array", "items": ["enum": [1, 2]], "minItems": 1, "maxItems": 3],
      ],
    ]
    var complete = 0
    for seed in 0..<8 {
      let json = try await server.post(
        "/v1/chat/completions",
        Self.chat([
          ("temperature", 1), ("seed", .integer(seed)), ("max_tokens", 400),
          ("response_format", ["type": "json_schema", "json_schema": ["name": "x", "schema": schema]]),
        ])
      ).json
      let text = Self.content(json) ?? ""
      var automaton = JSONAutomaton(try JSONSchemaDocument(schema))
      let isAllowed = automaton.read(text)
      #expect(isAllowed, "\(text)")
      // White space may have used up the tokens.
      guard json["choices"]?[0]?["finish_reason"]?.string == "stop" else { continue }
      complete += 1
      let answer = try JSONValue(parsing: text)
      #expect(["good", "bad", "日本"].contains(answer["mood"]?.string ?? ""))
      #expect(answer["sure"]?.bool != nil)
      #expect((1...3).contains(answer["list"]?.array?.count ?? 0))
    }
    #expect(complete >= 4)
  }

  @Test func plainCompletions() async throws {
    let server = APIServer(try await TinyFolder.engine())
    let body: JSONValue = ["prompt": "Once upon", "temperature": 0, "max_tokens": 9, "logprobs": 2]
    let json = try await server.post("/v1/completions", body).json
    let model = try TinyModel.model()
    #expect(
      json["choices"]?[0]?["text"]?.string
        == model.generate(model.tokenizer.encode("Once upon"), maxNewTokens: 9).text)
    #expect(json["choices"]?[0]?["logprobs"]?["token_logprobs"]?.array?.count == 9)
    let ids = try await server.post("/tokenize", ["content": "Once upon"]).json["tokens"] ?? []
    let again = try await server.post("/v1/completions", ["prompt": ids, "temperature": 0, "max_tokens": 9]).json
    #expect(again["choices"]?[0]?["text"]?.string == json["choices"]?[0]?["text"]?.string)
    #expect(try await server.post("/detokenize", ["tokens": ids]).json["content"]?.string == "Once upon")
    let events = try await server.events(
      "/v1/completions", ["prompt": "Once upon", "temperature": 0, "max_tokens": 9, "stream": true])
    let text = try events.dropLast().compactMap { try JSONValue(parsing: $0)["choices"]?[0]?["text"]?.string }.joined()
    #expect(text == json["choices"]?[0]?["text"]?.string)
  }

  @Test func modelsAreListed() async throws {
    let server = APIServer(try await TinyFolder.engine(["base", "tuned/v1"]))
    func get(_ path: String) async throws -> (Int, JSONValue) {
      let response = await server.respond(to: HTTPRequest(method: "GET", target: path))
      guard case .bytes(let bytes) = response.body else { return (0, .null) }
      return (response.status, try JSONValue(parsing: bytes))
    }
    let list = try await get("/v1/models").1
    #expect(list["data"]?.array?.compactMap { $0["id"]?.string } == ["base", "tuned/v1"])
    #expect(try await get("/v1/models/tuned%2Fv1").1["id"]?.string == "tuned/v1")
    #expect(try await get("/v1/models/other").0 == 404)
    #expect(try await get("/health").1["status"]?.string == "ok")
    let second = try await server.post("/v1/chat/completions", Self.chat([("model", "tuned/v1")]))
    #expect(second.status == 200 && second.json["model"]?.string == "tuned/v1")
  }

  @Test(arguments: [
    (#"{}"#, "messages"), (#"{"messages": []}"#, "messages"), (#"{"messages": [1]}"#, "messages[0]"),
    (#"{"messages": "hi"}"#, "messages"), (#"[]"#, "object"), (#"{"#, "JSON"),
    (#"{"messages":[{"role":"user","content":"x"}],"temperature":"hot"}"#, "temperature"),
    (#"{"messages":[{"role":"user","content":"x"}],"n":0}"#, "\"n\""),
    (#"{"messages":[{"role":"user","content":"x"}],"model":"gpt-4"}"#, "gpt-4"),
    (#"{"messages":[{"role":"user","content":[{"type":"image_url"}]}]}"#, "text"),
    (#"{"messages":[{"role":"user","content":"x"}],"response_format":{"type":"xml"}}"#, "response_format"),
    (#"{"messages":[{"role":"user","content":"x"}],"logit_bias":{"5":1}}"#, "logit_bias"),
    (#"{"messages":[{"role":"user","content":"x"}],"max_tokens":1e300}"#, "max_tokens"),
  ])
  func badRequestsNameWhatIsWrong(_ body: String, _ named: String) async throws {
    let server = APIServer(try await TinyFolder.engine())
    let response = await server.respond(
      to: HTTPRequest(method: "POST", target: "/v1/chat/completions", body: Array(body.utf8)))
    guard case .bytes(let bytes) = response.body else { return #expect(Bool(false)) }
    let message = try JSONValue(parsing: bytes)["error"]?["message"]?.string ?? ""
    #expect((400..<500).contains(response.status) && message.contains(named), "\(message)")
  }

  @Test func aPromptLongerThanTheContextIsRefused() async throws {
    let server = APIServer(try await TinyFolder.engine())
    let long = String(repeating: "long ", count: 20_000)
    let (status, json) = try await server.post(
      "/v1/chat/completions", ["messages": [["role": "user", "content": .string(long)]]])
    #expect(status == 400 && json["error"]?["message"]?.string?.contains("context") == true)
  }

  /// Who may use the server: only local names, only allowed pages, only with the key.
  @Test func access() async throws {
    var access = AccessRules()
    access.apiKey = "secret"
    access.allowedOrigins = ["http://localhost:3000"]
    let server = APIServer(try await TinyFolder.engine(), access: access)
    func status(_ headers: [(String, String)]) async -> Int {
      await server.respond(
        to: HTTPRequest(method: "GET", target: "/v1/models", headers: .init(headers))
      ).status
    }
    let key = ("Authorization", "Bearer secret")
    #expect(await status([key]) == 200)
    #expect(await status([]) == 401)
    #expect(await status([("Authorization", "Bearer secre")]) == 401)
    #expect(await status([("Authorization", "Bearer secrets")]) == 401)
    #expect(await status([key, ("Host", "localhost:8080")]) == 200)
    #expect(await status([key, ("Host", "[::1]:8080")]) == 200)
    #expect(await status([key, ("Host", "evil.example")]) == 403)
    #expect(await status([key, ("Host", "localhost.evil.example")]) == 403)
    #expect(await status([key, ("Host", "localhost:8080"), ("Origin", "http://localhost:8080")]) == 200)
    #expect(await status([key, ("Origin", "http://localhost:3000")]) == 200)
    #expect(await status([key, ("Origin", "https://evil.example")]) == 403)
    #expect(await status([key, ("Origin", "null")]) == 403)
  }
}
