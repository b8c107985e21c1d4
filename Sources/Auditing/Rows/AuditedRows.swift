import Datasets
import Diagnostics
import OrderedJSON

/// Rows of any method of training as prompts and answers.
public enum AuditedRows {
  /// The column with a pair's rejected answer.
  static let rejected = "rejected answer"

  /// The rows as an audit reads them. Of a pair, the answer is the chosen one; of a text with a label, the label; a prompt
  /// alone is a text. Line numbers remain those of the files.
  /// - Parameter textField: the column with plain text.
  public static func of(
    _ rows: any RowSource, _ kind: PreparationOptions.RowKind, textField: String
  ) -> any RowSource {
    switch kind {
    case .sequence, .labeledCompletion, .scoredText: rows
    case .preferencePair, .scoredPair: MappedRows(rows) { row throws(SwiftletError) in try pair(row) }
    case .prompt: MappedRows(rows) { row throws(SwiftletError) in [textField: .string(try prompt(row))] }
    case .labeledText: MappedRows(rows) { row throws(SwiftletError) in try labeled(row, textField) }
    }
  }

  /// Whether two answers to the same prompt contradict each other, rather than being compared.
  public static func expectOneAnswer(_ kind: PreparationOptions.RowKind) -> Bool {
    switch kind {
    case .sequence, .labeledText, .scoredText: true
    case .preferencePair, .scoredPair, .labeledCompletion, .prompt: false
    }
  }

  private static func pair(_ row: Row) throws(SwiftletError) -> Row {
    switch try PreferenceFormat(pair: row) {
    case .text(let prompt, let completions):
      return [
        "prompt": .string(prompt), "completion": .string(completions.first ?? ""),
        rejected: .string(completions.last ?? ""),
      ]
    case .messages(let prompt, let completions):
      return [
        "prompt": .array(prompt.map(\.json)), "completion": .array((completions.first ?? []).map(\.json)),
        rejected: .string((completions.last ?? []).map(\.content).joined(separator: "\n")),
      ]
    }
  }

  private static func prompt(_ row: Row) throws(SwiftletError) -> String {
    switch row["prompt"] {
    case .string(let text): return text
    case .array(let messages): return messages.compactMap { $0["content"]?.string }.joined(separator: "\n")
    default: throw SwiftletError.data("the row needs a \"prompt\": a string or a list of messages", column: "prompt")
    }
  }

  private static func labeled(_ row: Row, _ textField: String) throws(SwiftletError) -> Row {
    guard let label = row["label"], !label.isNull else {
      throw SwiftletError.data("the row needs a \"label\"", column: "label")
    }
    let answer = JSONValue.string(label.string ?? label.text())
    if let messages = row["messages"], messages.array != nil {
      return ["prompt": messages, "completion": [["role": "assistant", "content": answer]]]
    }
    guard let text = row[textField], text.string != nil else {
      throw SwiftletError.data("the row needs a text in the column \(textField.quotedExcerpt)", column: textField)
    }
    return ["prompt": text, "completion": answer]
  }
}
