import Datasets
import Swiftlet
import Essentials
import Models
import Tensors
import Terminal

/// A training run on the command line: facts before it, a progress bar and logs, results and next commands after it.
struct TrainingSession {
  private let recipe: Recipe
  private let command: [String]
  private let overwrites: Bool

  /// - Parameters:
  ///   - command: the arguments of `swiftlet` that run the recipe, to print how to resume it.
  ///   - overwrites: whether the output folder may hold the result of a different recipe.
  init(_ recipe: Recipe, command: [String], overwrites: Bool = false) {
    self.recipe = recipe
    self.command = command
    self.overwrites = overwrites
  }

  /// The result of a run.
  struct Outcome {
    let run: TrainingRun
    let lossBefore: Double?
    let lossAfter: Double?
    let seconds: Double
  }

  /// The run, with the model loaded and the rows prepared.
  func prepared() async throws -> TrainingRun {
    let modelURL = try await ModelLocation.find(
      recipe.locate(recipe.model.name), revision: recipe.model.revision,
      progress: DownloadProgress().report)
    let data = try await DatasetLocation.find(recipe, progress: DownloadProgress().report)
    let loading = QuantizationProgress()
    defer { loading.finish() }
    return try TrainingRun(
      recipe, modelURL: modelURL, data: data,
      cache: PreparationCache.standard(environment: ProcessInfo.processInfo.environment), loading: loading.report,
      preparing: PreparationProgress().update)
  }

  /// - Parameter questions: asked before and after, instead of the recipe's.
  /// - Throws: `PausedRun` if a signal ended the training; one-sentence errors of the modules involved.
  func run(questions given: [Prompt]? = nil) async throws -> Outcome {
    // A reader of the output that goes away must not end the training.
    signal(SIGPIPE, SIG_IGN)
    try OutputFolder.checkUnused(by: recipe, overwrites: overwrites)
    let run = try await prepared()
    try recipe.writeArguments(to: run.output.appendingPathComponent("training_args.json"))
    try describe(run)
    let first = run.trainer.state.globalStep
    if first > 0 { Printing.note("\nResuming from step \(first) of \(run.trainer.state.maxSteps).") }
    let tokensBefore = run.trainer.state.numInputTokensSeen

    let interview = try run.interview(given)
    if interview.log.rounds.isEmpty {
      try run.beforeTraining { try ask(interview, step: 0, "asking the model before training") }
    }
    let lossBefore = try run.beforeTraining { try evaluate(run, "validation loss before") } ?? nil
    let seconds = try train(run, interview)

    // Save first: answers and evaluations can be repeated.
    try run.write()
    let lossAfter = try evaluate(run, "validation loss after")
    try ask(interview, step: run.trainer.state.globalStep, "asking the model after training")
    try run.writeCard(answers: interview.log.beforeAndAfter)
    summarize(
      run, lossBefore, lossAfter, interview, seconds, first: first,
      tokens: run.trainer.state.numInputTokensSeen - tokensBefore)
    return Outcome(run: run, lossBefore: lossBefore, lossAfter: lossAfter, seconds: seconds)
  }

  /// Trains and returns the time it took, in seconds.
  private func train(_ run: TrainingRun, _ interview: Interview) throws -> Double {
    Printing.heading("Training")
    let signals = StopSignals("\nSaving a checkpoint after this step; Ctrl-C once more leaves at once.")
    defer { signals.end() }
    let progress = TrainingProgress(run.trainer, signals, showsBar: !recipe.hidesProgress)
    interview.isInterrupted = { signals.caught != nil }
    interview.answered = { round in
      let table = interview.log.table([interview.log.rounds.first, round].compactMap(\.self))
      progress.log(table.text(width: Output.standardError.columns(), style: Output.standardError.style))
    }
    run.trainer.callbacks += [progress, interview]
    let begin = ContinuousClock().now
    let ending = try run.train()
    if case .paused(let checkpoint) = ending, let signal = signals.caught {
      progress.clear()
      let state = run.trainer.state
      throw PausedRun(
        step: state.globalStep, steps: state.maxSteps,
        checkpoint: "\(recipe.training.outputDir)/\(checkpoint?.lastPathComponent ?? "")", command: command,
        signal: signal)
    }
    progress.finish()
    return (ContinuousClock().now - begin) / .seconds(1)
  }

  private func ask(_ interview: Interview, step: Int, _ label: String) throws {
    var bar = ProgressBar(label, total: interview.questions.count)
    defer { bar.clear() }
    try interview.ask(step: step) { bar.update($0) }
  }

  private func describe(_ run: TrainingRun) throws {
    let (trainable, total) = run.parameterCounts
    let weights = run.model.transformer.parameters.reduce(0) { $0 + $1.value.count }
    let bytes = run.weightBytes
    var held = "\(Format.bytes(bytes.stored)) in memory"
    if bytes.unquantized != bytes.stored { held += ", \(Format.bytes(bytes.unquantized)) before quantization" }
    Printing.heading("Model")
    var facts = [
      ("base", recipe.model.name),
      ("weights", "\(Format.count(weights)), \(held)"),
      ("computes on", run.device.text),
      (
        "trained",
        "\(Format.count(trainable)) of \(Format.count(total)) (\(Format.percent(Double(trainable) / Double(total))))"
      ),
    ]
    if recipe.training.bf16 == true {
      let rounds = run.model.transformer.backend.multipliesBFloat16
      facts.append(
        (
          "products",
          rounds ? "bfloat16 with float32 accumulation" : "float32, because bfloat16 is not faster on this processor"
        )
      )
    }
    Printing.facts(facts)
    if let adapter = run.adapter {
      let transformer = run.model.transformer
      for name in adapter.configuration.unmatchedTargets(among: transformer.linearLayers.map(\.path)) {
        Printing.note(
          "  Warning: lora_target_modules: no layer of this model is named \(name). The layers are \(transformer.linearLayerNames)"
        )
      }
    }
    DataReport.show(run.report, validationRows: run.validationRows)
    try describeMemory(run)
  }

  /// The memory the run needs, and what was changed to fit.
  private func describeMemory(_ run: TrainingRun) throws {
    let plan = try run.plan()
    let asked = recipe.training
    let batch = run.trainer.configuration.trainBatchSize
    Printing.heading("Memory")
    var facts = [
      ("planned", "\(Format.bytes(plan.memory.total)) at peak, \(Format.bytes(plan.system.reachable)) available")
    ]
    if plan.memory.checkpointedLayers > 0 {
      facts.append(("checkpointed", "\(plan.memory.checkpointedLayers) layers recompute their activations"))
    }
    if plan.sharedPrefix > 0 {
      facts.append(("shared", "the first \(plan.sharedPrefix) tokens of all rows, computed once per batch"))
    }
    Printing.facts(facts)
    if batch != asked.trainBatchSize {
      Printing.note(
        "  Note: auto_find_batch_size: \(batch) rows per batch instead of \(asked.trainBatchSize), and "
          + "\(run.trainer.configuration.gradientAccumulationSteps) batches per step, so each step still learns from the same rows"
      )
    }
    if !plan.fits { Printing.note("  Warning: \(plan.verdict)") }
  }

  private func evaluate(_ run: TrainingRun, _ label: String) throws -> Double? {
    guard let sums = try run.evaluate() else { return nil }
    let loss = sums.loss / Double(max(1, sums.count))
    if recipe.training.method == .sft {
      Printing.note("\n\(label): \(Format.loss(loss)) (perplexity \(Format.loss(exp(loss))), \(sums.count) tokens)")
    } else {
      let metrics = sums.metrics.sorted { $0.key < $1.key }.map { ", \($0.key) \(Format.loss($0.value.mean))" }
      Printing.note("\n\(label): \(Format.loss(loss)), \(sums.count) rows\(metrics.joined())")
    }
    return loss
  }

  private func summarize(
    _ run: TrainingRun, _ before: Double?, _ after: Double?, _ interview: Interview, _ seconds: Double, first: Int,
    tokens: Int
  ) {
    if let last = interview.log.rounds.last {
      Printing.heading("Answers before and after")
      let first = interview.log.rounds.first { $0.step < last.step }
      let table = interview.log.table([first, last].compactMap(\.self))
      Printing.note(table.text(width: Output.standardError.columns(), style: Output.standardError.style))
    }
    let state = run.trainer.state
    Printing.heading("Done")
    var steps = "\(state.globalStep)"
    if first > 0 { steps += ", \(state.globalStep - first) of them in this run" }
    var facts = [
      ("steps", "\(steps); \(Format.count(state.numInputTokensSeen)) tokens"),
      ("time", "\(Format.duration(seconds)), \(Int(Double(tokens) / max(seconds, 1e-9))) tokens/s"),
    ]
    if let loss = state.logHistory.last(where: { $0["loss"] != nil })?["loss"]?.double {
      facts.append(("training loss", "\(Format.loss(loss)) at the end"))
    }
    if SystemMemory.peakResident > 0 {
      facts.append(("memory", "\(Format.bytes(SystemMemory.peakResident)) at peak"))
    }
    if let before, let after {
      facts.append(("validation loss", "\(Format.loss(before)) before, \(Format.loss(after)) after"))
    }
    let path = recipe.training.outputDir
    facts += [
      (recipe.lora == nil ? "model" : "adapter", path),
      ("loss curve", LossCurve.isAvailable ? "\(path)/loss_curve.png" : "not drawn, because Cairo is not installed"),
      ("log", "\(path)/trainer_state.json"), ("model card", "\(path)/README.md"),
    ]
    if !interview.questions.isEmpty { facts.append(("answers", "\(path)/questions.md")) }
    Printing.facts(facts)
    for failure in run.reportFailures { Printing.note("  Warning: \(failure)") }
    if let failure = interview.failure { Printing.note("  Warning: some answers are missing: \(failure)") }
    Printing.heading("Next")
    for line in NextCommands(recipe).lines { Printing.note("  " + line) }
  }
}

/// Commands to use the result of a run, ready to paste.
struct NextCommands {
  let lines: [String]

  init(_ recipe: Recipe) {
    let program = CommandLine.arguments.first ?? "swiftlet"
    let output = recipe.training.outputDir
    let base = recipe.locate(recipe.model.name)
    func line(_ words: String...) -> String { ([program] + words).map(Shell.quoted).joined(separator: " ") }
    guard recipe.lora != nil else {
      lines = [line("chat", "--model", output), line("export", "--model", output, "--output", output + ".gguf")]
      return
    }
    var lines = [line("chat", "--model", base, "--adapter", output)]
    if let questions = Self.questions(recipe) {
      lines.append(line("compare", "--model", base, "--adapter", output, "--questions", questions))
    }
    lines += [
      line("merge", "--model", base, "--adapter", output, "--output", output + "-merged"),
      line("export", "--model", base, "--adapter", output, "--output", output + ".gguf"),
    ]
    self.lines = lines
  }

  /// A file of questions for `compare`: the recipe's, else its validation or training rows.
  private static func questions(_ recipe: Recipe) -> String? {
    var paths: [String?] = []
    if case .file(let path) = recipe.data.questions { paths.append(path) }
    paths += [recipe.data.evalDataset?.path, recipe.data.trainSources.first?.path]
    return paths.compactMap { $0.map(recipe.locate) }.first {
      FileManager.default.fileExists(atPath: $0) && !FileManager.default.isFolder($0)
    }
  }
}

/// Asks questions behind a progress bar.
enum Answers {
  static func ask(
    _ questions: [Prompt], _ model: CausalLM, sampling: SamplingConfiguration = SamplingConfiguration(),
    maxNewTokens: Int,
    label: String
  ) throws -> [String] {
    var bar = ProgressBar(label, total: questions.count)
    defer { bar.clear() }
    return try questions.enumerated().map { index, question in
      let answer = try model.answer(question, sampling: sampling, maxNewTokens: maxNewTokens)
      bar.update(index + 1)
      return answer
    }
  }
}

/// Shows the progress of a run: a line per log and, without `disable_tqdm`, a bar.
final class TrainingProgress: TrainerCallback {
  private var bar: ProgressBar?
  private let begin = ContinuousClock().now
  private var tokens = 0
  /// Tokens and seconds at the last log.
  private var last = (tokens: 0, seconds: 0.0)
  private let signals: StopSignals

  init(_ trainer: Trainer, _ signals: StopSignals, showsBar: Bool) {
    self.signals = signals
    guard showsBar else { return }
    bar = ProgressBar("training", total: trainer.state.maxSteps, done: trainer.state.globalStep)
  }

  func stepEnded(_ step: StepReport, _ state: TrainerState) {
    tokens += step.tokens
    let seconds = (ContinuousClock().now - begin) / .seconds(1)
    bar?.update(step: state.globalStep, loss: step.loss, tokensPerSecond: Double(tokens) / max(seconds, 1e-9))
  }

  func logged(_ log: TrainingLog, _ state: TrainerState) {
    let seconds = (ContinuousClock().now - begin) / .seconds(1)
    let rate = Double(tokens - last.tokens) / max(seconds - last.seconds, 1e-9)
    last = (tokens, seconds)
    let width = String(state.maxSteps).count
    let step = String(repeating: " ", count: max(0, width - String(log.step).count)) + String(log.step)
    self.log(
      "step \(step)/\(state.maxSteps)  loss \(Format.loss(log.loss))  grad norm \(Format.loss(log.gradNorm))  "
        + (log.metrics["rewards/margins"].map { "margin \(Format.loss($0))  " } ?? "")
        + String(cFormat: "lr %.2e  epoch %.2f  ", log.learningRate, log.epoch) + "\(Int(min(rate, 1e12))) tokens/s")
  }

  func evaluated(_ log: EvaluationLog, _ state: TrainerState) {
    self.log("step \(log.step): validation loss \(Format.loss(log.loss))")
  }

  func shouldPause() -> Bool { signals.caught != nil }

  func log(_ text: String) { if bar == nil { Printing.note(text) } else { bar?.log(text) } }

  func clear() { bar?.clear() }

  func finish() { bar?.finish() }
}
