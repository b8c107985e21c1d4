import ChatTemplates
import Diagnostics
import OrderedJSON

/// The content of a row once its columns have been recognized.
package enum RowFormat {
  /// Plain text in one column.
  case text(String)
  /// A prompt and its completion, concatenated without a template.
  case completion(prompt: String, completion: String)
  /// A whole conversation.
  case conversation([Message])
  /// The start of a conversation and its continuation.
  case conversationCompletion(prompt: [Message], completion: [Message])
  /// Token ids, with labels or masks.
  case tokens(Row)

  /// The name of the format in reports.
  var name: String {
    switch self {
    case .text: "text"
    case .completion: "prompt and completion"
    case .conversation: "messages"
    case .conversationCompletion: "prompt and completion as messages"
    case .tokens: "input_ids"
    }
  }

  /// All messages of a conversation; empty for other formats.
  package var messages: [Message] {
    switch self {
    case .conversation(let messages): messages
    case .conversationCompletion(let prompt, let completion): prompt + completion
    case .text, .completion, .tokens: []
    }
  }

  /// Recognizes a row by its columns, in TRL's order of precedence.
  ///
  /// - Parameters:
  ///   - textField: the column with plain text.
  ///   - hasTemplate: whether Alpaca rows can become conversations.
  /// - Throws: `SwiftletError` with the columns of the row if no format fits, or with the column whose value is wrong.
  package init(_ row: Row, textField: String, hasTemplate: Bool) throws(SwiftletError) {
    if row["input_ids"] != nil {
      self = .tokens(row)
    } else if let prompt = row.present("prompt") {
      self = try Self.promptCompletion(prompt, row)
    } else if let messages = row.present("messages") ?? row.present("conversations") {
      let column = row.present("messages") == nil ? "conversations" : "messages"
      self = .conversation(try Self.messages(messages, column: column))
    } else if let value = row[textField] {
      guard case .string(let text) = value else { throw Self.wrongKind(value, "a string", textField) }
      self = .text(text)
    } else if row.present("instruction") != nil, row["output"] != nil {
      self = try AlpacaRow(row).format(hasTemplate: hasTemplate)
    } else {
      let columns = row.keys.isEmpty ? "is empty" : "has the columns \(row.columnList)"
      throw SwiftletError.data(
        "the row \(columns), but needs \"prompt\" and \"completion\", \"messages\", \"\(textField)\" or \"input_ids\"; "
          + "rename columns with rename_columns, or build one with template or messages")
    }
  }

  private static func promptCompletion(_ prompt: JSONValue, _ row: Row) throws(SwiftletError) -> RowFormat {
    guard let completion = row.present("completion") else {
      throw SwiftletError.data(
        "the row has a prompt but no completion; add one, or rename the prompt to text", column: "completion")
    }
    switch (prompt, completion) {
    case (.string(let prompt), .string(let completion)):
      return .completion(prompt: prompt, completion: completion)
    case (.array, .array):
      return .conversationCompletion(
        prompt: try messages(prompt, column: "prompt"), completion: try messages(completion, column: "completion"))
    case (.string, _), (.array, _): throw wrongKind(completion, "\(prompt.kind) like the prompt", "completion")
    default: throw wrongKind(prompt, "a string or a list of messages", "prompt")
    }
  }

  /// The messages of a column, in the `role` and `content` format.
  static func messages(_ value: JSONValue, column: String) throws(SwiftletError) -> [Message] {
    guard case .array(let elements) = value else { throw wrongKind(value, "a list of messages", column) }
    if elements.isEmpty {
      throw SwiftletError.data("the list of messages is empty; filter such rows out", column: column)
    }
    var messages: [Message] = []
    messages.reserveCapacity(elements.count)
    for element in elements {
      guard case .object(let object) = element else {
        throw wrongKind(element, "a message with role and content", column)
      }
      let message = Message(fromShareGPT(object))
      guard message.members["role"]?.string != nil else {
        throw SwiftletError.data("a message has no \"role\"; give every message a role and a content", column: column)
      }
      messages.append(message)
    }
    return messages
  }

  /// Renames ShareGPT's `from` and `value` to `role` and `content`.
  private static func fromShareGPT(_ message: JSONObject) -> JSONObject {
    var result = message
    for (old, new) in [("from", "role"), ("value", "content")] {
      guard let value = result[old] else { continue }
      result[old] = nil
      result[new] = value
    }
    return result
  }

  static func wrongKind(_ value: JSONValue, _ expected: String, _ column: String) -> SwiftletError {
    SwiftletError.data("expected \(expected), found \(value.kind)", column: column)
  }
}

extension JSONObject {
  /// The column names for error messages, shortened if there are many or long ones.
  package var columnList: String {
    let names = keys.prefix(20).map { "\"\($0.escapedLine(limit: 40))\"" }
    return names.joined(separator: ", ") + (keys.count > 20 ? " and \(keys.count - 20) more" : "")
  }

  /// The value of a column unless it is missing or null.
  package func present(_ column: String) -> JSONValue? {
    if let value = self[column], !value.isNull { value } else { nil }
  }
}
