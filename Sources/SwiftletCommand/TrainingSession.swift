import Collectives
import Datasets
import Hub
import Swiftlet
import Essentials
import Models
import Reports
import Tensors
import Terminal

/// A training run on the command line: facts before it, a progress bar and logs, results and next commands after it.
struct TrainingSession {
  private let recipe: Recipe
  private let command: [String]
  private let overwrites: Bool
  private let ranks: Ranks

  /// - Parameters:
  ///   - command: the arguments of `swiftlet` that run the recipe, to print how to resume it.
  ///   - overwrites: whether the output folder may hold the result of a different recipe.
  ///   - ranks: the processes that share the run. Rank 0 does all that a single process does; the others compute.
  init(_ recipe: Recipe, command: [String], overwrites: Bool = false, ranks: Ranks = .alone) {
    self.recipe = recipe
    self.command = command
    self.overwrites = overwrites
    self.ranks = ranks
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
    let (modelURL, teacherURL, data, located) = try await DownloadProgress.show { report in
      let progress = ranks.leads ? report : nil
      return try await ranks.inTurn {
        var teacher: URL?
        if let distillation = recipe.training.distillation {
          teacher = try await ModelLocation.find(
            recipe.locate(distillation.teacher), revision: distillation.teacherRevision, progress: progress)
        }
        return (
          try await ModelLocation.find(
            recipe.locate(recipe.model.name), revision: recipe.model.revision, progress: progress),
          teacher, try await DatasetLocation.find(recipe, progress: progress),
          try await recipe.locatingTemplate(progress: progress)
        )
      }
    }
    let (loading, preparing) = (QuantizationProgress(), PreparationProgress())
    defer { loading.finish() }
    return try TrainingRun(
      located, modelURL: modelURL, teacherURL: teacherURL, data: data,
      cache: PreparationCache.standard(environment: ProcessInfo.processInfo.environment),
      collective: ranks.collective, loading: ranks.leads ? loading.report : { _, _ in },
      preparing: ranks.leads ? preparing.update : { _, _ in })
  }

  /// - Parameter questions: asked before and after, instead of the recipe's.
  /// - Throws: `PausedRun` if a signal ended the training; one-sentence errors of the modules involved.
  func run(questions given: [Prompt]? = nil) async throws -> Outcome {
    // A reader of the output that goes away must not end the training.
    signal(SIGPIPE, SIG_IGN)
    guard ranks.leads else { return try await carryOut(given, nil) }
    try OutputFolder.checkUnused(by: recipe, overwrites: overwrites)
    if recipe.publication.isPublished {
      try Hub(environment: ProcessInfo.processInfo.environment).checkUpload(
        to: repository, revision: recipe.publication.revision ?? "main")
    }
    let journal = RunJournal(
      output: URL(fileURLWithPath: recipe.training.outputDir), command: command,
      facts: [
        "model": .string(recipe.model.name), "base": .string(absolute(recipe.locate(recipe.model.name))),
        "method": .string(recipe.training.method.name.rawValue), "recipe": .string(recipe.yaml),
      ])
    journal?.warn(recipe.notes)
    do {
      let outcome = try await carryOut(given, journal)
      journal?.complete()
      return outcome
    } catch {
      if error is PausedRun { journal?.enter(.paused) } else { journal?.enter(.failed, error: "\(error)") }
      throw error
    }
  }

  /// The path of a file or folder from anywhere; a name on the hub as it is.
  private func absolute(_ name: String) -> String {
    FileManager.default.fileExists(atPath: name) ? URL(fileURLWithPath: name).standardizedFileURL.path : name
  }

  /// - Parameter journal: `nil` on ranks that don't report.
  private func carryOut(_ given: [Prompt]?, _ journal: RunJournal?) async throws -> Outcome {
    let run = try await prepared()
    let ranksText = try ranks.text()
    if ranks.leads {
      try recipe.writeArguments(to: run.output.appendingPathComponent("training_args.json"))
      try describe(run, ranks: ranksText, journal)
    }
    let first = run.trainer.state.globalStep
    let tokensBefore = run.trainer.state.numInputTokensSeen

    let interview = try run.interview(ranks.leads ? given : [])
    if interview.log.rounds.isEmpty {
      try run.beforeTraining { try ask(interview, step: 0, "asking the model before training") }
    }
    let lossBefore = try run.beforeTraining { try evaluate(run, "validation loss before") } ?? nil
    run.lossBefore = lossBefore
    let seconds = try train(run, interview, journal)

    // Save first: answers and evaluations can be repeated.
    if ranks.leads { try write(run) }
    let lossAfter = try evaluate(run, "validation loss after")
    if ranks.leads {
      try ask(interview, step: run.trainer.state.globalStep, "asking the model after training")
      try run.writeCard(answers: interview.log.beforeAndAfter)
      summarize(
        run, lossBefore, lossAfter, interview, seconds, first: first,
        tokens: run.trainer.state.numInputTokensSeen - tokensBefore, journal)
      if recipe.training.verifiesAfterTraining { try await verify(run) }
      if recipe.publication.isPublished { try await publish(run) }
    }
    return Outcome(run: run, lossBefore: lossBefore, lossAfter: lossAfter, seconds: seconds)
  }

  /// Trains and returns the time it took, in seconds.
  private func train(_ run: TrainingRun, _ interview: Interview, _ journal: RunJournal?) throws -> Double {
    // Launchers also send signals to end the ranks at once, after another one has failed.
    let isAlone = ranks.collective.size == 1
    let signals = StopSignals(
      isAlone ? "\nSaving a checkpoint after this step. Press Ctrl-C again to quit without saving." : nil)
    defer { signals.end() }
    guard ranks.leads else { return try follow(run, signals) }
    Printing.heading("Training")
    let progress = TrainingProgress(run.trainer, signals, showsBar: !recipe.hidesProgress)
    interview.isInterrupted = { signals.caught != nil || journal?.request == .pause }
    interview.answered = { round in
      let table = interview.log.table([interview.log.rounds.first, round].compactMap(\.self))
      progress.log(table.text(width: Output.standardError.columns(), style: Output.standardError.style).trimmed)
    }
    // The journal comes first, to tell the losses before the model is asked.
    if let journal { run.trainer.callbacks.append(journal) }
    run.trainer.callbacks += [progress, interview]
    let begin = ContinuousClock().now
    let ending = try run.train()
    if case .paused(let checkpoint) = ending {
      progress.clear()
      throw paused(run, checkpoint, signals)
    }
    progress.finish()
    return (ContinuousClock().now - begin) / .seconds(1)
  }

  /// Trains on a rank that doesn't report.
  private func follow(_ run: TrainingRun, _ signals: StopSignals) throws -> Double {
    run.trainer.callbacks.append(PauseAtSignal(signals))
    if case .paused(let checkpoint) = try run.train() { throw paused(run, checkpoint, signals) }
    return 0
  }

  private func paused(_ run: TrainingRun, _ checkpoint: URL?, _ signals: StopSignals) -> PausedRun {
    let state = run.trainer.state
    return PausedRun(
      step: state.globalStep, steps: state.maxSteps,
      checkpoint: "\(recipe.training.outputDir)/\(checkpoint?.lastPathComponent ?? "")", command: command,
      // Another rank may have caught it.
      signal: signals.caught ?? SIGTERM, launcher: LaunchEnvironment()?.launcher)
  }

  private func write(_ run: TrainingRun) throws {
    var bar = ProgressBar("recording answers for verify", total: recipe.training.verificationAnswers)
    defer { bar.clear() }
    try run.write { bar.update($0, total: $1) }
  }

  /// Opens the result afresh and compares it with what the run recorded.
  private func verify(_ run: TrainingRun) async throws {
    Printing.heading("Verification")
    let base = recipe.lora == nil ? nil : recipe.locate(recipe.model.name)
    let opened = try await DownloadProgress.show {
      try await VerifiedModel.open(
        run.output.path, base: base, on: run.model.transformer.backend, progress: $0)
    }
    try VerificationReport.check(opened, recipe.training.outputDir)
  }

  /// Uploads the result.
  private func publish(_ run: TrainingRun) async throws {
    try await Push.upload(
      run.output, to: repository, revision: recipe.publication.revision ?? "main",
      isPrivate: recipe.publication.isPrivate ?? false)
  }

  /// Where the result is uploaded.
  private var repository: String {
    recipe.publication.repository ?? URL(fileURLWithPath: recipe.training.outputDir).lastPathComponent
  }

  private func ask(_ interview: Interview, step: Int, _ label: String) throws {
    var bar = ProgressBar(label, total: interview.questions.count)
    defer { bar.clear() }
    try interview.ask(step: step) { bar.update($0) }
  }

  /// - Parameter ranks: how many ranks share the run, in words.
  private func describe(_ run: TrainingRun, ranks ranksText: String?, _ journal: RunJournal?) throws {
    let (trainable, total) = run.parameterCounts
    let weights = run.model.transformer.parameters.reduce(0) { $0 + $1.value.count }
    let bytes = run.weightBytes
    var held = "\(Format.bytes(bytes.stored)) in memory"
    if bytes.unquantized != bytes.stored { held += ", \(Format.bytes(bytes.unquantized)) before quantization" }
    Printing.heading("Model")
    var facts = [
      ("base", recipe.model.name),
      ("weights", "\(Format.count(weights)), \(held)"),
      ("computes on", run.device.text + (ranksText == nil ? "" : " on each rank")),
      (
        "trained",
        "\(Format.count(trainable)) of \(Format.count(total)) (\(Format.percent(Double(trainable) / Double(total))))"
      ),
    ]
    if recipe.training.bf16 == true {
      let backend = run.model.transformer.backend
      let type = backend is VulkanBackend ? "float16 on matrix units" : "bfloat16"
      facts.append(
        (
          "products",
          backend.multipliesBFloat16
            ? "\(type), with float32 accumulation" : "float32, as 16 bits are not faster on this device"
        )
      )
    }
    if let ranksText { facts.insert(("ranks", ranksText), at: 2) }
    Printing.facts(facts)
    if let note = ranks.note { Printing.note("  Note: \(note)") }
    if let adapter = run.adapter {
      let transformer = run.model.transformer
      for name in adapter.configuration.unmatchedTargets(among: transformer.linearLayers.map(\.path)) {
        warn(
          "lora_target_modules: this model has no layer named \(name). Its layers are \(transformer.linearLayerNames)",
          journal)
      }
    }
    DataReport.show(run.report, validationRows: run.validationRows)
    journal?.warn(run.report.warnings)
    journal?.write(rows: run.preview(rows: 20))
    try describeMemory(run, journal)
    describeResume(run)
  }

  private func describeResume(_ run: TrainingRun) {
    let state = run.trainer.state
    guard state.globalStep > 0 else { return }
    Printing.note("\nResuming from step \(state.globalStep) of \(state.maxSteps).")
    guard let before = run.otherRanksOfCheckpoint else { return }
    Printing.note(
      "Note: the checkpoint was saved with \(before) rank\(before == 1 ? "" : "s"), so sums are rounded differently from "
        + "here on, and the result is not bit-identical to that of an uninterrupted run.")
  }

  /// The memory the run needs, and what was changed to fit.
  private func describeMemory(_ run: TrainingRun, _ journal: RunJournal?) throws {
    let plan = try run.plan()
    journal?.write(plan: plan.json)
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
      Printing.remark(
        "Note: auto_find_batch_size: \(batch) rows per batch instead of \(asked.trainBatchSize), and "
          + "\(run.trainer.configuration.gradientAccumulationSteps) batches per step, so each step still learns from the same rows"
      )
    }
    if !plan.fits { warn(plan.verdict, journal) }
  }

  private func warn(_ sentence: String, _ journal: RunJournal?) {
    Printing.remark("Warning: \(sentence)")
    journal?.warn([sentence])
  }

  private func evaluate(_ run: TrainingRun, _ label: String) throws -> Double? {
    guard let sums = try run.evaluate() else { return nil }
    let loss = sums.loss / Double(max(1, sums.count))
    guard ranks.leads else { return loss }
    if let reward = sums.metrics["reward"] {
      let length = sums.metrics["completions/mean_length"]?.mean ?? 0
      Printing.note("\n\(label): reward \(Format.loss(reward.mean)), \(Int(length.rounded())) tokens per completion")
    } else if recipe.training.distillation != nil {
      Printing.note("\n\(label): \(Format.loss(loss)) nats from the teacher per token (\(sums.count) tokens)")
    } else if recipe.training.method == .sft {
      Printing.note("\n\(label): \(Format.loss(loss)) (perplexity \(Format.loss(exp(loss))), \(sums.count) tokens)")
    } else {
      let metrics = sums.metrics.sorted { $0.key < $1.key }.map { ", \($0.key) \(Format.loss($0.value.mean))" }
      Printing.note("\n\(label): \(Format.loss(loss)), \(sums.count) rows\(metrics.joined())")
    }
    return loss
  }

  private func summarize(
    _ run: TrainingRun, _ before: Double?, _ after: Double?, _ interview: Interview, _ seconds: Double, first: Int,
    tokens: Int, _ journal: RunJournal?
  ) {
    if let last = interview.log.rounds.last {
      Printing.heading("Answers before and after")
      let first = interview.log.rounds.first { $0.step < last.step }
      let table = interview.log.table([first, last].compactMap(\.self))
      Printing.note(table.text(width: Output.standardError.columns(), style: Output.standardError.style).trimmed)
    }
    let state = run.trainer.state
    Printing.heading("Done")
    var steps = "\(state.globalStep)"
    if first > 0 { steps += ", \(state.globalStep - first) of them in this run" }
    var facts = [
      ("steps", "\(steps), \(Format.count(state.numInputTokensSeen)) tokens"),
      ("time", "\(Format.duration(seconds)), \(Int(Double(tokens) / max(seconds, 1e-9))) tokens/s"),
    ]
    if let loss = state.logHistory.last(where: { $0["loss"] != nil })?["loss"]?.double {
      facts.append(("training loss", "\(Format.loss(loss)) at the end"))
    }
    if SystemMemory.peakResident > 0 {
      facts.append(("memory", "\(Format.bytes(SystemMemory.peakResident)) at peak"))
    }
    if let reward = state.logHistory.last(where: { $0["reward"] != nil })?["reward"]?.double {
      facts.append(("training reward", "\(Format.loss(reward)) at the end"))
    } else if let before, let after {
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
    for failure in run.reportFailures { warn("\(failure)", journal) }
    if let failure = interview.failure { warn("some answers are missing: \(failure)", journal) }
    Printing.heading("Next")
    let width = Output.standardError.isTerminal ? Output.standardError.columns() - 2 : .max
    for line in NextCommands(recipe, questions: interview.questions, width: width).lines { Printing.note("  " + line) }
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

/// Asks a run to pause after a signal.
final class PauseAtSignal: TrainerCallback {
  private let signals: StopSignals

  init(_ signals: StopSignals) { self.signals = signals }

  func shouldPause() -> Bool { signals.caught != nil }
}
