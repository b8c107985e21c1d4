import Diagnostics
import ChatTemplates
import Datasets
import Foundation
import Models
import OrderedJSON

/// Something that a model is asked: plain text to continue, or a conversation to go on with.
public struct Question: Sendable {
  /// What is shown of it: the text, or the last message.
  public let text: String
  private let messages: [Message]?

  /// Text; a model with a chat template is asked it as a user's message.
  public init(_ text: String, system: String? = nil) {
    self.text = text
    messages = (system.map { [.system($0)] } ?? []) + [.user(text)]
  }

  /// A conversation that the model is to go on with.
  public init(messages: [Message]) {
    text = messages.last?.content ?? ""
    self.messages = messages
  }

  /// Text that the model is to continue, without its chat template.
  public init(continuing text: String) {
    self.text = text
    messages = nil
  }

  /// A row of a data set as a question: its `prompt` (text or messages), its `messages` up to the last answer, or its
  /// `question`.
  /// - Returns: `nil` for a row with none of these.
  public init?(row: JSONValue) {
    if let text = row.string {
      self.init(text)
    } else if let prompt = row["prompt"]?.string {
      self.init(continuing: prompt)
    } else if let json = row["prompt"] ?? row["messages"], var messages = try? Message.list(json) {
      if row["prompt"]?.array == nil, messages.last?.role == "assistant" { messages.removeLast() }
      guard !messages.isEmpty else { return nil }
      self.init(messages: messages)
    } else if let text = row["question"]?.string {
      self.init(text, system: row["system"]?.string)
    } else {
      return nil
    }
  }

  /// Reads questions: a text file has one a line, anything else rows.
  /// - Throws: `SwiftletError` naming file and row.
  public static func read(_ path: String) throws(SwiftletError) -> [Question] {
    let rows = try DataFile.open(path)
    var questions: [Question] = []
    for index in 0..<rows.count {
      let row = try rows.row(at: index)
      let isText = path.hasSuffix(".txt")
      guard let question = isText ? row["text"]?.string.map({ Question($0) }) : Question(row: .object(row)) else {
        throw SwiftletError.data(
          "the row has no prompt, messages or question that holds something; give one of these",
          at: rows.location(of: index))
      }
      questions.append(question)
    }
    guard !questions.isEmpty else { throw SwiftletError.data("there are no questions", at: FileLocation(file: path)) }
    return questions
  }

  /// The ids that ask `model` this.
  /// - Throws: `SwiftletError` if there are none or too many for the model, `SwiftletError` if the chat template refuses.
  public func prompt(for model: CausalLM, thinking: Bool? = nil) throws -> [Int32] {
    let isTemplated = messages != nil && model.chatTemplate != nil
    let ids =
      isTemplated ? try model.prompt(messages ?? [], thinking: thinking) : model.tokenizer.encode(text)
    try model.checkPrompt(ids)
    return ids
  }

  /// What `model` answers.
  /// - Parameters:
  ///   - model: who is asked.
  ///   - sampling: how its tokens are drawn; by default the likeliest one.
  ///   - maxNewTokens: the length of the answer.
  ///   - thinking: whether a model that can think first does so.
  ///   - goesOn: asked at each new piece of text; `false` ends the answer there.
  public func answer(
    by model: CausalLM, sampling: SamplingConfiguration = SamplingConfiguration(), maxNewTokens: Int,
    thinking: Bool? = nil,
    while goesOn: () -> Bool = { true }
  ) throws -> String {
    let (text, _) = model.generate(
      try prompt(for: model, thinking: thinking), sampling: sampling, maxNewTokens: maxNewTokens
    ) { _ in goesOn() }
    return text.trimmingCharacters(in: .whitespacesAndNewlines)
  }
}
