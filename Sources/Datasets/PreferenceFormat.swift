import ChatTemplates
import Diagnostics
import OrderedJSON

/// A prompt and its continuations, once the columns of a preference row have been recognized.
package enum PreferenceFormat {
  case text(prompt: String, completions: [String])
  case messages(prompt: [Message], completions: [[Message]])

  /// The name of the format in reports.
  var name: String {
    switch self {
    case .text(_, let completions):
      completions.count == 1 ? "prompt, completion and label" : "prompt, chosen and rejected"
    case .messages(_, let completions):
      (completions.count == 1 ? "prompt, completion and label" : "prompt, chosen and rejected") + " as messages"
    }
  }

  /// Recognizes a row with `chosen` and `rejected`. Without `prompt`, what both begin with is the prompt, as TRL's
  /// `extract_prompt` finds it; so too if the prompt is a string, but the completions are whole conversations.
  /// - Throws: `SwiftletError` with the column that is missing or wrong.
  package init(pair row: Row) throws(SwiftletError) {
    let prompt = row.present("prompt")
    switch (try Self.value(row, "chosen"), try Self.value(row, "rejected")) {
    case (.string(let chosen), .string(let rejected)):
      guard let prompt else {
        self = Self.extracted(chosen, rejected)
        return
      }
      guard case .string(let text) = prompt else { throw RowFormat.wrongKind(prompt, "a string like chosen", "prompt") }
      self = .text(prompt: text, completions: [chosen, rejected])
    case (.array(let chosen), .array(let rejected)):
      let both = [
        try RowFormat.messages(.array(chosen), column: "chosen"),
        try RowFormat.messages(.array(rejected), column: "rejected"),
      ]
      switch prompt {
      case nil, .string: self = try Self.extracted(both)
      case .array:
        self = .messages(prompt: try RowFormat.messages(prompt ?? .null, column: "prompt"), completions: both)
      case .some(let other): throw RowFormat.wrongKind(other, "a list of messages like chosen", "prompt")
      }
    case (.string, let other): throw RowFormat.wrongKind(other, "a string like chosen", "rejected")
    case (.array, let other): throw RowFormat.wrongKind(other, "a list of messages like chosen", "rejected")
    case (let other, _): throw RowFormat.wrongKind(other, "a string or a list of messages", "chosen")
    }
  }

  /// Recognizes a row with a prompt and one completion.
  /// - Throws: `SwiftletError` with the column that is missing or wrong.
  init(completion row: Row) throws(SwiftletError) {
    switch try RowFormat(row, textField: "text", hasTemplate: true) {
    case .completion(let prompt, let completion): self = .text(prompt: prompt, completions: [completion])
    case .conversationCompletion(let prompt, let completion):
      self = .messages(prompt: prompt, completions: [completion])
    default:
      throw SwiftletError.data(
        "the row needs \"prompt\", \"completion\" and \"label\", or \"chosen\" and \"rejected\"", column: "prompt")
    }
  }

  private static func value(_ row: Row, _ column: String) throws(SwiftletError) -> JSONValue {
    if let value = row.present(column) { return value }
    let columns = row.keys.isEmpty ? "is empty" : "has the columns \(row.columnList)"
    throw SwiftletError.data(
      "the row \(columns), but needs \"chosen\" and \"rejected\", with a \"prompt\" or each with the prompt in it; rename "
        + "columns with rename_columns", column: column)
  }

  /// TRL cuts at the first difference, leaves a space before it to the completions, and always leaves the last common
  /// character to them if one text is a prefix of the other.
  private static func extracted(_ chosen: String, _ rejected: String) -> PreferenceFormat {
    let (a, b) = (Array(chosen.unicodeScalars), Array(rejected.unicodeScalars))
    let shortest = min(a.count, b.count)
    var end = (0..<shortest).first { a[$0] != b[$0] } ?? max(0, shortest - 1)
    if end > 0, end < shortest, a[end] != b[end], a[end - 1] == " " { end -= 1 }
    func text(_ scalars: some Sequence<Unicode.Scalar>) -> String {
      var text = String.UnicodeScalarView()
      text.append(contentsOf: scalars)
      return String(text)
    }
    return .text(prompt: text(a[..<end]), completions: [text(a[end...]), text(b[end...])])
  }

  private static func extracted(_ both: [[Message]]) throws(SwiftletError) -> PreferenceFormat {
    let common = zip(both[0], both[1]).prefix { $0.members == $1.members }.count
    guard common > 0 else {
      throw SwiftletError.data(
        "chosen and rejected do not begin with the same message; start both with the prompt's messages, or add a "
          + "\"prompt\"", column: "chosen")
    }
    let prompt = min(common, both[0].count - 1, both[1].count - 1)
    return .messages(prompt: Array(both[0][..<prompt]), completions: both.map { Array($0[prompt...]) })
  }
}
