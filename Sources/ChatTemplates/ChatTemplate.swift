import Diagnostics
import OrderedJSON

/// A model's chat template: what turns messages into the text that the model was trained on.
///
/// The dialect is Jinja2's as transformers sets it up (`transformers.utils.chat_template_utils`): sandboxed, blocks
/// trimmed, with `tojson`, `raise_exception`, `strftime_now`, loop controls and `{% generation %}`. A template is read
/// once and can then be rendered many times, from several threads at once.
public struct ChatTemplate: Sendable {
  /// The template's text.
  public let source: String
  private let program: Program
  private let limits: Limits

  /// Reads a template.
  /// - Throws: `SwiftletError` with the line where it is no template.
  public init(_ source: String) throws(SwiftletError) { try self.init(source, limits: Limits()) }

  /// Reads a template that may use up no more than `limits`.
  package init(_ source: String, limits: Limits) throws(SwiftletError) {
    self.source = source
    self.limits = limits
    program = try Program(source)
  }

  /// What a template made of a conversation.
  public struct Rendering: Sendable, Hashable {
    /// The text.
    public let text: String
    /// Where in `text`, in bytes of UTF-8, what `{% generation %}` blocks made stands: what the model is to say.
    public let generationSpans: [Range<Int>]
  }

  /// Whether the template has `{% generation %}` blocks.
  public var marksGeneration: Bool { program.syntax.marksGeneration }

  /// Renders a conversation.
  ///
  /// As in transformers, reasoning that a message carries as `thinking` or `reasoning` can also be read as
  /// `reasoning_content`.
  /// - Parameters:
  ///   - messages: an array of objects, usually with `role` and `content`.
  ///   - tools: an array of function schemas, where there are any.
  ///   - addGenerationPrompt: whether the text ends with what starts the model's answer.
  ///   - variables: further variables, such as `bos_token`, `eos_token` and `enable_thinking`.
  /// - Throws: `SwiftletError` with the template's line, for what the template refuses (`raise_exception`) or cannot do
  ///   with these messages, and for templates that use more than any honest one needs.
  public func render(
    messages: JSONValue, tools: JSONValue? = nil, addGenerationPrompt: Bool = false,
    variables: JSONObject = JSONObject()
  ) throws(SwiftletError) -> Rendering {
    try render(
      messages: messages, tools: tools, addGenerationPrompt: addGenerationPrompt, variables: variables, now: .now)
  }

  /// Renders as at the moment `now`.
  package func render(
    messages: JSONValue, tools: JSONValue? = nil, addGenerationPrompt: Bool = false,
    variables: JSONObject = JSONObject(), now: CivilTime
  ) throws(SwiftletError) -> Rendering {
    let chat = try Self.chat(messages)
    let interpreter = Interpreter(program: program, limits: limits, now: now) { name in
      if let value = variables[name] { return Value(value) }
      switch name {
      case "messages": return chat
      case "tools": return tools.map { Value($0) } ?? Value.none
      case "documents": return Value.none
      case "add_generation_prompt": return .bool(addGenerationPrompt)
      default: return nil
      }
    }
    let text = try interpreter.run()
    return Rendering(text: text, generationSpans: interpreter.generationSpans())
  }

  /// The messages as the template sees them, with reasoning under every name that templates read.
  private static func chat(_ messages: JSONValue) throws(SwiftletError) -> Value {
    guard case .array(let elements) = messages else {
      throw SwiftletError.template(line: nil, reason: "the messages are \(messages.kind), not an array of objects")
    }
    var chat: [Value] = []
    chat.reserveCapacity(elements.count)
    for (index, element) in elements.enumerated() {
      guard case .object(let message) = element else {
        throw SwiftletError.template(
          line: nil, reason: "message \(index + 1) is \(element.kind), not an object with a role")
      }
      chat.append(Value(.object(withReasoning(message))))
    }
    return .list(Elements(chat))
  }

  private static func withReasoning(_ message: JSONObject) -> JSONObject {
    let names = ["reasoning_content", "thinking", "reasoning"]
    guard let reasoning = names.lazy.compactMap({ message[$0] }).first(where: { !$0.isNull }) else { return message }
    var aliased = JSONObject([("thinking", reasoning)])
    for member in message.members { aliased[member.key] = member.value }
    aliased["reasoning_content"] = reasoning
    return aliased
  }
}

extension Value {
  /// A value from outside.
  init(_ json: JSONValue) {
    switch json {
    case .null: self = .none
    case .bool(let truth): self = .bool(truth)
    case .integer(let number): self = .integer(number)
    case .number(let number): self = .number(number)
    case .string(let text): self = .string(text)
    case .array(let elements): self = .list(Elements(elements.map(Value.init)))
    case .object(let object):
      self = .dictionary(Mapping(distinct: object.members.map { Mapping.Member(.string($0.key), Value($0.value)) }))
    }
  }
}
