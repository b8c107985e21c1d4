/// A report that a run writes in addition to `trainer_state.json`: transformers' `report_to`.
public enum ReportDestination: String, Sendable, CaseIterable, Codable {
  /// A TensorBoard event file with the losses, the gradient norm and the learning rate.
  case tensorboard
  /// `log.jsonl` in the output folder, with one line per log.
  case jsonl
}

/// The texts of a loss curve; `nil` for the standard ones.
public struct LossCurveLabels: Sendable, Hashable, Codable {
  /// The title, in bold above the plot.
  public var title: String?
  /// The label of the horizontal axis; "optimizer step" by default.
  public var xLabel: String?
  /// The label of the vertical axis; "loss (nats per token)" by default.
  public var yLabel: String?

  /// Creates labels; the standard ones by default.
  public init(title: String? = nil, xLabel: String? = nil, yLabel: String? = nil) {
    self.title = title
    self.xLabel = xLabel
    self.yLabel = yLabel
  }
}

/// Which reports a run writes besides `trainer_state.json`, and where.
public struct ReportConfiguration: Sendable, Hashable, Codable {
  /// The reports to write, each at most once.
  public var destinations: [ReportDestination]
  /// The folder of TensorBoard's event files; `nil` for `$TENSORBOARD_LOGGING_DIR`, or `runs/<time>_<host>` in the
  /// output folder.
  public var tensorBoardFolder: String?
  /// Title and axis labels of `loss_curve.png`.
  public var lossCurve: LossCurveLabels

  /// Creates a configuration that writes these reports; none by default.
  public init(
    _ destinations: [ReportDestination] = [], tensorBoardFolder: String? = nil,
    lossCurve: LossCurveLabels = LossCurveLabels()
  ) {
    self.destinations = destinations
    self.tensorBoardFolder = tensorBoardFolder
    self.lossCurve = lossCurve
  }
}
