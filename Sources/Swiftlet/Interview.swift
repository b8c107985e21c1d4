import Checkpoints
import Essentials
import Models
import OrderedJSON
import Reports
import Training

/// Asks a model the same questions over the course of its training: when `ask(step:)` is called, and after each
/// evaluation.
public final class Interview: TrainerCallback {
  /// The questions, in the order in which they are asked.
  public let questions: [Prompt]
  /// The answers so far, those of a resumed run included.
  public private(set) var log: AnswerLog
  /// Called with the answers after an evaluation.
  public var answered: (AnswerLog.Round) -> Void = { _ in }
  /// Asked during answers; `true` drops the current round.
  public var isInterrupted: () -> Bool = { false }
  /// The error that prevented the answers after an evaluation.
  public private(set) var failure: (any Error)?

  private let model: CausalLM
  private let maxNewTokens: Int
  private let output: URL

  /// An interview of `model`.
  /// - Parameters:
  ///   - questions: the questions.
  ///   - model: the model, with whatever weights it has when it is asked.
  ///   - maxNewTokens: the maximum number of tokens in an answer.
  ///   - output: the folder for `questions.json` and `questions.md`.
  ///   - step: optimizer steps taken already. Earlier answers up to there are kept.
  public init(_ questions: [Prompt], of model: CausalLM, maxNewTokens: Int, output: URL, after step: Int = 0) {
    self.questions = questions
    self.model = model
    self.maxNewTokens = maxNewTokens
    self.output = output
    log = AnswerLog(questions.map(\.text), systems: questions.map(\.system))
    let file = output.appendingPathComponent("questions.json")
    guard step > 0, let json = try? JSONValue(parsing: RegularFile.contents(of: file)),
      var earlier = AnswerLog(json: json),
      earlier.questions == log.questions
    else { return }
    earlier.discard(from: step + 1)
    log = earlier
  }

  /// Asks all questions and records the answers.
  /// - Parameters:
  ///   - step: the number of optimizer steps taken.
  ///   - progress: called with the number of questions answered.
  /// - Throws: `SwiftletError` if a question cannot be asked or the answers cannot be written.
  public func ask(step: Int, progress: (Int) -> Void = { _ in }) throws {
    guard !questions.isEmpty else { return }
    var answers: [String] = []
    for question in questions {
      answers.append(try model.answer(question, maxNewTokens: maxNewTokens) { _ in !isInterrupted() })
      if isInterrupted() { return }
      progress(answers.count)
    }
    log.append(AnswerLog.Round(step: step, answers: answers))
    try log.write(to: output)
  }

  /// Asks after an evaluation, but not at the start or end of the run, where the questions are asked anyway.
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
