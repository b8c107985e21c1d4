import Diagnostics
import Checkpoints
import CLoader
import Essentials
import Training

/// A plot of the loss over a run: the logged training losses, a smoothed curve, and the validation losses.
public struct LossCurve: Sendable {
  /// A loss at an optimizer step.
  public struct Point: Sendable, Hashable {
    /// The optimizer step, counted from 1.
    public var step: Int
    /// The mean loss per token, in nats.
    public var loss: Double

    /// Creates a point from a step and its loss.
    public init(step: Int, loss: Double) {
      self.step = step
      self.loss = loss
    }
  }

  /// The title, in bold above the plot.
  public var title: String
  /// The label of the horizontal axis.
  public var xLabel = "optimizer step"
  /// The label of the vertical axis.
  public var yLabel = "loss (nats per token)"
  /// A line below the title, such as the model and the method.
  public var subtitle: String
  /// The training losses, sorted by step. Losses that are not finite are not drawn.
  public var training: [Point]
  /// The validation losses, sorted by step.
  public var evaluation: [Point]

  /// Creates a curve from points that are sorted by step.
  public init(title: String, subtitle: String = "", training: [Point], evaluation: [Point] = []) {
    self.title = title
    self.subtitle = subtitle
    self.training = training
    self.evaluation = evaluation
  }

  /// Creates the curve of a run from its log.
  /// - Parameter metric: what to show instead of the loss, such as `reward`.
  public init(title: String, subtitle: String = "", state: TrainerState, metric: String = "loss") {
    func points(_ key: String) -> [Point] {
      state.logHistory.compactMap { entry in
        guard let loss = entry[key]?.double, let step = entry["step"]?.integer else { return nil }
        return Point(step: step, loss: loss)
      }
    }
    self.init(title: title, subtitle: subtitle, training: points(metric), evaluation: points("eval_" + metric))
    if metric != "loss" { yLabel = metric }
  }

  /// Adds the validation loss before training, as a point at step 0, unless the log has one.
  public mutating func add(lossBefore loss: Double) {
    if evaluation.first?.step != 0 { evaluation.insert(Point(step: 0, loss: loss), at: 0) }
  }

  /// Replaces the texts that `labels` sets.
  public mutating func apply(_ labels: LossCurveLabels) {
    title = labels.title ?? title
    xLabel = labels.xLabel ?? xLabel
    yLabel = labels.yLabel ?? yLabel
  }

  /// Whether Cairo, which draws the picture, is installed.
  public static var isAvailable: Bool { loader_failure(loader_cairo) == nil }

  /// Writes the plot: an SVG if `url` ends in `.svg`, otherwise a PNG of 1920 by 1120 pixels.
  /// - Throws: `SwiftletError` if Cairo is missing or the file cannot be written.
  public func write(to url: URL) throws(SwiftletError) {
    if let failure = loader_failure(loader_cairo) {
      throw SwiftletError.checkpoint(
        path: url.path,
        reason: "the loss curve cannot be drawn without Cairo (\(String(cString: failure))); "
          + "on Debian and Ubuntu, run `apt install libcairo2`")
    }
    guard let bytes = url.pathExtension.lowercased() == "svg" ? svg() : png() else {
      throw SwiftletError.checkpoint(
        path: url.path,
        reason:
          "the loss curve cannot be drawn: Cairo is out of memory; free memory and use trainer_state.json to plot it")
    }
    try AtomicFile.write(bytes, to: url)
  }

  /// The plot as PNG data; `nil` if memory runs out.
  public func png() -> [UInt8]? { drawn(.png) }

  /// The plot as SVG data; `nil` if memory runs out.
  public func svg() -> [UInt8]? { drawn(.svg) }

  /// Draws without text if there is no usable font.
  private func drawn(_ format: Canvas.Format) -> [UInt8]? { drawing(format)?.bytes }

  /// The file's bytes, and the canvas that recorded what was drawn.
  package func drawing(_ format: Canvas.Format) -> (bytes: [UInt8], canvas: Canvas)? {
    for hasText in [true, false] {
      let canvas = Canvas(format, width: LossCurveLayout.width, height: LossCurveLayout.height)
      LossCurveLayout(self, hasText: hasText).draw(on: canvas)
      if let bytes = canvas.finish() { return (bytes, canvas) }
    }
    return nil
  }

  /// An exponential moving average of the training losses over a twentieth of the run, with bias correction.
  var smoothed: [Point] {
    let finite = training.filter(\.loss.isFinite)
    let weight = 1 - 1 / max(1, Double(finite.count) / 20)
    var mean = 0.0
    var total = 0.0
    return finite.map { point in
      mean = weight * mean + (1 - weight) * point.loss
      total = weight * total + (1 - weight)
      return Point(step: point.step, loss: mean / total)
    }
  }
}

/// The layout of the plot.
private struct LossCurveLayout {
  static let width = 960.0
  static let height = 560.0
  private let left = 78.0
  private let right = 34.0
  private let top = 98.0
  private let bottom = 62.0

  private let textColor = Canvas.Color(0x1F2933)
  private let axisColor = Canvas.Color(0x6B7785)
  private let gridColor = Canvas.Color(0xE6EAEE)
  private let loggedColor = Canvas.Color(0x9DC3E6)
  private let smoothedColor = Canvas.Color(0x1F5FA8)
  private let validationColor = Canvas.Color(0xE0762B)

  private let curve: LossCurve
  private let hasText: Bool
  private let training: [LossCurve.Point]
  private let smoothed: [LossCurve.Point]
  private let evaluation: [LossCurve.Point]
  private let steps: ClosedRange<Double>
  private let losses: ClosedRange<Double>

  init(_ curve: LossCurve, hasText: Bool) {
    self.curve = curve
    self.hasText = hasText
    training = curve.training.filter(\.loss.isFinite)
    smoothed = training.count >= 30 ? curve.smoothed : []
    evaluation = curve.evaluation.filter(\.loss.isFinite)
    let points = training + evaluation
    let last = points.map { Double($0.step) }.max() ?? 1
    let first = points.map { Double($0.step) }.min().map { $0 < last / 3 ? min(0, $0) : $0 } ?? 0
    steps = AxisTicks.cover(last > first ? first...last : (first - 1)...(first + 1), wanted: 9, wholeNumbers: true)
    let low = points.map(\.loss).min() ?? 0
    let high = points.map(\.loss).max() ?? 1
    let margin = high > low ? (high - low) * 0.06 : max(0.05, abs(high) * 0.1)
    losses = AxisTicks.cover((low >= 0 ? max(0, low - margin) : low - margin)...(high + margin), wanted: 6)
  }

  func draw(on canvas: Canvas) {
    canvas.fill(x: 0, y: 0, width: Self.width, height: Self.height, Canvas.Color(0xFFFFFF))
    drawAxes(on: canvas)
    let lineWidth = training.count > 400 ? 1.0 : 1.6
    canvas.stroke(training.map(place), trainingColor, width: smoothed.isEmpty ? 2.2 : lineWidth)
    canvas.stroke(smoothed.map(place), smoothedColor, width: 2.6)
    canvas.stroke(evaluation.map(place), validationColor, width: 1.4)
    for point in evaluation.map(place) { canvas.dot(x: point.x, y: point.y, radius: 4.5, validationColor) }
    if smoothed.isEmpty, training.count <= 40 {
      for point in training.map(place) { canvas.dot(x: point.x, y: point.y, radius: 3, smoothedColor) }
    }
    if hasText { drawText(on: canvas) }
  }

  /// The logged losses stand out only if there is no smoothed curve.
  private var trainingColor: Canvas.Color { smoothed.isEmpty ? smoothedColor : loggedColor }

  private func place(_ point: LossCurve.Point) -> (x: Double, y: Double) { (x(Double(point.step)), y(point.loss)) }

  private func x(_ step: Double) -> Double {
    left + (step - steps.lowerBound) / (steps.upperBound - steps.lowerBound) * (Self.width - left - right)
  }

  private func y(_ loss: Double) -> Double {
    Self.height - bottom
      - (loss - losses.lowerBound) / (losses.upperBound - losses.lowerBound) * (Self.height - top - bottom)
  }

  private func drawAxes(on canvas: Canvas) {
    let floor = Self.height - bottom
    let vertical = AxisTicks(losses, wanted: 6)
    for (value, label) in zip(vertical.values, vertical.labels) {
      canvas.stroke([(left, y(value)), (Self.width - right, y(value))], gridColor, width: 1)
      if hasText { canvas.text(label, x: left - 10, y: y(value) + 4.5, size: 13, axisColor, anchor: .end) }
    }
    let horizontal = AxisTicks(steps, wanted: 9, wholeNumbers: true)
    for (value, label) in zip(horizontal.values, horizontal.labels) {
      canvas.stroke([(x(value), floor), (x(value), floor + 5)], axisColor, width: 1)
      if hasText { canvas.text(label, x: x(value), y: floor + 21, size: 13, axisColor, anchor: .middle) }
    }
    canvas.stroke([(left, floor), (Self.width - right, floor)], axisColor, width: 1.2)
  }

  private func drawText(on canvas: Canvas) {
    canvas.text(clipped(curve.title, 19, on: canvas, bold: true), x: left, y: 36, size: 19, textColor, bold: true)
    canvas.text(clipped(curve.subtitle, 13, on: canvas), x: left, y: 58, size: 13, axisColor)
    canvas.text(
      clipped(curve.xLabel, 13, on: canvas), x: (left + Self.width - right) / 2, y: Self.height - 16,
      size: 13, axisColor, anchor: .middle)
    canvas.text(
      clipped(curve.yLabel, 13, on: canvas, room: Self.height - top - bottom), x: 22,
      y: (top + Self.height - bottom) / 2, size: 13, axisColor, anchor: .middle,
      rotated: true)
    drawLegend(on: canvas)
  }

  /// Draws the legend above the plot, from right to left.
  private func drawLegend(on canvas: Canvas) {
    var entries: [(text: String, color: Canvas.Color, isDot: Bool)] = []
    if !training.isEmpty { entries.append(("training", trainingColor, false)) }
    if let last = smoothed.last {
      entries.append(("smoothed, " + number(last.loss) + " at the end", smoothedColor, false))
    }
    if let last = evaluation.last {
      entries.append(("validation, " + number(last.loss) + " at the end", validationColor, true))
    }
    var edge = Self.width - right
    for entry in entries.reversed() {
      let start = edge - canvas.width(of: entry.text, size: 13)
      canvas.text(entry.text, x: start, y: top - 14, size: 13, textColor)
      canvas.stroke([(start - 30, top - 18.5), (start - 8, top - 18.5)], entry.color, width: 2.6)
      if entry.isDot { canvas.dot(x: start - 19, y: top - 18.5, radius: 4.5, entry.color) }
      edge = start - 52
    }
  }

  private func number(_ loss: Double) -> String { AxisTicks.label(loss, decimals: loss.magnitude < 0.1 ? 4 : 3) }

  /// Truncates text to `room`, by default the width of the plot.
  private func clipped(
    _ text: String, _ size: Double, on canvas: Canvas, bold: Bool = false, room: Double? = nil
  ) -> String {
    let room = room ?? Self.width - left - right
    var shown = String(text.replacing("\n", with: " ").prefix(200))
    if canvas.width(of: shown, size: size, bold: bold) <= room { return shown }
    while shown.count > 1, canvas.width(of: shown + "…", size: size, bold: bold) > room { shown.removeLast() }
    return shown + "…"
  }
}
