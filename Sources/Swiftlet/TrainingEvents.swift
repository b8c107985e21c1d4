import Essentials
import Reports
import Synchronization
import Training

/// Something that happened in a training run.
public enum TrainingEvent: Sendable {
  /// Everything is prepared; the first step follows.
  case began(Beginning)
  /// An optimizer step was taken.
  case step(StepReport)
  /// Losses were logged.
  case logged(TrainingLog)
  /// The validation loss was measured.
  case evaluated(EvaluationLog)
  /// A checkpoint was saved in this folder of the output folder, such as `checkpoint-500`.
  case saved(checkpoint: String)
  /// The run ended. No event follows.
  case ended(Trainer.Ending)

  /// What a run starts with.
  public struct Beginning: Sendable, Hashable {
    /// Optimizer steps taken already, by a run that this one resumes.
    public let firstStep: Int
    /// Optimizer steps of the whole run.
    public let totalSteps: Int
    /// The number of trained parameters.
    public let trainableParameters: Int
    /// The number of all parameters, adapters included.
    public let totalParameters: Int

    init(_ run: TrainingRun) {
      firstStep = run.trainer.state.globalStep
      totalSteps = run.trainer.state.maxSteps
      (trainableParameters, totalParameters) = run.parameterCounts
    }
  }
}

/// The events of a training run, in order.
public struct TrainingEvents: AsyncSequence, Sendable {
  /// The elements are the events of the run.
  public typealias Element = TrainingEvent

  private let run: FineTuning
  private let start: @Sendable (FineTuning, EventChannel) async -> Void

  init(run: FineTuning, start: @escaping @Sendable (FineTuning, EventChannel) async -> Void) {
    self.run = run
    self.start = start
  }

  /// Starts the run and returns the only iterator over its events.
  public func makeAsyncIterator() -> Iterator {
    let channel = EventChannel()
    Task { [run, start] in await start(run, channel) }
    return Iterator(channel: channel)
  }

  /// Iterates over the events. The run pauses when the iterator goes away.
  public struct Iterator: AsyncIteratorProtocol {
    private let channel: EventChannel
    private let lifetime: Lifetime

    init(channel: EventChannel) {
      self.channel = channel
      lifetime = Lifetime(channel)
    }

    /// The next event; `nil` after the last one.
    /// - Throws: `SwiftletError` if the run failed.
    public mutating func next() async throws -> TrainingEvent? {
      try await withTaskCancellationHandler {
        try await channel.next()
      } onCancel: { [channel] in
        channel.requestPause()
      }
    }

    private final class Lifetime: Sendable {
      private let channel: EventChannel
      init(_ channel: EventChannel) { self.channel = channel }
      deinit { channel.requestPause() }
    }
  }
}

/// Carries events from the model's thread to the task that iterates over them. Canceling that task does not close the
/// channel: it only asks the run to pause.
final class EventChannel: Sendable {
  private struct State {
    var events: [TrainingEvent] = []
    var end: Result<Void, any Error>?
    var waiter: CheckedContinuation<TrainingEvent?, any Error>?
    var isPauseRequested = false
  }

  private let state = Mutex(State())

  func send(_ event: TrainingEvent) {
    let waiter = state.withLock { state in
      defer { state.waiter = nil }
      if state.waiter == nil { state.events.append(event) }
      return state.waiter
    }
    waiter?.resume(returning: event)
  }

  func finish() { end(.success(())) }

  func finish(throwing error: any Error) { end(.failure(error)) }

  private func end(_ result: Result<Void, any Error>) {
    let waiter = state.withLock { state in
      defer { state.waiter = nil }
      // A waiting iterator learns of the end now, others after the events that are left.
      state.end = state.waiter == nil ? result : .success(())
      return state.waiter
    }
    waiter?.resume(with: result.map { nil })
  }

  func next() async throws -> TrainingEvent? {
    try await withCheckedThrowingContinuation { continuation in
      let outcome: Result<TrainingEvent?, any Error>? = state.withLock { state in
        if !state.events.isEmpty { return .success(state.events.removeFirst()) }
        if let end = state.end {
          state.end = .success(())
          return end.map { nil }
        }
        state.waiter = continuation
        return nil
      }
      if let outcome { continuation.resume(with: outcome) }
    }
  }

  func requestPause() { state.withLock { $0.isPauseRequested = true } }

  var isPauseRequested: Bool { state.withLock { $0.isPauseRequested } }
}

/// Sends what a trainer does to a channel, and passes requests to pause on to the trainer.
final class EventRelay: TrainerCallback {
  private let channel: EventChannel

  init(_ channel: EventChannel) { self.channel = channel }

  func stepEnded(_ step: StepReport, _ state: TrainerState) { channel.send(.step(step)) }
  func logged(_ log: TrainingLog, _ state: TrainerState) { channel.send(.logged(log)) }
  func evaluated(_ log: EvaluationLog, _ state: TrainerState) { channel.send(.evaluated(log)) }
  func saved(_ folder: String, _ state: TrainerState) { channel.send(.saved(checkpoint: folder)) }
  func trainingEnded(_ ending: Trainer.Ending, _ state: TrainerState) { channel.send(.ended(ending)) }
  func shouldPause() -> Bool { channel.isPauseRequested }
}
