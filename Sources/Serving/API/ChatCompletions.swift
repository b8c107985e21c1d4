import Diagnostics
import Models
import OrderedJSON
import Tokenizers

/// `/v1/chat/completions`.
struct ChatCompletions {
  let engine: GenerationEngine

  func respond(to json: JSONValue) async throws -> HTTPResponse {
    let request = try ChatRequest(json, defaultModel: await engine.ids.first ?? "")
    let (prompt, context, tokenizer) = try await engine.withModel(request.model) { model in
      let ids = try model.prompt(request.messages, tools: request.tools, thinking: request.thinking)
      try model.checkPrompt(ids)
      return (ids, model.transformer.configuration.contextLength, model.tokenizer)
    }
    let answer = Answer(
      request: request, prompt: prompt, tokenizer: tokenizer,
      identity: ResponseIdentity(prefix: "chatcmpl-", model: request.model))
    let generations = request.parameters.requests(
      model: request.model, prompt: prompt, context: context, format: request.format,
      topLogprobs: request.topLogprobs
    ).map(engine.generate)
    return request.parameters.isStreaming
      ? .events { try await answer.send(generations, $0) } : .json(try await answer.whole(generations))
  }

  /// Turns what the engine generates into the objects of the protocol.
  private struct Answer: Sendable {
    typealias Updates = AsyncThrowingStream<GenerationUpdate, any Error>
    let request: ChatRequest
    let prompt: [Int32]
    let tokenizer: Tokenizer
    let identity: ResponseIdentity

    private var parser: AnswerParser {
      let end = tokenizer.decode(prompt.suffix(8))
      return AnswerParser(
        readsToolCalls: request.tools != nil,
        beginsInReasoning: end.trimmingSuffix(while: \.isWhitespace).hasSuffix("<think>"))
    }

    // MARK: Complete

    func whole(_ generations: [Updates]) async throws -> JSONValue {
      var usage = TokenUsage()
      var choices: [JSONValue] = []
      try await withThrowingTaskGroup(of: (Int, JSONValue, TokenUsage).self) { group in
        for (index, updates) in generations.enumerated() {
          group.addTask {
            let (choice, usage) = try await choice(index, updates)
            return (index, choice, usage)
          }
        }
        var found: [(Int, JSONValue, TokenUsage)] = []
        for try await result in group { found.append(result) }
        for (_, choice, part) in found.sorted(by: { $0.0 < $1.0 }) {
          choices.append(choice)
          (usage.prompt, usage.cached) = (part.prompt, max(usage.cached, part.cached))
          usage.completion += part.completion
        }
      }
      return identity.object("chat.completion", choices: choices, usage: usage)
    }

    private func choice(_ index: Int, _ updates: Updates) async throws -> (JSONValue, TokenUsage) {
      var (parser, usage) = (parser, TokenUsage())
      var parts: [AnswerParser.Part] = []
      var logprobs: [JSONValue] = []
      var reason = FinishReason.length
      for try await update in updates {
        switch update {
        case .began(let promptTokens, let cached): (usage.prompt, usage.cached) = (promptTokens, cached)
        case .text(let text, let tokens):
          parts += parser.append(text)
          logprobs += tokens.map { $0.json(tokenizer) }
        case .ended(let finish, let tokens): (reason, usage.completion) = (finish, tokens)
        }
      }
      parts += parser.finish()
      let message = message(parts)
      let choice: JSONValue = [
        "index": .integer(index), "message": .object(message),
        "logprobs": request.topLogprobs == nil ? nil : ["content": .array(logprobs)],
        "finish_reason": .string(Self.finishReason(reason, callsTools: message["tool_calls"] != nil)),
      ]
      return (choice, usage)
    }

    private func message(_ parts: [AnswerParser.Part]) -> JSONObject {
      var (content, reasoning, calls) = ("", "", [JSONValue]())
      for part in parts {
        switch part {
        case .content(let text): content += text
        case .reasoning(let text): reasoning += text
        case .toolCall(let name, let arguments): calls.append(Self.toolCall(name, arguments, index: nil))
        }
      }
      var message: JSONObject = ["role": "assistant"]
      message["content"] = content.isEmpty && !calls.isEmpty ? .null : .string(content)
      if !reasoning.isEmpty { message["reasoning_content"] = .string(reasoning) }
      if !calls.isEmpty { message["tool_calls"] = .array(calls) }
      return message
    }

    private static func toolCall(_ name: String, _ arguments: String, index: Int?) -> JSONValue {
      var call: JSONObject = [
        "id": .string("call_" + Identifiers.random()), "type": "function",
        "function": ["name": .string(name), "arguments": .string(arguments)],
      ]
      if let index { call["index"] = .integer(index) }
      return .object(call)
    }

    private static func finishReason(_ reason: FinishReason, callsTools: Bool) -> String {
      callsTools && reason == .stop ? "tool_calls" : reason.rawValue
    }

    // MARK: Streamed

    func send(_ generations: [Updates], _ yield: @escaping @Sendable (JSONValue) -> Void) async throws {
      let usages = try await withThrowingTaskGroup(of: TokenUsage.self) { group in
        for (index, updates) in generations.enumerated() {
          group.addTask { try await send(index, updates, yield) }
        }
        var usages: [TokenUsage] = []
        for try await usage in group { usages.append(usage) }
        return usages
      }
      guard request.parameters.includesUsage else { return }
      var usage = usages.first ?? TokenUsage()
      usage.completion = usages.reduce(0) { $0 + $1.completion }
      yield(identity.object("chat.completion.chunk", choices: [], usage: usage))
    }

    private func send(
      _ index: Int, _ updates: Updates, _ yield: @Sendable (JSONValue) -> Void
    ) async throws -> TokenUsage {
      var (parser, usage, calls) = (parser, TokenUsage(), 0)
      func chunk(_ delta: JSONValue, logprobs: [TokenLogprob] = [], reason: String? = nil) {
        let choice: JSONValue = [
          "index": .integer(index), "delta": delta,
          "logprobs": logprobs.isEmpty ? nil : ["content": .array(logprobs.map { $0.json(tokenizer) })],
          "finish_reason": reason.map { .string($0) } ?? nil,
        ]
        yield(identity.object("chat.completion.chunk", choices: [choice]))
      }
      func send(_ parts: [AnswerParser.Part]) {
        for part in parts {
          switch part {
          case .content(let text): chunk(["content": .string(text)])
          case .reasoning(let text): chunk(["reasoning_content": .string(text)])
          case .toolCall(let name, let arguments):
            chunk(["tool_calls": [Self.toolCall(name, arguments, index: calls)]])
            calls += 1
          }
        }
      }
      chunk(["role": "assistant", "content": ""])
      for try await update in updates {
        switch update {
        case .began(let promptTokens, let cached): (usage.prompt, usage.cached) = (promptTokens, cached)
        case .text(let text, let tokens):
          if !tokens.isEmpty, request.topLogprobs != nil { chunk([:], logprobs: tokens) }
          send(parser.append(text))
        case .ended(let reason, let tokens):
          send(parser.finish())
          usage.completion = tokens
          chunk([:], reason: Self.finishReason(reason, callsTools: calls > 0))
        }
      }
      return usage
    }
  }
}

extension StringProtocol {
  fileprivate func trimmingSuffix(while isTrimmed: (Character) -> Bool) -> SubSequence {
    guard let last = lastIndex(where: { !isTrimmed($0) }) else { return self[startIndex..<startIndex] }
    return self[...last]
  }
}
