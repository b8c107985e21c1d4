import Diagnostics
import Dispatch

/// Runs the exchanges of a step one after another on a thread of its own, while the backward pass continues.
///
/// `@unchecked Sendable`: the failure is only touched on the queue.
final class ExchangeThread: @unchecked Sendable {
  private let queue = DispatchQueue(label: "swiftlet.exchange")
  private var failure: SwiftletError?

  /// Work on memory that the starting thread does not touch until `finish`.
  private struct Work: @unchecked Sendable {
    let body: () throws(SwiftletError) -> Void
  }

  /// Queues an exchange. After a failure, nothing runs any more.
  func start(_ body: @escaping () throws(SwiftletError) -> Void) {
    let work = Work(body: body)
    queue.async { [self] in
      guard failure == nil else { return }
      do throws(SwiftletError) { try work.body() } catch { failure = error }
    }
  }

  /// Waits for all exchanges.
  /// - Throws: the first failure.
  func finish() throws(SwiftletError) {
    if let failure = queue.sync(execute: { failure }) { throw failure }
  }
}
