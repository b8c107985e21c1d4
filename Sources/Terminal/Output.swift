import Essentials

/// A stream that people read, such as standard error, and what it can display.
public struct Output: Sendable {
  /// Whether this is a terminal, where a line can be redrawn.
  public let isTerminal: Bool
  /// The style to use. Colored only on a terminal, and not if `NO_COLOR` is set or `TERM` is `dumb`.
  public let style: Style
  /// The current width in columns.
  public let columns: @Sendable () -> Int
  /// Writes text unchanged. Use `print` or `writeText` for anything that may include text from a file or a model.
  public let write: @Sendable (String) -> Void
  /// A monotonic clock, in seconds.
  public let seconds: @Sendable () -> Double

  /// Creates an output from its parts, for tests.
  public init(
    isTerminal: Bool, style: Style, columns: @escaping @Sendable () -> Int, write: @escaping @Sendable (String) -> Void,
    seconds: @escaping @Sendable () -> Double
  ) {
    self.isTerminal = isTerminal
    self.style = style
    self.columns = columns
    self.write = write
    self.seconds = seconds
  }

  /// The process's standard error, for progress and messages.
  public static let standardError = Output(descriptor: STDERR_FILENO)
  /// The process's standard output, for results.
  public static let standardOutput = Output(descriptor: STDOUT_FILENO)

  /// Prints a line of program output. Escape sequences other than the colors of `style` become harmless.
  public func print(_ line: String) {
    write(line.replacingTerminalControls(keepingColors: style.isColored) + "\n")
  }

  /// Writes text that a file contains or a model generated: `printable` on a terminal, unchanged elsewhere.
  public func writeText(_ text: String) { write(isTerminal ? text.printable : text) }

  private init(descriptor: Int32) {
    let environment = ProcessInfo.processInfo.environment
    isTerminal = isatty(descriptor) == 1 && environment["TERM"] != "dumb"
    // https://no-color.org: any value but the empty one turns colors off.
    style = Style(isColored: isTerminal && environment["NO_COLOR", default: ""].isEmpty)
    columns = { Self.columns(of: descriptor) }
    // Losing a progress line must not stop the run.
    write = { text in
      try? OpenFile(descriptor: descriptor, path: "").write(Array(text.utf8))
    }
    let start = ContinuousClock.now
    seconds = { (ContinuousClock.now - start) / .seconds(1) }
  }

  private static func columns(of descriptor: Int32) -> Int {
    var size = winsize()
    if ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 { return max(20, Int(size.ws_col)) }
    return ProcessInfo.processInfo.environment["COLUMNS"].flatMap(Int.init).map { min(max(20, $0), 1000) } ?? 100
  }
}
