import Foundation

/// Where text for people goes, and what can be shown there.
public struct Output: Sendable {
  /// Whether a person sees it at once, so that lines can be rewritten.
  public let isTerminal: Bool
  /// Whether and how it is coloured.
  public let style: Style
  /// The columns of a line now.
  public let columns: @Sendable () -> Int
  /// Writes text as it is.
  public let write: @Sendable (String) -> Void
  /// Seconds from some moment on, never going back.
  public let seconds: @Sendable () -> Double

  /// An output of these parts, as tests make it.
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

  /// The process's standard error, for progress and logs.
  public static let standardError = Output(descriptor: STDERR_FILENO)
  /// The process's standard output, for results.
  public static let standardOutput = Output(descriptor: STDOUT_FILENO)

  private init(descriptor: Int32) {
    let environment = ProcessInfo.processInfo.environment
    let isTerminal = isatty(descriptor) == 1
    let isDumb = environment["TERM"] == "dumb"
    self.isTerminal = isTerminal && !isDumb
    // https://no-color.org: present and not empty, whatever its value.
    style = Style(isColored: isTerminal && !isDumb && environment["NO_COLOR", default: ""].isEmpty)
    columns = { Self.columns(of: descriptor) }
    // A progress line that cannot be written is no reason to stop.
    write = { text in
      try? FileHandle(fileDescriptor: descriptor, closeOnDealloc: false).write(contentsOf: Data(text.utf8))
    }
    seconds = { Double(DispatchTime.now().uptimeNanoseconds) / 1e9 }
  }

  private static func columns(of descriptor: Int32) -> Int {
    var size = winsize()
    if ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 { return max(20, Int(size.ws_col)) }
    return ProcessInfo.processInfo.environment["COLUMNS"].flatMap(Int.init).map { min(max(20, $0), 1000) } ?? 100
  }
}
