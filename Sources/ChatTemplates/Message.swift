import Diagnostics
import OrderedJSON

/// One message of a conversation, as chat templates read it: a role, a content and whatever else its JSON object has.
///
/// All members are kept, in order, so that a template sees exactly what a dataset or an API client wrote.
///
/// ```swift
/// let conversation: [Message] = [.system("Be brief."), .user("What is 2 + 2?"), .assistant("4")]
/// ```
public struct Message: Sendable, Hashable, Codable {
  /// The message as a JSON object.
  public var members: JSONObject

  /// Creates a message with a role and a text.
  public init(role: String, content: String) {
    members = ["role": .string(role), "content": .string(content)]
  }

  /// Creates a message from a JSON object. Members whose value is null are dropped, as transformers does before it
  /// renders: many templates print "None" for them, and read a missing member correctly.
  public init(_ object: JSONObject) {
    members = object
    for member in object.members where member.value.isNull { members[member.key] = nil }
  }

  /// Creates the messages of a JSON array.
  /// - Throws: `SwiftletError` unless it is an array of objects.
  public static func list(_ json: JSONValue) throws(SwiftletError) -> [Message] {
    guard case .array(let elements) = json else {
      throw SwiftletError.template(line: nil, reason: "the messages must be an array of objects, not \(json.kind)")
    }
    var messages: [Message] = []
    messages.reserveCapacity(elements.count)
    for (index, element) in elements.enumerated() {
      guard case .object(let object) = element else {
        throw SwiftletError.template(
          line: nil, reason: "message \(index + 1) must be an object with a role, not \(element.kind)")
      }
      messages.append(Message(object))
    }
    return messages
  }

  /// A system message: instructions for the whole conversation.
  public static func system(_ content: String) -> Message { Message(role: "system", content: content) }

  /// A message from the user: a question, an instruction, or an answer to the assistant.
  public static func user(_ content: String) -> Message { Message(role: "user", content: content) }

  /// A message from the model.
  /// - Parameters:
  ///   - content: the text of the answer.
  ///   - reasoning: what the model thought before it answered; templates of reasoning models put it in a `<think>`
  ///     block.
  ///   - toolCalls: calls in the format of the OpenAI API: `{"type": "function", "function": {"name", "arguments"}}`.
  public static func assistant(
    _ content: String, reasoning: String? = nil, toolCalls: [JSONValue] = []
  ) -> Message {
    var message = Message(role: "assistant", content: content)
    message.reasoningContent = reasoning
    if !toolCalls.isEmpty { message.toolCalls = toolCalls }
    return message
  }

  /// The result of a tool call.
  /// - Parameter name: the tool's name, for templates that print it.
  public static func tool(_ content: String, name: String? = nil) -> Message {
    var message = Message(role: "tool", content: content)
    message.members["name"] = name.map { .string($0) }
    return message
  }

  /// The author of the message: `system`, `user`, `assistant` or `tool` in most templates. Empty if there is none.
  public var role: String {
    get { members["role"]?.string ?? "" }
    set { members["role"] = .string(newValue) }
  }

  /// The text of the message. For a content made of parts, the text parts joined.
  public var content: String {
    get {
      guard case .array(let parts)? = members["content"] else { return members["content"]?.string ?? "" }
      return parts.compactMap { $0["text"]?.string }.joined()
    }
    set { members["content"] = .string(newValue) }
  }

  /// The reasoning of an assistant message: the member `reasoning_content`, `thinking` or `reasoning`.
  public var reasoningContent: String? {
    get { Self.reasoningKeys.lazy.compactMap { members[$0]?.string }.first }
    set { members["reasoning_content"] = newValue.map { .string($0) } }
  }

  /// The tool calls of an assistant message.
  public var toolCalls: [JSONValue] {
    get { members["tool_calls"]?.array ?? [] }
    set { members["tool_calls"] = newValue.isEmpty ? nil : .array(newValue) }
  }

  /// The message as a JSON value.
  public var json: JSONValue { .object(members) }

  static let reasoningKeys = ["reasoning_content", "thinking", "reasoning"]

  /// The members with the reasoning under the names that templates read, as transformers aliases them.
  var templateMembers: JSONObject {
    guard let reasoning = Self.reasoningKeys.lazy.compactMap({ members[$0] }).first(where: { !$0.isNull }) else {
      return members
    }
    var aliased: JSONObject = ["thinking": reasoning]
    for member in members.members { aliased[member.key] = member.value }
    aliased["reasoning_content"] = reasoning
    return aliased
  }

  /// Decodes a message from a JSON object, keeping all of its members.
  public init(from decoder: any Swift.Decoder) throws {
    guard case .object(let object) = try JSONValue(from: decoder) else {
      throw DecodingError.dataCorrupted(
        DecodingError.Context(codingPath: decoder.codingPath, debugDescription: "A message must be an object."))
    }
    self.init(object)
  }

  /// Encodes the message as a JSON object.
  public func encode(to encoder: any Encoder) throws { try json.encode(to: encoder) }
}
