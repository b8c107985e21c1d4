import ChatTemplates
import Diagnostics
import OrderedJSON

/// A row in the format of Stanford Alpaca: `instruction`, an optional `input`, and `output`; with LLaMA-Factory's
/// additions `system` and `history` (a list of question and answer pairs).
struct AlpacaRow {
  private let instruction: String
  private let input: String
  private let output: String
  private let system: String?
  private let history: [(question: String, answer: String)]

  init(_ row: Row) throws(SwiftletError) {
    func text(_ column: String) throws(SwiftletError) -> String {
      guard let value = row.present(column) else { return "" }
      guard case .string(let text) = value else { throw RowFormat.wrongKind(value, "a string", column) }
      return text
    }
    instruction = try text("instruction")
    input = try text("input")
    output = try text("output")
    system = row.present("system") == nil ? nil : try text("system")
    var pairs: [(String, String)] = []
    for turn in row.present("history")?.array ?? [] {
      guard let question = turn[0]?.string, let answer = turn[1]?.string else {
        throw SwiftletError.data("each turn must be a pair of strings, question and answer", column: "history")
      }
      pairs.append((question, answer))
    }
    history = pairs
  }

  /// The row as prompt and completion: a conversation if the model has a chat template, else in Alpaca's prompt format.
  func format(hasTemplate: Bool) -> RowFormat {
    guard hasTemplate else { return .completion(prompt: prompt, completion: output) }
    var messages = system.map { [Message.system($0)] } ?? []
    for turn in history { messages += [.user(turn.question), .assistant(turn.answer)] }
    messages.append(.user(input.isEmpty ? instruction : instruction + "\n" + input))
    return .conversationCompletion(prompt: messages, completion: [.assistant(output)])
  }

  private var prompt: String {
    input.isEmpty
      ? """
      Below is an instruction that describes a task. Write a response that appropriately completes the request.

      ### Instruction:
      \(instruction)

      ### Response:

      """
      : """
      Below is an instruction that describes a task, paired with an input that provides further context. \
      Write a response that appropriately completes the request.

      ### Instruction:
      \(instruction)

      ### Input:
      \(input)

      ### Response:

      """
  }
}
