import Diagnostics
import Checkpoints
import Foundation
import OrderedJSON
import Terminal

/// What a model answers to the same questions along a run: `questions.json`, and `questions.md` with the answers side by
/// side.
public struct AnswerLog: Sendable, Hashable {
  /// What is asked.
  public let questions: [String]
  /// The answers, by rising step.
  public private(set) var rounds: [Round] = []

  /// All questions answered once.
  public struct Round: Sendable, Hashable {
    /// Optimizer steps taken before.
    public var step: Int
    /// An answer to each question.
    public var answers: [String]

    /// The answers after `step` optimizer steps, one per question.
    public init(step: Int, answers: [String]) {
      self.step = step
      self.answers = answers
    }

    /// "before", or "after 45 steps".
    public var title: String { step == 0 ? "before" : "after \(step) step\(step == 1 ? "" : "s")" }
  }

  /// No answers yet.
  public init(_ questions: [String]) { self.questions = questions }

  /// Adds a round; those of this step or later ones are of a run that was interrupted, and go.
  public mutating func append(_ round: Round) {
    forget(from: round.step)
    rounds.append(round)
  }

  /// Forgets the rounds of `step` and later ones.
  package mutating func forget(from step: Int) { rounds.removeAll { $0.step >= step } }

  /// These rounds side by side, a row for each question.
  package func table(_ rounds: [Round]) -> Table {
    var table = Table([Table.Column("question")] + rounds.map { Table.Column($0.title) })
    for (index, question) in questions.enumerated() { table.append([question] + rounds.map { $0.answers[index] }) }
    return table
  }

  /// The first and the last answers.
  public var beforeAndAfter: [ModelCard.Answer] {
    guard rounds.count > 1, let first = rounds.first, let last = rounds.last else { return [] }
    return questions.indices.map {
      ModelCard.Answer(question: questions[$0], before: first.answers[$0], after: last.answers[$0])
    }
  }

  /// As `questions.json` has it.
  public var json: JSONValue {
    .array(
      questions.enumerated().map { index, question in
        let answers = rounds.map { round -> JSONValue in
          ["step": .integer(round.step), "answer": .string(round.answers[index])]
        }
        return ["question": .string(question), "answers": .array(answers)]
      })
  }

  /// Reads `questions.json`; `nil` for anything else.
  package init?(json: JSONValue) {
    guard let entries = json.array else { return nil }
    questions = entries.compactMap { $0["question"]?.string }
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
  /// - Throws: `SwiftletError` where they cannot be written.
  public func write(to folder: URL) throws(SwiftletError) {
    try AtomicFile.write(json.text(.pretty) + "\n", to: folder.appendingPathComponent("questions.json"))
    try AtomicFile.write(table(rounds).markdown, to: folder.appendingPathComponent("questions.md"))
  }
}
