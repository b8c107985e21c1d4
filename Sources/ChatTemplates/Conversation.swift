import OrderedJSON

/// What a chat template renders: messages, and the other inputs of transformers' `apply_chat_template`.
public struct Conversation: Sendable, Hashable {
  /// The messages, from the first to the last turn.
  public var messages: [Message]
  /// JSON schemas of the tools the model may call; `nil` if there are none.
  public var tools: JSONValue?
  /// Whether the text ends with the start of an assistant's turn, so that a model continues with its answer.
  public var addsGenerationPrompt: Bool
  /// More variables for the template, such as `enable_thinking` or `documents`. They override those of the model.
  ///
  /// `chat_template` is special, as in transformers: the name of one of the model's templates, or a template.
  public var variables: JSONObject

  /// Creates a conversation; by default without tools, generation prompt and variables.
  public init(
    _ messages: [Message], tools: JSONValue? = nil, addsGenerationPrompt: Bool = false,
    variables: JSONObject = JSONObject()
  ) {
    self.messages = messages
    self.tools = tools
    self.addsGenerationPrompt = addsGenerationPrompt
    self.variables = variables
  }
}
