import Foundation
import Models
import OrderedJSON
import Reports
import Training

/// Asks a model the same questions along its training: on demand, and after each evaluation.
public final class Interview: TrainerCallback {
  /// What is asked.
  public let questions: [Question]
  /// What was answered.
  public private(set) var log: AnswerLog
  /// Told of the answers that an evaluation brought.
  public var answered: (AnswerLog.Round) -> Void = { _ in }
  /// Whether an answer is broken off, and the round with it.
  public var isCut: () -> Bool = { false }
  /// Why answers of an evaluation are missing.
  public private(set) var failure: (any Error)?

  private let model: CausalLM
  private let maxNewTokens: Int
  private let output: URL

  /// An interview of `model`.
  /// - Parameters:
  ///   - questions: what is asked.
  ///   - model: who is asked, as it is at that moment.
  ///   - maxNewTokens: the length of an answer.
  ///   - output: where `questions.json` and `questions.md` are kept.
  ///   - step: optimizer steps taken already; what an earlier part of the run was answered up to there is taken over.
  public init(_ questions: [Question], of model: CausalLM, maxNewTokens: Int, output: URL, after step: Int = 0) {
    self.questions = questions
    self.model = model
    self.maxNewTokens = maxNewTokens
    self.output = output
    log = AnswerLog(questions.map(\.text))
    let file = output.appendingPathComponent("questions.json")
    guard step > 0, let json = try? JSONValue(parsing: Data(contentsOf: file)), var earlier = AnswerLog(json: json),
      earlier.questions == log.questions
    else { return }
    earlier.forget(from: step + 1)
    log = earlier
  }

  /// Asks all questions and keeps the answers as those after `step` optimizer steps.
  /// - Parameters:
  ///   - step: what the answers are kept under.
  ///   - progress: told how many are answered.
  /// - Throws: what keeps a question from being asked, `SwiftletError` where the answers cannot be written.
  public func ask(step: Int, progress: (Int) -> Void = { _ in }) throws {
    guard !questions.isEmpty else { return }
    var answers: [String] = []
    for question in questions {
      answers.append(try question.answer(by: model, maxNewTokens: maxNewTokens) { !isCut() })
      if isCut() { return }
      progress(answers.count)
    }
    log.append(AnswerLog.Round(step: step, answers: answers))
    try log.write(to: output)
  }

  /// Asks, unless the run is at its beginning or end, where it is asked anyway.
  public func evaluated(_ evaluation: EvaluationLog, _ state: TrainerState) {
    guard !questions.isEmpty, state.globalStep > 0, state.globalStep < state.maxSteps, failure == nil else { return }
    do {
      try ask(step: state.globalStep)
      if let round = log.rounds.last, round.step == state.globalStep { answered(round) }
    } catch {
      failure = error
    }
  }
}
