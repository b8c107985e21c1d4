import ChatTemplates
import Datasets
import Diagnostics
import Essentials
import Models
import OrderedJSON

extension Prompt {
  /// A row of a dataset as a prompt: its `prompt` (text or messages), its `messages` without the last answer, or its
  /// `question` with an optional `system`.
  /// - Returns: `nil` for a row with none of these.
  /// - Throws: `SwiftletError` for messages that are not objects.
  public init?(row: JSONValue) throws(SwiftletError) {
    if let text = row.string {
      self.init(text)
    } else if let prompt = row["prompt"]?.string {
      self.init(continuing: prompt)
    } else if let json = row["prompt"] ?? row["messages"] {
      var messages = try Message.list(json)
      if row["prompt"]?.array == nil, messages.last?.role == "assistant" { messages.removeLast() }
      guard !messages.isEmpty else { return nil }
      self.init(messages: messages)
    } else if let text = row["question"]?.string {
      self.init(text, system: row["system"]?.string)
    } else {
      return nil
    }
  }

  /// Reads prompts from a text file, one per line, or from the rows of any other data file.
  /// - Throws: `SwiftletError` naming the file and the row.
  public static func read(_ path: String) throws(SwiftletError) -> [Prompt] {
    let rows = try DataFile.open(path.expandingTilde)
    var prompts: [Prompt] = []
    for index in 0..<rows.count {
      let row = try rows.row(at: index)
      let prompt: Prompt?
      do {
        prompt = path.hasSuffix(".txt") ? row["text"]?.string.map { Prompt($0) } : try Prompt(row: .object(row))
      } catch {
        throw error.relocated(to: rows.location(of: index))
      }
      guard let prompt else {
        throw SwiftletError.data(
          "the row has no prompt, messages or question; add one of these columns", at: rows.location(of: index))
      }
      prompts.append(prompt)
    }
    guard !prompts.isEmpty else { throw SwiftletError.data("there are no questions", at: FileLocation(file: path)) }
    return prompts
  }
}
