import Datasets
import FineTuning
import Foundation
import Models
import Tensors
import Terminal

/// A training run as a person sees it: what it works on, a moving bar, figures before and after, where things are.
struct TrainingSession {
  private let recipe: Recipe

  init(_ recipe: Recipe) { self.recipe = recipe }

  /// What was found before and after.
  struct Outcome {
    let run: TrainingRun
    let lossBefore: Double?
    let lossAfter: Double?
    let answers: [ModelCard.Answer]
    let seconds: Double
  }

  /// - Parameter questions: asked before and after, instead of the recipe's.
  func run(questions given: [Question]? = nil) async throws -> Outcome {
    let modelURL = try await ModelLocation.find(
      recipe.locate(recipe.model.modelNameOrPath), revision: recipe.model.revision,
      progress: DownloadProgress().report)
    let data = try await DatasetLocation.find(recipe, progress: DownloadProgress().report)
    let run = try TrainingRun(
      recipe, modelURL: modelURL, data: data,
      cache: PreparationCache.standard(environment: ProcessInfo.processInfo.environment),
      preparing: PreparationProgress().update)
    describe(run)

    let questions = try given ?? run.questions()
    let before = try answers(questions, run, "asking the model before training")
    let lossBefore = evaluate(run, "held-out loss before")

    Printing.heading("Training")
    let progress = TrainingProgress(run.trainer)
    run.trainer.callbacks.append(progress)
    let begin = ContinuousClock().now
    try run.trainer.train()
    let seconds = (ContinuousClock().now - begin) / .seconds(1)
    progress.finish()

    let lossAfter = evaluate(run, "held-out loss after")
    let after = try answers(questions, run, "asking the model after training")
    let pairs = zip(questions, zip(before, after)).map { question, pair in
      ModelCard.Answer(question: question.text, before: pair.0, after: pair.1)
    }
    try run.write(answers: pairs)
    summarize(run, lossBefore, lossAfter, pairs, seconds)
    return Outcome(run: run, lossBefore: lossBefore, lossAfter: lossAfter, answers: pairs, seconds: seconds)
  }

  private func describe(_ run: TrainingRun) {
    let (trainable, total) = run.parameterCounts
    let weights = run.model.decoder.parameters.reduce(0) { $0 + $1.value.count }
    Printing.heading("Model")
    Printing.facts([
      ("base", recipe.model.modelNameOrPath),
      ("weights", "\(Figures.count(weights)), \(Figures.bytes(run.weightBytes)) in memory"),
      (
        "trained",
        "\(Figures.count(trainable)) of \(Figures.count(total)) (\(Figures.percent(Double(trainable) / Double(total))))"
      ),
    ])
    DataReport.show(run.report, heldOut: run.evaluationRows)
  }

  private func evaluate(_ run: TrainingRun, _ label: String) -> Double? {
    guard let sums = run.evaluate() else { return nil }
    let loss = sums.loss / Double(max(1, sums.count))
    Printing.note("\n\(label): \(Figures.loss(loss)) (perplexity \(Figures.loss(exp(loss))), \(sums.count) tokens)")
    return loss
  }

  private func answers(_ questions: [Question], _ run: TrainingRun, _ label: String) throws -> [String] {
    guard !questions.isEmpty else { return [] }
    return try Answers.ask(questions, run.model, maxNewTokens: recipe.data.maxNewTokens, label: label)
  }

  private func summarize(
    _ run: TrainingRun, _ before: Double?, _ after: Double?, _ answers: [ModelCard.Answer], _ seconds: Double
  ) {
    if !answers.isEmpty {
      Printing.heading("Answers before and after")
      let table = Table.comparison(answers.map { ($0.question, $0.before, $0.after) })
      Printing.note(table.text(width: Output.standardError.columns(), style: Output.standardError.style))
    }
    let tokens = run.trainer.state.numInputTokensSeen
    Printing.heading("Done")
    var facts = [
      ("time", "\(Figures.duration(seconds)), \(Int(Double(tokens) / max(seconds, 1e-9))) tokens/s")
    ]
    if let before, let after {
      facts.append(("held-out loss", "\(Figures.loss(before)) before, \(Figures.loss(after)) after"))
    }
    let path = recipe.training.outputDir
    facts += [
      (recipe.lora == nil ? "model" : "adapter", path), ("loss curve", "\(path)/loss_curve.png"),
      ("log", "\(path)/trainer_state.json"), ("model card", "\(path)/README.md"),
    ]
    Printing.facts(facts)
  }
}

extension TrainingRun {
  /// The questions of the recipe.
  func questions() throws -> [Question] {
    switch recipe.data.questions {
    case .inline(let questions): questions.map { Question($0.text, system: $0.system) }
    case .file(let path): try Question.read(recipe.locate(path))
    }
  }
}

/// Answers to questions, with a bar where they take long.
enum Answers {
  static func ask(
    _ questions: [Question], _ model: CausalLM, sampling: SamplingOptions = SamplingOptions(), maxNewTokens: Int,
    label: String
  ) throws -> [String] {
    var bar = ProgressBar(label, total: questions.count)
    defer { bar.clear() }
    return try questions.enumerated().map { index, question in
      let answer = try question.answer(by: model, sampling: sampling, maxNewTokens: maxNewTokens)
      bar.update(index + 1)
      return answer
    }
  }
}

/// The moving bar of a run, and a line for each logged figure where there is no terminal.
final class TrainingProgress: TrainerCallback {
  private var bar: ProgressBar
  private let begin = ContinuousClock().now
  private var tokens = 0

  init(_ trainer: SFTTrainer) {
    bar = ProgressBar("training", total: trainer.state.maxSteps, done: trainer.state.globalStep)
  }

  func stepEnded(_ step: StepReport, _ state: TrainerState) {
    tokens += step.tokens
    let seconds = (ContinuousClock().now - begin) / .seconds(1)
    bar.update(step: state.globalStep, loss: step.loss, tokensPerSecond: Double(tokens) / max(seconds, 1e-9))
  }

  func evaluated(_ log: EvaluationLog, _ state: TrainerState) {
    bar.log("step \(log.step): held-out loss \(Figures.loss(log.loss))")
  }

  func finish() { bar.finish() }
}
