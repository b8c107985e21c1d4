/// The progress of a long operation: one line that is redrawn on a terminal, or a new line every few seconds elsewhere.
///
/// On a terminal: `training ━━━━━━━━╸─────── 45/90  loss 1.234  512 tokens/s  1m12s left`.
public struct ProgressBar {
  /// The unit of the work that the bar counts.
  public enum Quantity: Sendable, Hashable {
    /// Plain numbers, without a rate.
    case count
    /// Items such as "rows", with a rate in items per second.
    case items(String)
    /// Bytes, with a rate in bytes per second.
    case bytes
  }

  private let label: String
  private let quantity: Quantity
  private let output: Output
  private let start: Double
  private let delay: Double
  /// Where this process started counting, so that the rate of a resumed run covers only its own work.
  private let first: Int
  private var total: Int
  private var done: Int
  private var metrics: [String] = []
  private var lastShown = -Double.infinity
  private var isOnScreen = false

  /// The minimum time between two updates, in seconds.
  private static let interval = (terminal: 0.1, elsewhere: 5.0)

  /// Creates a bar for `total` units of work.
  ///
  /// - Parameters:
  ///   - done: the units that an earlier process has done.
  ///   - delay: the time in seconds before the bar first appears. Work that finishes sooner prints nothing.
  public init(
    _ label: String, total: Int, done: Int = 0, quantity: Quantity = .count, delay: Double = 0,
    output: Output = .standardError
  ) {
    self.label = label.printable
    self.quantity = quantity
    self.total = max(0, total)
    self.output = output
    self.delay = delay
    self.done = max(0, done)
    first = max(0, done)
    start = output.seconds()
  }

  /// Sets how much is done.
  ///
  /// - Parameters:
  ///   - total: the new total, if it was not known before.
  ///   - metrics: text to show after the count, such as "loss 1.234". An empty array keeps the previous text.
  public mutating func update(_ done: Int, total: Int? = nil, metrics: [String] = []) {
    self.done = max(0, done)
    if let total { self.total = max(0, total) }
    if !metrics.isEmpty { self.metrics = metrics.map(\.printable) }
    let now = output.seconds()
    guard now - start >= delay else { return }
    let interval = output.isTerminal ? Self.interval.terminal : Self.interval.elsewhere
    // Without a terminal, `finish` prints the last line.
    let isLast = !output.isTerminal && self.total > 0 && done >= self.total
    if now - lastShown >= interval, !isLast { show(at: now) }
  }

  /// Sets the number of training steps done, with the step's loss and the throughput.
  public mutating func update(step: Int, loss: Double?, tokensPerSecond: Double?) {
    var metrics: [String] = []
    if let loss { metrics.append("loss \(Format.loss(loss))") }
    if let tokensPerSecond, tokensPerSecond.isFinite {
      metrics.append("\(Self.count(perSecond: tokensPerSecond)) tokens/s")
    }
    update(step, metrics: metrics)
  }

  /// Prints a line above the bar.
  public mutating func log(_ line: String) {
    clear()
    output.print(line)
    if output.isTerminal, lastShown > -.infinity { show(at: output.seconds()) }
  }

  /// Ends the bar with a line that stays and gives the elapsed time.
  public mutating func finish() {
    let elapsed = output.seconds() - start
    clear()
    guard elapsed >= delay else { return }
    output.print(line(endingWith: "in \(Format.duration(elapsed))", columns: output.columns()))
  }

  /// Removes the bar from the screen, for example before an error message.
  public mutating func clear() {
    if isOnScreen { output.write("\r\u{1B}[2K") }
    isOnScreen = false
  }

  private mutating func show(at now: Double) {
    lastShown = now
    let remaining = done > first && total > 0 ? Double(total - done) / Double(done - first) : .infinity
    let left = remaining.isFinite ? "\(Format.duration((now - start) * max(0, remaining))) left" : ""
    guard output.isTerminal else {
      output.print(line(endingWith: left, columns: .max))
      return
    }
    // Some terminals wrap after a full line, so one column stays free.
    output.write("\r\u{1B}[2K" + line(endingWith: left, columns: output.columns() - 1))
    isOnScreen = true
  }

  private func line(endingWith last: String, columns: Int) -> String {
    let texts = ([amount] + metrics + [rate, last]).filter { !$0.isEmpty }.joined(separator: "  ")
    guard output.isTerminal else { return "\(label)  \(texts)" }
    let room = columns - label.displayWidth - texts.displayWidth - 2
    guard room >= 8, total > 0 else { return String("\(label)  \(texts)".clipped(to: columns)) }
    return "\(label) \(bar(columns: min(room, 40))) \(texts)"
  }

  /// How much is done, as "45/90" or "1.20 GB of 3.40 GB".
  private var amount: String {
    switch quantity {
    case .bytes: total > 0 ? "\(Format.bytes(done)) of \(Format.bytes(total))" : Format.bytes(done)
    case .count, .items: total > 0 ? "\(done)/\(total)" : "\(done)"
    }
  }

  /// The average rate so far; empty if there is none to show.
  private var rate: String {
    let elapsed = output.seconds() - start
    guard done > first, elapsed > 0 else { return "" }
    let perSecond = Double(done - first) / elapsed
    switch quantity {
    case .count: return ""
    case .items(let name): return "\(Self.count(perSecond: perSecond)) \(name)/s"
    case .bytes: return "\(Format.bytes(Int(min(perSecond, 1e15))))/s"
    }
  }

  private static func count(perSecond rate: Double) -> String { Format.count(Int(min(max(0, rate), 1e15))) }

  private func bar(columns: Int) -> String {
    let halves = Int(min(1, max(0, Double(done) / Double(total))) * Double(2 * columns))
    let full = String(repeating: "━", count: halves / 2) + (halves % 2 == 1 ? "╸" : "")
    let empty = String(repeating: "─", count: columns - (halves + 1) / 2)
    return output.style.cyan(full) + output.style.dim(empty)
  }
}
