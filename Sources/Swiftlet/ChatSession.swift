import ChatTemplates
import Essentials
import Models

/// A chat with a model. It remembers its messages, and keeps the KV cache from turn to turn, so each turn computes only
/// its new tokens.
///
/// ```swift
/// let chat = ChatSession(model, system: "Speak like Yoda.")
/// for try await text in chat.stream("Hello!") { print(text, terminator: "") }
/// print(try await chat.respond(to: "Tell me more."))
/// ```
public final class ChatSession: Sendable {
  private let model: LanguageModel
  private let settings: Settings

  struct Settings: Sendable {
    let system: String?
    let sampling: SamplingConfiguration
    let maxNewTokens: Int
    let thinking: Bool?
  }

  /// Starts a chat.
  /// - Parameters:
  ///   - model: the model, which several chats may share.
  ///   - system: the system message.
  ///   - sampling: how tokens are chosen; by default, always the most likely one.
  ///   - maxNewTokens: the maximum number of tokens in an answer.
  ///   - thinking: whether a model that can think does so before it answers; `nil` for the template's default.
  public init(
    _ model: LanguageModel, system: String? = nil, sampling: SamplingConfiguration = SamplingConfiguration(),
    maxNewTokens: Int = 512, thinking: Bool? = nil
  ) {
    self.model = model
    settings = Settings(system: system, sampling: sampling, maxNewTokens: maxNewTokens, thinking: thinking)
  }

  deinit {
    let (core, id) = (model.core, ObjectIdentifier(self))
    Task { await core.forget(session: id) }
  }

  /// Answers a message piece by piece. Each piece is text that later tokens do not change.
  ///
  /// Ending the iteration, or canceling its task, ends the answer; the chat remembers what was said until then. The
  /// stream throws `SwiftletError` if the chat is longer than the model's context.
  public func stream(_ text: String) -> AsyncThrowingStream<String, any Error> {
    AsyncThrowingStream { continuation in
      let task = Task {
        do {
          try await model.core.answer(text, in: ObjectIdentifier(self), settings) { continuation.yield($0) }
          continuation.finish()
        } catch {
          continuation.finish(throwing: error)
        }
      }
      continuation.onTermination = { reason in if case .cancelled = reason { task.cancel() } }
    }
  }

  /// Answers a message.
  /// - Returns: the answer without surrounding whitespace.
  /// - Throws: `SwiftletError` if the chat is longer than the model's context.
  public func respond(to text: String) async throws -> String {
    var answer = ""
    for try await piece in stream(text) { answer += piece }
    return answer.trimmed
  }

  /// The messages so far, the system message first if there is one.
  public var messages: [Message] {
    get async { await model.core.messages(of: ObjectIdentifier(self), settings) }
  }
}
