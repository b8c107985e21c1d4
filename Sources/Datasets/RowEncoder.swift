import Diagnostics
import OrderedJSON
import Tensors

/// Turns one row into ids and labels, as TRL's `Trainer` does.
struct RowEncoder: Sendable {
  let tokenizer: RowTokenizer
  let options: PreparationOptions

  /// One row encoded, before truncation.
  struct Encoded: Sendable {
    var ids: [Int32]
    var labels: [Int32]
    var form: String
    /// What of the prompt was lost because it is no prefix of the whole, as text.
    var lostPrompt: String?
    /// Something about the row that a report should tell.
    var note: String?
  }

  /// - Throws: `SwiftletError` without a place.
  func encode(_ row: Row) throws(SwiftletError) -> Encoded {
    let form = try RowForm(row, textField: options.textField, hasTemplate: tokenizer.render != nil)
    var encoded: Encoded
    switch form {
    case .tokens(let row): encoded = try tokens(row)
    case .text(let text):
      try refuseAssistantMask()
      let ids = tokenizer.encode(closed(text), true)
      encoded = Encoded(ids: ids, labels: ids, form: form.name)
    case .completion(let prompt, let completion):
      try refuseAssistantMask()
      // TRL's precedence: where a row has a text column besides, that one is closed and not the completion.
      let otherText = row[options.textField]?.string
      let isOtherClosed = otherText.map { $0.utf8.count != closed($0).utf8.count } ?? false
      let completion = isOtherClosed ? completion : closed(completion)
      encoded = masked(
        tokenizer.encode(prompt + completion, true), prompt: tokenizer.encode(prompt, true), assistant: nil)
    case .conversation(let messages):
      let whole = try conversation(messages, row, marksAssistant: options.assistantOnlyLoss)
      encoded = Encoded(ids: whole.ids, labels: whole.ids, form: form.name)
      if let mask = whole.mask { encoded.labels = zip(whole.ids, mask).map { $1 ? $0 : TokenBatch.ignoredLabel } }
    case .conversationCompletion(let prompt, let completion):
      let opening = try conversation(prompt, row, addsGenerationPrompt: true)
      let whole = try conversation(prompt + completion, row, marksAssistant: options.assistantOnlyLoss)
      encoded = masked(whole.ids, prompt: opening.ids, assistant: whole.mask)
    }
    encoded.form = form.name
    encoded.note = encoded.note ?? note(on: form)
    return encoded
  }

  /// What TRL passes over in silence and a user would want to know.
  private func note(on form: RowForm) -> String? {
    switch form {
    case .text, .conversation:
      if options.completionOnlyLoss == true {
        return "completion_only_loss masks nothing in rows without prompt and completion columns"
      }
    default: break
    }
    let known: Set<String> = ["system", "developer", "user", "assistant", "tool"]
    guard let role = form.messages.lazy.compactMap({ $0["role"]?.string }).first(where: { !known.contains($0) }) else {
      return nil
    }
    return "messages have the role \"\(role)\", which most chat templates do not know; name them system, user, "
      + "assistant and tool"
  }

  private func refuseAssistantMask() throws(SwiftletError) {
    if options.assistantOnlyLoss {
      throw SwiftletError.data("assistant_only_loss needs conversations, and this row is plain text; set it to false")
    }
  }

  /// A text that ends with the end-of-text token.
  private func closed(_ text: String) -> String {
    guard let end = tokenizer.eosToken, !text.utf8.hasSuffix(end.utf8) else { return text }
    return text + end
  }

  /// Masks what `ids` has in common with the prompt, unless completions are not to be singled out.
  private func masked(_ ids: [Int32], prompt: [Int32], assistant: [Bool]?) -> Encoded {
    let shared = zip(ids, prompt).prefix { $0 == $1 }.count
    var labels = ids
    if options.completionOnlyLoss ?? true {
      for index in 0..<shared { labels[index] = TokenBatch.ignoredLabel }
    }
    if let assistant {
      for (index, isAssistant) in assistant.enumerated() where !isAssistant { labels[index] = TokenBatch.ignoredLabel }
    }
    let lost = shared < prompt.count ? prompt[shared...].map(tokenizer.decode).joined() : nil
    return Encoded(ids: ids, labels: labels, form: "", lostPrompt: lost)
  }
}

extension RowEncoder {
  private func conversation(
    _ messages: [JSONValue], _ row: Row, addsGenerationPrompt: Bool = false, marksAssistant: Bool = false
  ) throws(SwiftletError) -> (ids: [Int32], mask: [Bool]?) {
    let rendering = try rendered(
      messages, row, addsGenerationPrompt: addsGenerationPrompt, marksAssistant: marksAssistant)
    guard marksAssistant else { return (tokenizer.encode(rendering.text, false), nil) }
    let encoding = tokenizer.encodeWithOffsets(rendering.text)
    let mask = assistantMask(rendering.assistantSpans, encoding.offsets, in: rendering.text)
    if !mask.contains(true) {
      throw SwiftletError.data(
        "assistant_only_loss is set, but no token of this row is the assistant's; "
          + "the chat template must mark its words with {% generation %}, and the row must have an assistant's turn")
    }
    return (encoding.ids, mask)
  }

  private func rendered(
    _ messages: [JSONValue], _ row: Row, addsGenerationPrompt: Bool = false, marksAssistant: Bool = false
  ) throws(SwiftletError) -> RowTokenizer.Rendering {
    guard let render = tokenizer.render else {
      throw SwiftletError.data(
        "the row is a conversation, but the model has no chat template; name one with chat_template_path")
    }
    var conversation = RowTokenizer.Conversation(messages: messages, tools: try tools(row))
    conversation.addsGenerationPrompt = addsGenerationPrompt
    conversation.marksAssistant = marksAssistant
    if let variables = row.present("chat_template_kwargs") {
      guard case .object(let variables) = variables else {
        throw RowForm.wrongKind(variables, "an object of template variables", "chat_template_kwargs")
      }
      conversation.variables = variables
    }
    return try render(conversation)
  }

  /// The row's messages as the chat template renders them.
  func renderedMessages(_ row: Row) throws(SwiftletError) -> String {
    guard let messages = row.present("messages") ?? row.present("conversations") else {
      throw SwiftletError.data(
        "the chat template needs this column; make it with the step messages", column: "messages")
    }
    return try rendered(try RowForm.messages(messages, column: "messages"), row).text
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

  /// The tokens from the one that holds a span's first character to the first that holds its last one, as transformers'
  /// `apply_chat_template` marks them.
  private func assistantMask(_ spans: [Range<Int>], _ offsets: [Range<Int>], in text: String) -> [Bool] {
    var mask = Array(repeating: false, count: offsets.count)
    let bytes = Array(text.utf8)
    func token(at offset: Int) -> Int? { offsets.firstIndex { $0.contains(offset) } }
    for span in spans {
      guard let first = token(at: span.lowerBound) else { break }
      var lastCharacter = span.upperBound - 1
      while lastCharacter > 0, bytes.indices.contains(lastCharacter), bytes[lastCharacter] & 0xC0 == 0x80 {
        lastCharacter -= 1
      }
      // A last character that no token holds, or the very first token, reads as "to the end" there.
      let last = token(at: lastCharacter).flatMap { $0 == 0 ? nil : $0 } ?? mask.count - 1
      if first <= last { for index in first...last { mask[index] = true } }
    }
    return mask
  }

  private func tokens(_ row: Row) throws(SwiftletError) -> Encoded {
    let ids = try numbers(row, "input_ids")
    var encoded = Encoded(ids: ids, labels: ids, form: "")
    // Masks that are not applied have to fit as well: a row that contradicts itself is broken.
    func mask(_ column: String) throws(SwiftletError) -> [Int32]? {
      row.present(column) == nil ? nil : try numbers(row, column, count: ids.count)
    }
    if try mask("attention_mask")?.contains(0) == true {
      encoded.note = "attention_mask is not applied: tokens it leaves out count like any other, so remove padding"
    }
    var masks = [try mask("assistant_masks")]
    if let completion = try mask("completion_mask") {
      if options.completionOnlyLoss == true {
        masks.append(completion)
      } else {
        encoded.note = "completion_mask is not applied unless completion_only_loss is true"
      }
    }
    if row.present("labels") != nil {
      encoded.labels = try numbers(row, "labels", count: ids.count)
      return encoded
    }
    for mask in masks.compactMap(\.self) {
      for (index, bit) in mask.enumerated() where bit == 0 { encoded.labels[index] = TokenBatch.ignoredLabel }
    }
    return encoded
  }

  private func numbers(_ row: Row, _ column: String, count: Int? = nil) throws(SwiftletError) -> [Int32] {
    guard case .array(let elements)? = row[column] else {
      throw RowForm.wrongKind(row[column] ?? .null, "a list of numbers", column)
    }
    var numbers: [Int32] = []
    numbers.reserveCapacity(elements.count)
    for element in elements {
      let bit: Int? = element.bool.map { $0 ? 1 : 0 }
      guard let number = (bit ?? element.integer).flatMap(Int32.init(exactly:)) else {
        throw RowForm.wrongKind(element, "a token number", column)
      }
      numbers.append(number)
    }
    if let count, numbers.count != count {
      throw SwiftletError.data("the list has \(numbers.count) numbers, but input_ids has \(count)", column: column)
    }
    return numbers
  }
}

extension Collection where Element == UInt8 {
  fileprivate func hasSuffix(_ suffix: some Collection<UInt8>) -> Bool {
    count >= suffix.count && dropFirst(count - suffix.count).elementsEqual(suffix)
  }
}
