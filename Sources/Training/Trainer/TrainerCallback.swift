import Tensors

/// What follows a run: progress bars, recorders (`LossRecorder`), early stops (`EarlyStopping`). Every member has a
/// default that does nothing.
public protocol TrainerCallback: AnyObject {
  /// Before the first step.
  func trainingBegins(_ state: TrainerState)
  /// After each optimizer step.
  func stepEnded(_ step: StepReport, _ state: TrainerState)
  /// After figures were logged.
  func logged(_ log: TrainingLog, _ state: TrainerState)
  /// After the loss on held-out rows was measured.
  func evaluated(_ log: EvaluationLog, _ state: TrainerState)
  /// After a checkpoint was written to the folder of this name.
  func saved(_ folder: String, _ state: TrainerState)
  /// Asked after each step; `true` ends the run as if it were complete.
  func shouldStop(_ state: TrainerState) -> Bool
  /// Asked after each step, and during evaluations; `true` saves a checkpoint and leaves the run there, to be resumed.
  func shouldPause() -> Bool
}

extension TrainerCallback {
  /// Does nothing.
  public func trainingBegins(_ state: TrainerState) {}
  /// Does nothing.
  public func stepEnded(_ step: StepReport, _ state: TrainerState) {}
  /// Does nothing.
  public func logged(_ log: TrainingLog, _ state: TrainerState) {}
  /// Does nothing.
  public func evaluated(_ log: EvaluationLog, _ state: TrainerState) {}
  /// Does nothing.
  public func saved(_ folder: String, _ state: TrainerState) {}
  /// Goes on.
  public func shouldStop(_ state: TrainerState) -> Bool { false }
  /// Goes on.
  public func shouldPause() -> Bool { false }
}

/// What one optimizer step did.
public struct StepReport: Sendable {
  /// The mean loss over the tokens predicted in the step, in nats.
  public var loss: Double
  /// The global gradient norm before clipping.
  public var gradientNorm: Double
  /// The learning rate it was taken with.
  public var learningRate: Double
  /// Tokens that went through the model.
  public var tokens: Int
  /// Sums over the predicted tokens.
  public var sums: LossSums
}
