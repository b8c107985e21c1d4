/// Ends a run once the loss on held-out rows no longer falls: transformers' `EarlyStoppingCallback`.
///
/// It looks at the log alone, so a run that is taken up stops where it would have stopped.
public final class EarlyStopping: TrainerCallback {
  /// Evaluations in a row without a better loss after which the run ends.
  public let patience: Int
  /// By how much a loss has to be lower to count as better, in nats.
  public let threshold: Double
  private var isOver = false

  /// Ends a run after `patience` evaluations without a loss that is lower by more than `threshold`.
  public init(patience: Int, threshold: Double = 0) {
    self.patience = patience
    self.threshold = threshold
  }

  /// A run that is taken up may have been over.
  public func trainingBegins(_ state: TrainerState) { look(at: state) }

  /// Looks whether the loss still falls.
  public func evaluated(_ log: EvaluationLog, _ state: TrainerState) { look(at: state) }

  /// Whether the last evaluations were no better than the best before them.
  public func shouldStop(_ state: TrainerState) -> Bool { isOver }

  private func look(at state: TrainerState) {
    var best = Double.infinity
    var worse = 0
    // What was measured before the first step does not count, as in transformers.
    for entry in state.logHistory where entry["step"]?.integer != 0 {
      guard let loss = entry["eval_loss"]?.double else { continue }
      worse = loss < best && best - loss > threshold ? 0 : worse + 1
      best = min(best, loss)
    }
    isOver = worse >= patience
  }
}
