import ChatTemplates
import Essentials

/// A prompt for a model: messages to answer, or plain text to continue.
public struct Prompt: Sendable, Hashable {
  /// The text to show for the prompt: the plain text, or the content of the last message.
  public let text: String
  /// The messages; `nil` for plain text.
  public let messages: [Message]?

  /// The system message at the start; `nil` if there is none.
  public var system: String? { messages?.first.flatMap { $0.role == "system" ? $0.content : nil } }

  /// Creates a user message, after a system message if there is one.
  public init(_ text: String, system: String? = nil) {
    self.text = text
    messages = (system.map { [.system($0)] } ?? []) + [.user(text)]
  }

  /// Creates a prompt from the messages of a conversation.
  public init(messages: [Message]) {
    text = messages.last?.content ?? ""
    self.messages = messages
  }

  /// Creates a prompt of plain text to continue, without the chat template.
  public init(continuing text: String) {
    self.text = text
    messages = nil
  }
}

extension CausalLM {
  /// The token ids of a prompt. A model without a chat template gets the prompt's plain text.
  /// - Parameter thinking: the template's `enable_thinking`.
  /// - Throws: `SwiftletError` if the prompt is empty or too long, or the chat template rejects it.
  public func ids(of prompt: Prompt, thinking: Bool? = nil) throws -> [Int32] {
    let ids: [Int32]
    if let messages = prompt.messages, chatTemplate != nil {
      ids = try self.prompt(messages, thinking: thinking)
    } else {
      ids = tokenizer.encode(prompt.text)
    }
    try checkPrompt(ids)
    return ids
  }

  /// The model's answer to a prompt, without surrounding white space.
  /// - Parameter stream: called with each new piece of text; return `false` to stop.
  /// - Throws: `SwiftletError` if the prompt is empty or too long, or the chat template rejects it.
  public func answer(
    _ prompt: Prompt, sampling: SamplingConfiguration = SamplingConfiguration(), maxNewTokens: Int,
    thinking: Bool? = nil, stream: (String) -> Bool = { _ in true }
  ) throws -> String {
    let ids = try ids(of: prompt, thinking: thinking)
    let (text, _) = generate(ids, sampling: sampling, maxNewTokens: maxNewTokens, stream: stream)
    try transformer.backend.check()
    return text.trimmed
  }
}
