import Dispatch
import Essentials

/// The thread on which a model computes. An actor with this executor may block: its work never runs on Swift's
/// cooperative thread pool.
package final class ModelThread: SerialExecutor {
  private let queue: DispatchQueue

  package init(label: String) { queue = DispatchQueue(label: label) }

  package func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    queue.async { job.runSynchronously(on: self.asUnownedSerialExecutor()) }
  }

  package func asUnownedSerialExecutor() -> UnownedSerialExecutor { UnownedSerialExecutor(ordinary: self) }
}

/// Runs blocking work that belongs to no model, such as reading rows, on a thread of its own.
package enum BlockingWork {
  package static func run<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
      SystemThread.start { continuation.resume(with: Result { try body() }) }
    }
  }
}
