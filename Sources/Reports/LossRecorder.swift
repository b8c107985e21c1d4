import Training

/// Records the loss of every step, to plot it or to watch the run.
///
/// ```swift
/// let recorder = LossRecorder()
/// trainer.callbacks.append(recorder)
/// try trainer.train()
/// try recorder.curve(title: "Training loss").write(to: URL(fileURLWithPath: "loss.png"))
/// ```
public final class LossRecorder: TrainerCallback {
  /// The loss of each optimizer step since the run started or resumed.
  public private(set) var training: [LossCurve.Point] = []
  /// The validation losses since the run started or resumed.
  public private(set) var evaluation: [LossCurve.Point] = []

  /// Creates a recorder that has recorded nothing.
  public init() {}

  /// Records the loss of the step.
  public func stepEnded(_ step: StepReport, _ state: TrainerState) {
    training.append(.init(step: state.globalStep, loss: step.loss))
  }

  /// Records the validation loss of an evaluation.
  public func evaluated(_ log: EvaluationLog, _ state: TrainerState) {
    evaluation.append(.init(step: log.step, loss: log.loss))
  }

  /// The recorded losses as a curve.
  public func curve(title: String, subtitle: String = "") -> LossCurve {
    LossCurve(title: title, subtitle: subtitle, training: training, evaluation: evaluation)
  }
}
