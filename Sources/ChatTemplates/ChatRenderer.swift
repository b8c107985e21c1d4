import Diagnostics
import OrderedJSON

/// A model's chat templates together with the variables they are rendered with.
///
/// Training, generation and `swiftlet render` all go through this type, so a conversation has the same text everywhere:
/// the one that transformers' `apply_chat_template` makes.
public struct ChatRenderer: Sendable {
  private let templates: [String: ChatTemplate]
  /// The variables that every rendering gets: the special tokens that have a name, such as `bos_token` and `eos_token`.
  public var variables: JSONObject
  /// The training template that replaced the model's own, for reports; `nil` unless `training()` replaced it.
  public private(set) var replacement: TrainingTemplate.Replacement?

  /// Creates a renderer.
  /// - Parameters:
  ///   - sources: the templates by name. Models with one template call it `default`.
  ///   - variables: the variables that every rendering gets.
  /// - Throws: `SwiftletError` if a template cannot be parsed.
  public init(sources: [String: String], variables: JSONObject = JSONObject()) throws(SwiftletError) {
    var templates: [String: ChatTemplate] = [:]
    for (name, source) in sources.sorted(by: { $0.key < $1.key }) {
      do {
        templates[name] = try ChatTemplate(source)
      } catch {
        // Some models ship extra templates in other dialects. They must not prevent the use of the default one.
        if name == "default" || sources.count == 1 { throw error }
      }
    }
    self.templates = templates
    self.variables = variables
  }

  /// The template that conversations without tools are rendered with; `nil` if the model has only named templates.
  public var defaultTemplate: ChatTemplate? {
    templates["default"] ?? (templates.count == 1 ? templates.first?.value : nil)
  }

  /// The sources of all templates by name.
  public var sources: [String: String] { templates.mapValues(\.source) }

  /// The names of all templates, sorted.
  public var templateNames: [String] { templates.keys.sorted() }

  /// Renders a conversation.
  ///
  /// The template is chosen as transformers chooses it: the one that the variable `chat_template` names; with tools,
  /// `tool_use` if the model has it; else `default`.
  /// - Throws: `SwiftletError` if no template fits, or the template rejects the conversation.
  public func render(_ conversation: Conversation) throws(SwiftletError) -> ChatTemplate.Rendering {
    var variables = variables
    for member in conversation.variables.members where member.key != "chat_template" {
      variables[member.key] = member.value
    }
    return try template(for: conversation).render(
      messages: conversation.messages, tools: conversation.tools,
      addGenerationPrompt: conversation.addsGenerationPrompt, variables: variables)
  }

  private func template(for conversation: Conversation) throws(SwiftletError) -> ChatTemplate {
    if case .string(let name)? = conversation.variables["chat_template"] {
      if let template = templates[name] { return template }
      guard name.contains("{") else {
        throw SwiftletError.template(
          line: nil, reason: "there is no chat template named \(name.quotedExcerpt); the model has \(nameList)")
      }
      return try ChatTemplate(name)
    }
    if conversation.tools != nil, replacement == nil, let template = templates["tool_use"] { return template }
    guard let template = defaultTemplate else {
      throw SwiftletError.template(
        line: nil, reason: "the model has the chat templates \(nameList), but none is the default; name one")
    }
    return template
  }

  private var nameList: String { templateNames.map(\.quotedExcerpt).joined(separator: ", ") }

  /// This renderer with a template that marks the assistant's tokens, for `assistant_only_loss`.
  ///
  /// A template that has `{% generation %}` blocks stays. For families that TRL ships a training template for, and some
  /// more, the template is replaced by one that has them; see `TrainingTemplate`.
  /// - Throws: `SwiftletError` if the family is unknown.
  public func training() throws(SwiftletError) -> ChatRenderer {
    guard let template = defaultTemplate, !template.marksGeneration else { return self }
    guard let (source, replacement) = TrainingTemplate.replacing(template.source) else {
      throw SwiftletError.data(
        "assistant_only_loss needs a chat template with {% generation %} around the assistant's tokens, and there is "
          + "no training template for this model's; name a template that has them with chat_template_path")
    }
    var renderer = try ChatRenderer(sources: ["default": source], variables: variables)
    renderer.replacement = replacement
    return renderer
  }
}
