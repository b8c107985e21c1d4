import Diagnostics
import OrderedJSON

/// What a row holds, after its columns have been recognized.
enum RowForm {
  /// Plain text in one column.
  case text(String)
  /// A prompt and its completion, joined without a template.
  case completion(prompt: String, completion: String)
  /// A whole conversation.
  case conversation([JSONValue])
  /// The opening of a conversation and how it goes on.
  case conversationCompletion(prompt: [JSONValue], completion: [JSONValue])
  /// Token ids made elsewhere, with labels or masks.
  case tokens(Row)

  /// What the form is called in reports.
  var name: String {
    switch self {
    case .text: "text"
    case .completion: "prompt and completion"
    case .conversation: "messages"
    case .conversationCompletion: "prompt and completion as messages"
    case .tokens: "input_ids"
    }
  }

  /// The messages of a conversation; none in other forms.
  var messages: [JSONValue] {
    switch self {
    case .conversation(let messages): messages
    case .conversationCompletion(let prompt, let completion): prompt + completion
    case .text, .completion, .tokens: []
    }
  }

  /// Recognizes a row by its columns, in TRL's order of precedence.
  ///
  /// - Parameters:
  ///   - textField: the column that holds plain text.
  ///   - hasTemplate: whether Alpaca rows can become conversations.
  /// - Throws: `SwiftletError` naming the columns when no form fits, or the column whose value does not.
  init(_ row: Row, textField: String, hasTemplate: Bool) throws(SwiftletError) {
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
      self = try Alpaca(row).form(hasTemplate: hasTemplate)
    } else {
      let have = row.keys.isEmpty ? "is empty" : "has \(row.columnList)"
      throw SwiftletError.data(
        "the row \(have), but must have \"prompt\" and \"completion\", \"messages\", \"\(textField)\" or \"input_ids\"; "
          + "rename its columns with rename_columns, or build one with template or messages")
    }
  }

  private static func promptCompletion(_ prompt: JSONValue, _ row: Row) throws(SwiftletError) -> RowForm {
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
    case (.string, _), (.array, _): throw wrongKind(completion, "\(prompt.kind) as the prompt is", "completion")
    default: throw wrongKind(prompt, "a string or a list of messages", "prompt")
    }
  }

  /// The messages of a column, in the `role` and `content` spelling.
  static func messages(_ value: JSONValue, column: String) throws(SwiftletError) -> [JSONValue] {
    guard case .array(let elements) = value else { throw wrongKind(value, "a list of messages", column) }
    if elements.isEmpty {
      throw SwiftletError.data("the list of messages is empty; filter such rows out", column: column)
    }
    var messages: [JSONValue] = []
    for element in elements {
      guard case .object(let message) = element else {
        throw wrongKind(element, "a message with role and content", column)
      }
      let normalized = Self.normalized(message)
      guard normalized["role"]?.string != nil else {
        throw SwiftletError.data("a message has no \"role\"; give each a role and a content", column: column)
      }
      messages.append(.object(normalized))
    }
    return messages
  }

  /// ShareGPT's `from` and `value` become `role` and `content`; a key whose value is null goes, since templates take a
  /// key that is there for one that is filled.
  private static func normalized(_ message: JSONObject) -> JSONObject {
    var result = message
    for (old, new) in [("from", "role"), ("value", "content")] {
      guard let value = result[old] else { continue }
      result[old] = nil
      result[new] = value
    }
    for member in result.members where member.value.isNull { result[member.key] = nil }
    return result
  }

  static func wrongKind(_ value: JSONValue, _ expected: String, _ column: String) -> SwiftletError {
    SwiftletError.data("\(value.kind) stands where \(expected) should", column: column)
  }
}

extension JSONObject {
  /// The names of the columns for messages: not all of very many, nor the whole of very long ones.
  var columnList: String {
    let names = keys.prefix(20).map { "\"\($0.count > 40 ? $0.prefix(40) + "…" : $0[...])\"" }
    return names.joined(separator: ", ") + (keys.count > 20 ? " and \(keys.count - 20) more" : "")
  }

  /// The value of a column, where there is one that is not null.
  func present(_ column: String) -> JSONValue? {
    if let value = self[column], !value.isNull { value } else { nil }
  }
}
