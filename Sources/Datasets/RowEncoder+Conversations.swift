import ChatTemplates
import Diagnostics
import OrderedJSON

extension RowEncoder {
  /// Renders and encodes messages; with `marksAssistant`, also says which tokens are the assistant's.
  func encodeConversation(
    _ messages: [Message], _ row: Row, addsGenerationPrompt: Bool = false, marksAssistant: Bool = false
  ) throws(SwiftletError) -> (ids: [Int32], mask: [Bool]?) {
    let rendering = try render(messages, row, addsGenerationPrompt: addsGenerationPrompt)
    guard marksAssistant else { return (tokenizer.encode(rendering.text, false), nil) }
    let encoding = tokenizer.encodeWithOffsets(rendering.text)
    let mask = Self.assistantMask(rendering.generationSpans, encoding.offsets, in: rendering.text)
    if !mask.contains(true) {
      throw SwiftletError.data(
        "assistant_only_loss is set, but no token of this row is the assistant's; the chat template must mark them "
          + "with {% generation %}, and the row must have an assistant message")
    }
    return (encoding.ids, mask)
  }

  private func render(
    _ messages: [Message], _ row: Row, addsGenerationPrompt: Bool = false
  ) throws(SwiftletError) -> ChatTemplate.Rendering {
    guard let render = tokenizer.render else {
      throw SwiftletError.data(
        "the row is a conversation, but the model has no chat template; set chat_template_path")
    }
    var conversation = Conversation(messages, tools: try tools(row), addsGenerationPrompt: addsGenerationPrompt)
    if let variables = row.present("chat_template_kwargs") {
      guard case .object(let variables) = variables else {
        throw RowFormat.wrongKind(variables, "an object of template variables", "chat_template_kwargs")
      }
      conversation.variables = variables
    }
    return try render(conversation)
  }

  /// The text that the chat template renders for the row's messages.
  func renderedMessages(_ row: Row) throws(SwiftletError) -> String {
    guard let messages = row.present("messages") ?? row.present("conversations") else {
      throw SwiftletError.data(
        "apply_chat_template needs this column; build it with the step messages", column: "messages")
    }
    return try render(try RowFormat.messages(messages, column: "messages"), row).text
  }

  private func tools(_ row: Row) throws(SwiftletError) -> JSONValue? {
    guard let tools = row.present("tools") else { return nil }
    guard case .string(let text) = tools else { return tools }
    do {
      let value = try JSONValue(parsing: text)
      return value.isNull ? nil : value
    } catch {
      throw SwiftletError.data("the text is not JSON: \(error)", column: "tools")
    }
  }

  /// Which tokens belong to the spans: from the token with a span's first character through the first token with its
  /// last character, as transformers' `apply_chat_template` finds them.
  ///
  /// Two cases differ from transformers 5.23, which marks everything to the end of the row there: a span whose last
  /// token is the very first one, and a span whose last character is in no token.
  static func assistantMask(_ spans: [Range<Int>], _ offsets: [Range<Int>], in text: String) -> [Bool] {
    var mask = Array(repeating: false, count: offsets.count)
    let bytes = Array(text.utf8)
    func token(at offset: Int) -> Int? { offsets.firstIndex { $0.contains(offset) } }
    for span in spans where !span.isEmpty {
      guard let first = token(at: span.lowerBound) else { break }
      var lastCharacter = span.upperBound - 1
      while lastCharacter > 0, bytes.indices.contains(lastCharacter), bytes[lastCharacter] & 0xC0 == 0x80 {
        lastCharacter -= 1
      }
      let last =
        token(at: lastCharacter) ?? offsets.lastIndex { !$0.isEmpty && $0.lowerBound < span.upperBound } ?? first
      if first <= last { for index in first...last { mask[index] = true } }
    }
    return mask
  }
}
