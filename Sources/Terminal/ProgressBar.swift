/// How far some work is: on a terminal one line that is rewritten, elsewhere a plain line every few seconds.
///
/// On a terminal: `training ━━━━━━━━╸─────── 45/90  loss 1.234  512 tokens/s  1m12s left`.
public struct ProgressBar {
  private let label: String
  private let total: Int
  private let output: Output
  private let start: Double
  /// Where a resumed run began, so that its rate counts only what it did itself.
  private let first: Int
  private var done: Int
  private var metrics: [String] = []
  private var lastShown = -Double.infinity
  private var isShown = false

  /// Seconds between two showings on a terminal and elsewhere.
  private static let pause = (terminal: 0.1, elsewhere: 5.0)

  /// A bar for `total` units of work, of which `done` were done before.
  public init(_ label: String, total: Int, done: Int = 0, output: Output = .standardError) {
    self.label = label
    self.total = max(0, total)
    self.output = output
    self.done = max(0, done)
    first = max(0, done)
    start = output.seconds()
  }

  /// Tells how much is done, and metrics such as "loss 1.234" that stand behind the count.
  public mutating func update(_ done: Int, metrics: [String] = []) {
    self.done = max(0, done)
    if !metrics.isEmpty { self.metrics = metrics }
    let now = output.seconds()
    let pause = output.isTerminal ? Self.pause.terminal : Self.pause.elsewhere
    // Where lines stay, the last one is left to `finish`.
    let isLast = !output.isTerminal && total > 0 && done >= total
    if now - lastShown >= pause, !isLast { show(at: now) }
  }

  /// Tells of an optimizer step: its loss, and tokens a second.
  public mutating func update(step: Int, loss: Double?, tokensPerSecond: Double?) {
    var metrics: [String] = []
    if let loss { metrics.append("loss \(Format.loss(loss))") }
    if let tokensPerSecond, tokensPerSecond.isFinite {
      metrics.append("\(Format.count(Int(min(max(0, tokensPerSecond), 1e15)))) tokens/s")
    }
    update(step, metrics: metrics)
  }

  /// Writes a line of its own above the bar.
  public mutating func log(_ line: String) {
    clear()
    output.write(line + "\n")
    if output.isTerminal, lastShown > -.infinity { show(at: output.seconds()) }
  }

  /// Shows the end: the line stays, with the time the work took.
  public mutating func finish() {
    let taken = Format.duration(output.seconds() - start)
    clear()
    output.write(line(behind: "in \(taken)", columns: output.columns()) + "\n")
  }

  /// Takes the bar away, as before an error is shown.
  public mutating func clear() {
    if isShown { output.write("\r\u{1B}[2K") }
    isShown = false
  }

  private mutating func show(at now: Double) {
    lastShown = now
    let elapsed = now - start
    let share = done > first && total > 0 ? Double(total - done) / Double(done - first) : .infinity
    let left = share.isFinite ? "\(Format.duration(elapsed * max(0, share))) left" : ""
    guard output.isTerminal else {
      output.write(line(behind: left, columns: .max) + "\n")
      return
    }
    // One column less: a full line makes some terminals wrap.
    output.write("\r\u{1B}[2K" + line(behind: left, columns: output.columns() - 1))
    isShown = true
  }

  private func line(behind last: String, columns: Int) -> String {
    let count = total > 0 ? "\(done)/\(total)" : "\(done)"
    let texts = ([count] + metrics + [last]).filter { !$0.isEmpty }.joined(separator: "  ")
    guard output.isTerminal else { return "\(label)  \(texts)" }
    let room = columns - label.displayWidth - texts.displayWidth - 2
    guard room >= 8, total > 0 else { return String("\(label)  \(texts)".clipped(to: columns)) }
    return "\(label) \(bar(columns: min(room, 40))) \(texts)"
  }

  private func bar(columns: Int) -> String {
    let halves = Int(min(1, max(0, Double(done) / Double(total))) * Double(2 * columns))
    let full = String(repeating: "━", count: halves / 2) + (halves % 2 == 1 ? "╸" : "")
    let empty = String(repeating: "─", count: columns - (halves + 1) / 2)
    return output.style.cyan(full) + output.style.dim(empty)
  }
}
