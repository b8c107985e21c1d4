import Essentials
import Synchronization
import Terminal

/// Watches for Ctrl-C, for requests to end the process, and for a closed terminal. The first signal is only noted, so
/// that work can end in order; the second ends the process at once. Only one instance may watch at a time.
final class StopSignals {
  private typealias Earlier = (number: Int32, handler: (@convention(c) (Int32) -> Void)?)
  private let earlier: [Earlier]
  private let message: UnsafeMutableBufferPointer<UInt8>
  private var isWatching = true

  /// Watches until `end()`.
  /// - Parameter message: written to standard error at the first signal.
  init(_ message: String? = nil) {
    let bytes = Array((message.map { $0 + "\n" } ?? "").utf8)
    self.message = .allocate(capacity: bytes.count)
    _ = self.message.initialize(from: bytes)
    // A signal handler may only touch atomics and call functions such as `write`.
    SignalNote.caught.store(0, ordering: .relaxed)
    SignalNote.messageSize.store(bytes.count, ordering: .relaxed)
    SignalNote.message.store(UInt(bitPattern: self.message.baseAddress), ordering: .releasing)
    earlier = [SIGINT, SIGTERM, SIGHUP].compactMap { number -> Earlier? in
      let handler = signal(number, SignalNote.handle)
      // nohup: the run continues without its terminal.
      if number == SIGHUP, unsafeBitCast(handler, to: Int.self) == unsafeBitCast(SIG_IGN, to: Int.self) {
        signal(number, SIG_IGN)
        return nil
      }
      return (number, handler)
    }
  }

  /// The signal that was caught.
  var caught: Int32? { Self.caught }

  /// The signal that the latest instance caught; for other tasks.
  static var caught: Int32? {
    let number = SignalNote.caught.load(ordering: .relaxed)
    return number == 0 ? nil : number
  }

  /// Restores the earlier handlers. `caught` stays until another instance is created.
  func end() {
    guard isWatching else { return }
    isWatching = false
    for (number, handler) in earlier { signal(number, handler) }
    SignalNote.message.store(0, ordering: .relaxed)
  }

  deinit {
    end()
    message.deallocate()
  }
}

/// What the signal handler reads and writes.
private enum SignalNote {
  static let caught = Atomic<Int32>(0)
  /// The address of the bytes to write; 0 for none.
  static let message = Atomic<UInt>(0)
  static let messageSize = Atomic<Int>(0)

  static let handle: @convention(c) (Int32) -> Void = { number in
    let code = errno
    if caught.exchange(number, ordering: .relaxed) != 0 { _exit(128 + number) }
    if let bytes = UnsafeRawPointer(bitPattern: message.load(ordering: .acquiring)) {
      _ = write(STDERR_FILENO, bytes, messageSize.load(ordering: .relaxed))
    }
    errno = code
  }
}

/// A training run that a signal ended before its last step: not a failure, but not complete.
struct PausedRun: Error, CustomStringConvertible {
  /// Optimizer steps taken and planned.
  let step: Int, steps: Int
  /// Where it can be resumed.
  let checkpoint: String
  /// The arguments that started it.
  let command: [String]
  let signal: Int32
  /// What started it as one of several ranks; `nil` for a single process.
  var launcher: String?

  var description: String {
    let key = "resume_from_checkpoint"
    var words: [String] = []
    var isLeftOut = false
    for word in command {
      if word.hasPrefix("--") {
        let name = word.dropFirst(2).prefix { $0 != "=" }
        isLeftOut = name.replacing("-", with: "_") == key
      }
      if !isLeftOut { words.append(word) }
    }
    let program = CommandLine.arguments.first ?? "swiftlet"
    let line = ([program] + words + ["--\(key)", checkpoint]).map(Shell.quoted).joined(separator: " ")
    return "Stopped after step \(step) of \(steps). The checkpoint is \(checkpoint). "
      + "Resume \(launcher.map { "under \($0) " } ?? "")with:\n  \(line)"
  }
}
