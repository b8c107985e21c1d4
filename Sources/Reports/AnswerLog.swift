import Diagnostics
import Checkpoints
import Essentials
import OrderedJSON
import Terminal

/// A model's answers to the same questions at several steps of a run: `questions.json`, and as a table `questions.md`.
public struct AnswerLog: Sendable, Hashable {
  /// The text of each question.
  public let questions: [String]
  /// The system message before each question; `nil` for none.
  public let systems: [String?]
  /// The answers, sorted by step.
  public private(set) var rounds: [Round] = []

  /// One answer to each question.
  public struct Round: Sendable, Hashable {
    /// The number of optimizer steps taken before.
    public var step: Int
    /// The answers, in the order of the questions.
    public var answers: [String]

    /// The answers after `step` optimizer steps, one per question.
    public init(step: Int, answers: [String]) {
      self.step = step
      self.answers = answers
    }

    /// "before", or "after 45 steps".
    public var title: String { step == 0 ? "before" : "after \(step) step\(step == 1 ? "" : "s")" }
  }

  /// Creates a log without answers.
  /// - Parameters:
  ///   - questions: the text of each question.
  ///   - systems: the system message before each question; none by default.
  public init(_ questions: [String], systems: [String?] = []) {
    self.questions = questions
    self.systems = questions.indices.map { $0 < systems.count ? systems[$0] : nil }
  }

  /// Adds a round. Rounds of this or a later step belong to an interrupted run and are removed.
  public mutating func append(_ round: Round) {
    discard(from: round.step)
    rounds.append(round)
  }

  /// Removes the rounds of `step` and later.
  package mutating func discard(from step: Int) { rounds.removeAll { $0.step >= step } }

  /// A table with a row per question and a column per round.
  package func table(_ rounds: [Round]) -> Table {
    var table = Table([Table.Column("question")] + rounds.map { Table.Column($0.title) })
    for (index, question) in questions.enumerated() { table.append([question] + rounds.map { $0.answers[index] }) }
    return table
  }

  /// The first and the last answer to each question.
  public var beforeAndAfter: [ModelCard.Answer] {
    guard rounds.count > 1, let first = rounds.first, let last = rounds.last else { return [] }
    return questions.indices.map {
      ModelCard.Answer(question: questions[$0], before: first.answers[$0], after: last.answers[$0])
    }
  }

  /// The contents of `questions.json`: each question with its answers by step.
  public var json: JSONValue {
    .array(
      questions.enumerated().map { index, question in
        let answers = rounds.map { round -> JSONValue in
          ["step": .integer(round.step), "answer": .string(round.answers[index])]
        }
        var entry: JSONObject = ["question": .string(question)]
        entry["system"] = systems[index].map { .string($0) }
        entry["answers"] = .array(answers)
        return .object(entry)
      })
  }

  /// Reads the contents of `questions.json`; `nil` if they have another format.
  package init?(json: JSONValue) {
    guard let entries = json.array else { return nil }
    questions = entries.compactMap { $0["question"]?.string }
    systems = entries.map { $0["system"]?.string }
    let columns = entries.map { entry in
      (entry["answers"]?.array ?? []).compactMap { answer -> (step: Int, text: String)? in
        guard let step = answer["step"]?.integer, let text = answer["answer"]?.string else { return nil }
        return (step, text)
      }
    }
    let steps = columns.first?.map(\.step) ?? []
    guard questions.count == entries.count, columns.allSatisfy({ $0.map(\.step) == steps }) else { return nil }
    rounds = steps.indices.map { place in Round(step: steps[place], answers: columns.map { $0[place].text }) }
  }

  /// Writes `questions.json` and `questions.md` into `folder`.
  /// - Throws: `SwiftletError` if they cannot be written.
  public func write(to folder: URL) throws(SwiftletError) {
    try AtomicFile.write(json.text(.pretty) + "\n", to: folder.appendingPathComponent("questions.json"))
    try AtomicFile.write(table(rounds).markdown, to: folder.appendingPathComponent("questions.md"))
  }
}
