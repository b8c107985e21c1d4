import Diagnostics
import Models
import OrderedJSON
import Tokenizers

/// `/v1/completions`: continues plain text.
struct Completions {
  let engine: GenerationEngine

  func respond(to json: JSONValue) async throws -> HTTPResponse {
    let reader = RequestReader(json: json)
    let defaultModel = await engine.ids.first ?? ""
    let model = try reader.string("model") ?? defaultModel
    if try reader.bool("echo") == true || reader.string("suffix") != nil {
      throw APIError.invalidRequest("\"echo\" and \"suffix\" are not supported.")
    }
    var parameters = try SamplingParameters(reader)
    // As in OpenAI's API; chats have no such limit.
    parameters.maxNewTokens = parameters.maxNewTokens ?? 16
    let top = try reader.integer("logprobs", in: 0...20)
    let prompts = try prompts(json["prompt"])
    let (ids, context, tokenizer) = try await engine.withModel(model) { model in
      let ids = prompts.map { $0.ids ?? model.tokenizer.encode($0.text) }
      for (prompt, ids) in zip(prompts, ids) {
        try model.checkPrompt(ids)
        if let outside = prompt.ids?.first(where: { $0 < 0 || $0 >= model.transformer.configuration.vocabularySize }) {
          throw APIError.invalidRequest("The model has no token \(outside).", parameter: "prompt")
        }
      }
      return (ids, model.transformer.configuration.contextLength, model.tokenizer)
    }
    let requests = ids.flatMap {
      parameters.requests(model: model, prompt: $0, context: context, format: .text, topLogprobs: top)
    }
    guard requests.count <= 64 else {
      throw APIError.invalidRequest("One request may ask for at most 64 completions.", parameter: "prompt")
    }
    let answer = Answer(
      parameters: parameters, tokenizer: tokenizer, identity: ResponseIdentity(prefix: "cmpl-", model: model),
      promptTokens: ids.reduce(0) { $0 + $1.count })
    let generations = requests.map(engine.generate)
    return parameters.isStreaming
      ? .events { try await answer.send(generations, $0) } : .json(try await answer.whole(generations))
  }

  /// A text, several texts, tokens, or several lists of tokens.
  private func prompts(_ json: JSONValue?) throws(APIError) -> [(text: String, ids: [Int32]?)] {
    func ids(_ json: JSONValue) -> [Int32]? {
      guard let array = json.array else { return nil }
      let ids = array.compactMap { $0.integer.flatMap { Int32(exactly: $0) } }
      return ids.count == array.count ? ids : nil
    }
    if let text = json?.string { return [(text, nil)] }
    if let json, let ids = ids(json), !ids.isEmpty { return [("", ids)] }
    let prompts = (json?.array ?? []).compactMap { element in
      element.string.map { ($0, nil) } ?? ids(element).map { ("", $0) }
    }
    guard !prompts.isEmpty, prompts.count == json?.array?.count else {
      throw .invalidRequest("\"prompt\" must be text, tokens, or an array of either.", parameter: "prompt")
    }
    return prompts
  }

  private struct Answer: Sendable {
    typealias Updates = AsyncThrowingStream<GenerationUpdate, any Error>
    let parameters: SamplingParameters
    let tokenizer: Tokenizer
    let identity: ResponseIdentity
    let promptTokens: Int

    private func choice(_ index: Int, _ text: String, _ logprobs: [TokenLogprob], _ reason: FinishReason?) -> JSONValue
    {
      [
        "index": .integer(index), "text": .string(text), "logprobs": logprobs.isEmpty ? nil : self.logprobs(logprobs),
        "finish_reason": reason.map { .string($0.rawValue) } ?? nil,
      ]
    }

    /// Plain completions report probabilities as parallel arrays.
    private func logprobs(_ tokens: [TokenLogprob]) -> JSONValue {
      [
        "tokens": .array(tokens.map { .string(tokenizer.decode([$0.id])) }),
        "token_logprobs": .array(tokens.map { .number(Double(max($0.logprob, -9999))) }),
        "top_logprobs": .array(
          tokens.map { token in
            .object(JSONObject(token.top.map { (tokenizer.decode([$0.id]), .number(Double(max($0.logprob, -9999)))) }))
          }),
      ]
    }

    func whole(_ generations: [Updates]) async throws -> JSONValue {
      let found = try await withThrowingTaskGroup(of: (Int, JSONValue, Int).self) { group in
        for (index, updates) in generations.enumerated() {
          group.addTask {
            var (text, tokens, reason, count) = ("", [TokenLogprob](), FinishReason.length, 0)
            for try await update in updates {
              switch update {
              case .began: break
              case .text(let piece, let logprobs):
                text += piece
                tokens += logprobs
              case .ended(let finish, let generated): (reason, count) = (finish, generated)
              }
            }
            return (index, choice(index, text, tokens, reason), count)
          }
        }
        var found: [(Int, JSONValue, Int)] = []
        for try await result in group { found.append(result) }
        return found.sorted { $0.0 < $1.0 }
      }
      let usage = TokenUsage(prompt: promptTokens, cached: 0, completion: found.reduce(0) { $0 + $1.2 })
      return identity.object("text_completion", choices: found.map(\.1), usage: usage)
    }

    func send(_ generations: [Updates], _ yield: @escaping @Sendable (JSONValue) -> Void) async throws {
      try await withThrowingTaskGroup(of: Void.self) { group in
        for (index, updates) in generations.enumerated() {
          group.addTask {
            for try await update in updates {
              switch update {
              case .began: break
              case .text(let piece, let logprobs): send(choice(index, piece, logprobs, nil), yield)
              case .ended(let reason, _): send(choice(index, "", [], reason), yield)
              }
            }
          }
        }
        try await group.waitForAll()
      }
    }

    private func send(_ choice: JSONValue, _ yield: (JSONValue) -> Void) {
      yield(identity.object("text_completion", choices: [choice]))
    }
  }
}
