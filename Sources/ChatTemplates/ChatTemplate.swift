import Diagnostics
import OrderedJSON

/// A parsed chat template, which turns messages into the text format a model was trained on.
///
/// The dialect is Jinja2 as transformers configures it (`transformers.utils.chat_template_utils`): sandboxed, blocks
/// trimmed, with `tojson`, `raise_exception`, `strftime_now`, loop controls and `{% generation %}`. A template is
/// parsed once and can be rendered from several threads at once.
public struct ChatTemplate: Sendable {
  /// The template's source in Jinja, as it was parsed.
  public let source: String
  private let program: Program
  private let limits: Limits

  /// Parses a template.
  /// - Throws: `SwiftletError` with the line of the first syntax error.
  public init(_ source: String) throws(SwiftletError) { try self.init(source, limits: Limits()) }

  /// Parses a template that is rendered under other limits.
  package init(_ source: String, limits: Limits) throws(SwiftletError) {
    self.source = source
    self.limits = limits
    program = try Program(source)
  }

  /// The result of rendering a conversation.
  public struct Rendering: Sendable, Hashable {
    /// The rendered text, with control tokens.
    public var text: String
    /// The ranges of `text`, in UTF-8 bytes, that `{% generation %}` blocks rendered: what the model learns to
    /// generate.
    public var generationSpans: [Range<Int>]

    /// Creates a rendering from a text and the byte ranges that the model learns to generate.
    public init(text: String, generationSpans: [Range<Int>] = []) {
      self.text = text
      self.generationSpans = generationSpans
    }
  }

  /// Whether the template has `{% generation %}` blocks.
  public var marksGeneration: Bool { program.syntax.marksGeneration }

  /// Renders messages with this template alone; `ChatRenderer` adds a model's variables and named templates.
  ///
  /// As in transformers, reasoning that a message has as `thinking` or `reasoning` is also visible as
  /// `reasoning_content`.
  /// - Parameters:
  ///   - messages: the conversation.
  ///   - tools: an array of function schemas.
  ///   - addGenerationPrompt: whether the text ends with the start of the model's answer.
  ///   - variables: more variables, such as `bos_token`, `eos_token` and `enable_thinking`.
  /// - Throws: `SwiftletError` with the template's line if the template rejects the messages (`raise_exception`), fails
  ///   on them, or exceeds the limits on work and memory.
  public func render(
    messages: [Message], tools: JSONValue? = nil, addGenerationPrompt: Bool = false,
    variables: JSONObject = JSONObject()
  ) throws(SwiftletError) -> Rendering {
    try render(
      messages: messages, tools: tools, addGenerationPrompt: addGenerationPrompt, variables: variables, now: .now)
  }

  /// Renders with `strftime_now` at a fixed time.
  package func render(
    messages: [Message], tools: JSONValue? = nil, addGenerationPrompt: Bool = false,
    variables: JSONObject = JSONObject(), now: CivilTime
  ) throws(SwiftletError) -> Rendering {
    let chat = Value.list(Elements(messages.map { Value(.object($0.templateMembers)) }))
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
}

extension Value {
  /// Converts a JSON value.
  init(_ json: JSONValue) {
    switch json {
    case .null: self = .none
    case .bool(let truth): self = .bool(truth)
    case .integer(let number): self = .integer(number)
    case .largeInteger(let digits): self = .largeInteger(digits)
    case .number(let number): self = .number(number)
    case .string(let text): self = .string(text)
    case .array(let elements): self = .list(Elements(elements.map(Value.init)))
    case .object(let object):
      self = .dictionary(Mapping(distinct: object.members.map { Mapping.Member(.string($0.key), Value($0.value)) }))
    }
  }
}
