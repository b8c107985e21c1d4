import Diagnostics
import Models
import Swiftlet
import Synchronization
import Tensors

/// Generates for many clients at once. Requests to the same model share a batch: each pass reads the weights once and
/// advances all of them by a token. Passes run on a thread of the engine's own.
package actor GenerationEngine {
  private nonisolated let thread = ModelThread(label: "swiftlet.serve")
  package nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

  private var models: [ServedModel] = []
  private var isRunning = false
  private nonisolated let nextID = Atomic(0)
  /// Generations that were cancelled before they started.
  private var cancelledEarly: Set<Int> = []
  /// The most generations that advance in one pass; others wait for their turn.
  private let batchSize: Int

  package init(batchSize: Int = 32) { self.batchSize = batchSize }

  /// Opens the models, the first of which answers requests that name none.
  /// - Throws: `SwiftletError` naming the file at fault.
  package func open(_ sources: [ModelSource], on backend: any Backend = CPUBackend.shared) throws {
    models = try sources.map { try ServedModel($0, on: backend) }
  }

  /// Opens another model, unless there is one with its id.
  /// - Parameter count: how many models to keep at most; the oldest without running generations are closed.
  /// - Throws: `SwiftletError` naming the file at fault.
  package func add(_ source: ModelSource, on backend: any Backend, keeping count: Int = .max) throws {
    if models.contains(where: { $0.id == source.id }) { return }
    while models.count >= count, let old = models.firstIndex(where: { $0.running.isEmpty }) { models.remove(at: old) }
    models.append(try ServedModel(source, on: backend))
  }

  /// The ids of the models.
  package var ids: [String] { models.map(\.id) }

  /// Runs `body` with a model, for everything but generation.
  package func withModel<Value: Sendable>(
    _ id: String, _ body: @Sendable (CausalLM) throws -> Value
  ) throws -> Value { try body(served(id).model) }

  private func served(_ id: String) throws -> ServedModel {
    guard let model = models.first(where: { $0.id == id }) else {
      throw APIError.notFound(
        "The model \(id.quotedExcerpt) does not exist. There is: \(ids.joined(separator: ", ")).",
        code: "model_not_found")
    }
    return model
  }

  // MARK: Generation

  /// Generates text. Ending the iteration, or cancelling its task, ends the generation.
  package nonisolated func generate(_ request: GenerationRequest) -> AsyncThrowingStream<GenerationUpdate, any Error> {
    AsyncThrowingStream { continuation in
      let id = nextID.wrappingAdd(1, ordering: .relaxed).newValue
      continuation.onTermination = { reason in if case .cancelled = reason { Task { await self.cancel(id) } } }
      Task {
        do {
          try await start(request, id, continuation)
        } catch {
          continuation.finish(throwing: error)
        }
      }
    }
  }

  private func start(
    _ request: GenerationRequest, _ id: Int,
    _ updates: AsyncThrowingStream<GenerationUpdate, any Error>.Continuation
  ) throws {
    guard cancelledEarly.remove(id) == nil else { return }
    let served = try served(request.model)
    try served.model.checkPrompt(request.prompt)
    let cache = served.cache(for: request.prompt, maxNewTokens: request.maxNewTokens)
    served.running.append(try RunningGeneration(id, request, model: served.model, cache: cache, updates))
    if !isRunning {
      isRunning = true
      Task { await run() }
    }
  }

  private func cancel(_ id: Int) {
    guard let served = models.first(where: { $0.running.contains { $0.id == id } }) else {
      cancelledEarly.insert(id)
      return
    }
    remove(from: served) { $0.id == id }
  }

  private func remove(from served: ServedModel, where isEnded: (RunningGeneration) -> Bool) {
    for generation in served.running where isEnded(generation) { served.keep(generation.cache) }
    served.running.removeAll(where: isEnded)
  }

  /// Advances all generations until none is left, and lets requests and cancellations in between passes.
  private func run() async {
    while models.contains(where: { !$0.running.isEmpty }) {
      for served in models where !served.running.isEmpty {
        advance(served)
        await Task.yield()
      }
    }
    isRunning = false
  }

  private func advance(_ served: ServedModel) {
    let batch = Array(served.running.prefix(batchSize))
    // Long prompts are read in small pieces if others would have to wait for them.
    let progress = TokenGenerator.advance(batch.map(\.tokens), chunk: batch.count > 1 ? 128 : 512)
    do {
      try served.model.transformer.backend.check()
    } catch {
      for generation in batch { generation.fail(error) }
      served.running.removeFirst(batch.count)
      return
    }
    var ended: Set<Int> = []
    for (generation, progress) in zip(batch, progress) where generation.receive(progress) {
      ended.insert(generation.id)
    }
    if !ended.isEmpty { remove(from: served) { ended.contains($0.id) } }
  }
}
