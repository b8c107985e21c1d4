import Training

/// Keeps the loss of every step, for a plot or a look at it while the run goes on.
///
/// ```swift
/// let recorder = LossRecorder()
/// trainer.callbacks.append(recorder)
/// try trainer.train()
/// try recorder.curve(title: "Training loss").write(to: URL(fileURLWithPath: "loss.png"))
/// ```
public final class LossRecorder: TrainerCallback {
  /// The loss of each optimizer step since the run began or was taken up.
  public private(set) var training: [LossCurve.Point] = []
  /// The losses on held-out rows.
  public private(set) var evaluation: [LossCurve.Point] = []

  /// Nothing recorded yet.
  public init() {}

  /// Keeps the loss of the step.
  public func stepEnded(_ step: StepReport, _ state: TrainerState) {
    training.append(.init(step: state.globalStep, loss: step.loss))
  }

  /// Keeps the loss on held-out rows.
  public func evaluated(_ log: EvaluationLog, _ state: TrainerState) {
    evaluation.append(.init(step: log.step, loss: log.loss))
  }

  /// What was recorded as a picture.
  public func curve(title: String, subtitle: String = "") -> LossCurve {
    LossCurve(title: title, subtitle: subtitle, training: training, evaluation: evaluation)
  }
}
