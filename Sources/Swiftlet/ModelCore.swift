import ChatTemplates
import Datasets
import Diagnostics
import Essentials
import Models
import Recipes
import Tensors
import Tokenizers
import Training

/// Owns a model and everything that computes with it: chats and training runs. All of it runs on the model's thread,
/// one token or one optimizer step at a time, so several chats and a run take turns.
actor ModelCore {
  private nonisolated let thread: ModelThread
  nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

  private var model: CausalLM?
  private var adapter: Adapter?
  private var chats: [ObjectIdentifier: Chat] = [:]
  private var runs: [ObjectIdentifier: TrainingRun] = [:]
  /// Whether the weights are float32 in memory of their own, so that they can be trained.
  private var isFloat32 = false
  /// Counts changes of the weights, which make KV caches stale.
  private var weightsVersion = 0
  private let url: URL
  private let quantization: QuantizationConfiguration?
  private let backend: any Backend

  private struct Chat {
    var conversation: CachedConversation
    var weightsVersion: Int
    var isAnswering = false
  }

  init(_ url: URL, quantization: QuantizationConfiguration?, on backend: any Backend) {
    self.url = url
    self.quantization = quantization
    self.backend = backend
    thread = ModelThread(label: "swiftlet.model.\(url.lastPathComponent)")
  }

  // MARK: Opening

  /// Opens the model, and the adapter in a folder if there is one.
  func open(adapter folder: URL?, chatTemplate: String?) throws {
    let template = try chatTemplate ?? folder.flatMap { try ChatRenderer.templateSource(in: $0) }
    let opened = try openModel(chatTemplate: template, adapter: folder)
    adapter = try folder.map { try Adapter(reading: $0, onto: opened.transformer) }
    try folder.map { try opened.takeSpecialTokens(ofAdapter: $0) }
    model = opened
  }

  private func openModel(
    chatTemplate: String?, adapter: URL? = nil, adding tokens: [AddedToken] = [], isFloat32: Bool = false
  ) throws -> CausalLM {
    let files = try ModelFiles(opening: url).adding(tokens).extended(by: adapter)
    return try CausalLM(
      files, tokenizer: files.tokenizer(), chatTemplate: chatTemplate, on: backend, inFloat32: isFloat32,
      quantization: quantization)
  }

  private var opened: CausalLM {
    get throws(SwiftletError) {
      guard let model else { throw SwiftletError.model("\(url.path): the model is not open") }
      return model
    }
  }

  /// Runs `body` on the model's thread.
  func withModel<Value: Sendable>(_ body: @Sendable (CausalLM) throws -> Value) throws -> Value { try body(opened) }

  // MARK: Chats

  /// Answers in a chat, one token at a time, and lets others compute in between.
  func answer(
    _ text: String, in session: ObjectIdentifier, _ settings: ChatSession.Settings,
    _ receive: @Sendable (String) -> Void
  ) async throws {
    let conversation = try beginAnswer(in: session, settings)
    defer { chats[session]?.isAnswering = false }
    let reply = try conversation.reply(to: text, sampling: settings.sampling, maxNewTokens: settings.maxNewTokens)
    while let piece = reply.next() {
      if !piece.isEmpty { receive(piece) }
      if Task.isCancelled { break }
      await Task.yield()
    }
    let rest = reply.finish()
    if !rest.isEmpty { receive(rest) }
    try backend.check()
  }

  private func beginAnswer(
    in session: ObjectIdentifier, _ settings: ChatSession.Settings
  ) throws -> CachedConversation {
    var chat =
      if let known = chats[session] {
        known
      } else {
        Chat(
          conversation: CachedConversation(with: try opened, system: settings.system, thinking: settings.thinking),
          weightsVersion: weightsVersion)
      }
    guard !chat.isAnswering else {
      throw SwiftletError.model("the chat session is still answering; wait for the end of its stream")
    }
    if chat.weightsVersion != weightsVersion {
      chat.conversation.invalidateCache()
      chat.weightsVersion = weightsVersion
    }
    chat.isAnswering = true
    chats[session] = chat
    return chat.conversation
  }

  func messages(of session: ObjectIdentifier, _ settings: ChatSession.Settings) -> [Message] {
    chats[session]?.conversation.messages ?? settings.system.map { [.system($0)] } ?? []
  }

  func forget(session: ObjectIdentifier) { chats[session] = nil }

  // MARK: Training

  /// Carries out a run, one optimizer step at a time, and sends its events.
  func train(_ job: FineTuning.Job, run id: ObjectIdentifier, events: EventChannel) async {
    do {
      let run = try prepared(job, run: id, callbacks: [EventRelay(events)])
      let trainer = run.trainer
      events.send(.began(TrainingEvent.Beginning(run)))
      var goesOn = try trainer.start()
      while goesOn {
        goesOn = try trainer.advance()
        weightsVersion += 1
        await Task.yield()
      }
      _ = try trainer.finish()
      weightsVersion += 1
      events.finish()
    } catch {
      events.finish(throwing: error)
    }
  }

  /// What a run will need.
  func plan(_ job: FineTuning.Job, run id: ObjectIdentifier, isCalibrated: Bool) throws -> RunPlan {
    try prepared(job, run: id, callbacks: []).plan(calibrated: isCalibrated)
  }

  /// The run of a job; prepared at first.
  private func prepared(
    _ job: FineTuning.Job, run id: ObjectIdentifier, callbacks: [any TrainerCallback]
  ) throws -> TrainingRun {
    if let run = runs[id] {
      run.trainer.callbacks = callbacks + job.callbacks
      return run
    }
    try RunAgreement(collective: job.collective).check(job.recipe)
    let tokens = try job.recipe.tokens(of: ModelFiles(opening: url).tokenizer())
    try reopenIfNeeded(for: job, tokens)
    let rows = try PreparedRows(job, tokens, model: try opened)
    let run = try TrainingRun(
      job.recipe.taking(tokens, of: try opened.files), model: try opened, rows: rows, components: job.components,
      callbacks: callbacks + job.callbacks, collective: job.collective)
    adapter = run.adapter
    runs[id] = run
    return run
  }

  /// A run that trains every weight, or uses another chat template or more tokens, needs another instance of the model.
  private func reopenIfNeeded(for job: FineTuning.Job, _ recipeTokens: RecipeTokens) throws {
    let current = try opened
    guard adapter == nil else {
      throw SwiftletError.model("the model has an adapter already; open it without one to train a new adapter")
    }
    // As opened for reading, weights are in read-only memory and may not be float32.
    let needsFloat32 = job.recipe.lora == nil && !isFloat32
    if needsFloat32,
      quantization != nil || current.transformer.parameters.contains(where: { $0.value.type.isFourBitCode })
    {
      throw SwiftletError.model("the weights are quantized, so they cannot be trained; pass an adapter")
    }
    let template = recipeTokens.template
    let tokens = recipeTokens.added.isEmpty ? current.files.addedTokens : recipeTokens.added
    let needsTokens = tokens != current.files.addedTokens
    guard needsFloat32 || needsTokens || (template != nil && template != current.chatTemplate?.source) else { return }
    guard weightsVersion == 0 else {
      throw SwiftletError.model(
        "the weights have been trained already, so `chatTemplatePath` and `addedTokens` can't change; open the model again"
      )
    }
    model = try openModel(
      chatTemplate: template ?? current.chatTemplate?.source, adding: tokens, isFloat32: needsFloat32 || isFloat32)
    isFloat32 = isFloat32 || needsFloat32
    chats = [:]
  }

  /// Writes the result files of a run.
  func save(run id: ObjectIdentifier) throws {
    guard let run = runs[id] else {
      throw SwiftletError.training("there is nothing to save: the run has not started; iterate over its events first")
    }
    try run.write()
  }

  func forget(run id: ObjectIdentifier) { runs[id] = nil }
}
