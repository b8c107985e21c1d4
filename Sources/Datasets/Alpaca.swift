import Diagnostics
import OrderedJSON

/// A row of Stanford Alpaca's columns: `instruction`, perhaps `input`, `output`; and, as LLaMA-Factory extends it,
/// `system` and `history` (pairs of question and answer).
struct Alpaca {
  private let instruction: String
  private let input: String
  private let output: String
  private let system: String?
  private let history: [(question: String, answer: String)]

  init(_ row: Row) throws(SwiftletError) {
    func text(_ column: String) throws(SwiftletError) -> String {
      guard let value = row.present(column) else { return "" }
      guard case .string(let text) = value else { throw RowForm.wrongKind(value, "a string", column) }
      return text
    }
    instruction = try text("instruction")
    input = try text("input")
    output = try text("output")
    system = row.present("system") == nil ? nil : try text("system")
    var pairs: [(String, String)] = []
    for turn in row.present("history")?.array ?? [] {
      guard let question = turn[0]?.string, let answer = turn[1]?.string else {
        throw SwiftletError.data("a turn is not a pair of strings, question and answer", column: "history")
      }
      pairs.append((question, answer))
    }
    history = pairs
  }

  /// A prompt and its completion: a conversation where the model has a template, else Alpaca's own wording.
  func form(hasTemplate: Bool) -> RowForm {
    guard hasTemplate else { return .completion(prompt: wording, completion: output) }
    func message(_ role: String, _ content: String) -> JSONValue {
      .object(JSONObject([("role", .string(role)), ("content", .string(content))]))
    }
    var prompt = system.map { [message("system", $0)] } ?? []
    for turn in history { prompt += [message("user", turn.question), message("assistant", turn.answer)] }
    prompt.append(message("user", input.isEmpty ? instruction : instruction + "\n" + input))
    return .conversationCompletion(prompt: prompt, completion: [message("assistant", output)])
  }

  private var wording: String {
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
