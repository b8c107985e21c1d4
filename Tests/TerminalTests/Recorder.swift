import Foundation
import Terminal

/// Records what is written to an output, with a clock that only `wait` advances.
///
/// `@unchecked Sendable`: a lock guards both variables.
final class Recorder: @unchecked Sendable {
  private let lock = NSLock()
  private var text = ""
  private var time = 0.0

  func output(isTerminal: Bool, columns: Int = 80, isColored: Bool = false) -> Output {
    Output(
      isTerminal: isTerminal, style: Style(isColored: isColored), columns: { columns },
      write: { new in self.lock.withLock { self.text += new } }, seconds: { self.lock.withLock { self.time } })
  }

  func wait(_ seconds: Double) { lock.withLock { time += seconds } }

  /// Returns what was written since the last call.
  func take() -> String {
    lock.withLock {
      defer { text = "" }
      return text
    }
  }
}
