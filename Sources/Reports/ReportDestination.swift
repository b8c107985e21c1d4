/// A report that a run writes in addition to `trainer_state.json`: transformers' `report_to`.
public enum ReportDestination: String, Sendable, CaseIterable, Codable {
  /// A TensorBoard event file with the losses, the gradient norm and the learning rate.
  case tensorboard
  /// `log.jsonl` in the output folder, with one line per log.
  case jsonl
}

/// Which reports a run writes in addition to `trainer_state.json`, and where.
public struct ReportConfiguration: Sendable, Hashable, Codable {
  /// The reports to write, each at most once.
  public var destinations: [ReportDestination]
  /// The folder of TensorBoard's event files; `nil` for `$TENSORBOARD_LOGGING_DIR`, or `runs/<time>_<host>` in the
  /// output folder.
  public var tensorBoardFolder: String?

  /// Creates a configuration that writes these reports; none by default.
  public init(_ destinations: [ReportDestination] = [], tensorBoardFolder: String? = nil) {
    self.destinations = destinations
    self.tensorBoardFolder = tensorBoardFolder
  }
}
