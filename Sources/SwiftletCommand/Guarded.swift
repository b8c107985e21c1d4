import Synchronization

/// A value that several threads change, one at a time.
final class Guarded<Value>: @unchecked Sendable {
  // Sendable because `value` is only touched while the lock is held.
  private let lock = Mutex<Void>(())
  private var value: Value

  init(_ value: Value) { self.value = value }

  func change(_ body: (inout Value) -> Void) { lock.withLock { _ in body(&value) } }
}
