import ChatTemplates
import Datasets
import Diagnostics
import Essentials
import OrderedJSON

/// The text of a row as an audit sees it: what the model reads, and what it answers.
struct RowText {
  /// Everything before the last answer; empty if the row has a single text without a recognizable prompt.
  var prompt = ""
  /// The last answer.
  var answer = ""
  /// All answers; more than one in a conversation with several turns. The rejected one is the last.
  var answers: [String] = []
  /// The answer that was rejected in favor of `answer`.
  var rejected: String?
  /// The messages of a conversation.
  var messages: [Message] = []
  /// Whether a chat template will be applied, so that the text must not contain its tokens.
  var isConversation = false
  /// Whether the row consists of token IDs, which have no text to look at.
  var isTokens = false

  /// - Throws: `SwiftletError` for rows that training cannot use.
  init(_ row: Row, textField: String) throws(SwiftletError) {
    switch try RowFormat(row, textField: textField, hasTemplate: true) {
    case .tokens: isTokens = true
    case .text(let text): split(text)
    case .completion(let prompt, let completion):
      self.prompt = prompt
      answers = [completion]
    case .conversation(let messages):
      set(messages, promptCount: messages.lastIndex { $0.role == "assistant" } ?? messages.count)
    case .conversationCompletion(let prompt, let completion): set(prompt + completion, promptCount: prompt.count)
    }
    answer = answers.last ?? ""
    rejected = row[AuditedRows.rejected]?.string
    if let rejected { answers.append(rejected) }
  }

  private mutating func set(_ messages: [Message], promptCount: Int) {
    self.messages = messages
    isConversation = true
    prompt = messages.prefix(promptCount).map(\.content).joined(separator: "\n")
    answers = messages.filter { $0.role == "assistant" }.map(\.content)
    // An answer may consist of tool calls only.
    if let last = messages.last(where: { $0.role == "assistant" }), answers.last?.isEmpty == true,
      !last.toolCalls.isEmpty
    {
      answers[answers.count - 1] = JSONValue.array(last.toolCalls).text(.compact)
    }
  }

  /// What usually precedes an answer in a text that contains prompt and answer.
  private static let answerMarkers = [
    "<|im_start|>assistant\n", "<|start_header_id|>assistant<|end_header_id|>\n\n", "<|assistant|>\n", "[/INST]",
    "<start_of_turn>model\n", "### Response:\n", "### Answer:\n", "\nAssistant: ", "\nAnswer: ",
  ]

  private static let endMarkers = ["<|im_end|>", "<|eot_id|>", "<|endoftext|>", "<|end|>", "<end_of_turn>", "</s>"]

  /// A text without the end-of-turn and EOS tokens that it ends with.
  private static func withoutEnd(_ text: Substring) -> String {
    var rest = text.trimmed
    while let marker = endMarkers.first(where: { rest.hasSuffix($0) }) {
      rest = String(rest.dropLast(marker.count)).trimmed
    }
    return rest.utf8.count == text.trimmed.utf8.count ? String(text) : rest
  }

  private mutating func split(_ text: String) {
    for marker in Self.answerMarkers {
      guard let place = text.places(ofBytes: marker).last else { continue }
      prompt = String(text[..<place.lowerBound])
      answers = [Self.withoutEnd(text[place.upperBound...])]
      return
    }
    answers = [Self.withoutEnd(text[...])]
  }
}
