import Dispatch
import Essentials
import Synchronization
import Terminal

/// Ctrl-C, and the system's wish that the process ends. While this is watching, the first one is only noted, so that work
/// can end well; a second one ends the process at once.
final class StopSignals {
  private static let numbers = [SIGINT, SIGTERM]

  private final class Note: Sendable { let number = Atomic<Int32>(0) }
  private let note = Note()
  private let earlier: [(number: Int32, handler: (@convention(c) (Int32) -> Void)?)]
  private var sources: [any DispatchSourceSignal] = []

  /// Watches until `end()`.
  /// - Parameter message: shown at the first signal.
  init(_ message: String? = nil) {
    // Dispatch sees a signal beside its handler, which has to let the process live.
    earlier = Self.numbers.map { ($0, signal($0, SIG_IGN)) }
    let queue = DispatchQueue(label: "signals")
    sources = Self.numbers.map { number in
      let source = DispatchSource.makeSignalSource(signal: number, queue: queue)
      source.setEventHandler { [note] in
        if note.number.exchange(number, ordering: .relaxed) != 0 { _exit(128 + number) }
        if let message { Printing.note(message) }
      }
      source.resume()
      return source
    }
  }

  /// The signal that came.
  var caught: Int32? {
    let number = note.number.load(ordering: .relaxed)
    return number == 0 ? nil : number
  }

  /// Signals do again what they did before.
  func end() {
    for source in sources { source.cancel() }
    sources = []
    for (number, handler) in earlier { signal(number, handler) }
  }
}

/// A training run that a signal ended before its last step: no failure, and not done.
struct PausedRun: Error, CustomStringConvertible {
  /// Optimizer steps taken, and of how many.
  let step: Int, steps: Int
  /// Where it can be taken up.
  let checkpoint: String
  /// The words behind `swiftlet` that began it.
  let command: [String]
  /// The signal.
  let signal: Int32

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
    return "Stopped after step \(step) of \(steps). \(checkpoint) holds what was trained so far; to go on:\n  \(line)"
  }
}
