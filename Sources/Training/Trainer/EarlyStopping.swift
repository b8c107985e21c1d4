/// Stops a run when the validation loss no longer falls, as transformers' `EarlyStoppingCallback` does.
///
/// It decides from the log alone, so a resumed run stops where the uninterrupted one would have.
public final class EarlyStopping: TrainerCallback {
  /// The number of evaluations in a row without improvement after which the run stops.
  public let patience: Int
  /// By how much the loss must fall to count as an improvement, in nats.
  public let threshold: Double
  private var isOver = false

  /// Stops after `patience` evaluations in a row whose loss is not lower than the best by more than `threshold`.
  public init(patience: Int, threshold: Double = 0) {
    self.patience = patience
    self.threshold = threshold
  }

  /// Checks whether a resumed run had already stopped.
  public func trainingBegan(_ state: TrainerState) { update(from: state) }

  /// Checks whether the loss still falls.
  public func evaluated(_ log: EvaluationLog, _ state: TrainerState) { update(from: state) }

  /// Whether the last `patience` evaluations brought no improvement.
  public func shouldStop(_ state: TrainerState) -> Bool { isOver }

  private func update(from state: TrainerState) {
    var best = Double.infinity
    var worse = 0
    // As in transformers, an evaluation before the first step does not count.
    for entry in state.logHistory where entry["step"]?.integer != 0 {
      guard let loss = entry["eval_loss"]?.double else { continue }
      worse = loss < best && best - loss > threshold ? 0 : worse + 1
      best = min(best, loss)
    }
    isOver = worse >= patience
  }
}
