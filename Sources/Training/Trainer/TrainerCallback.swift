import Tensors

/// Follows a training run and may end it. Every member has a default that does nothing.
///
/// ```swift
/// /// Stops once the loss of a step is low enough.
/// final class StopBelow: TrainerCallback {
///   private let loss: Double
///   private var isDone = false
///
///   init(loss: Double) { self.loss = loss }
///   func stepEnded(_ step: StepReport, _ state: TrainerState) { isDone = step.loss < loss }
///   func shouldStop(_ state: TrainerState) -> Bool { isDone }
/// }
/// ```
public protocol TrainerCallback: AnyObject {
  /// Called before the first step, also of a resumed run.
  func trainingBegan(_ state: TrainerState)
  /// Called after each optimizer step.
  func stepEnded(_ step: StepReport, _ state: TrainerState)
  /// Called after losses are logged.
  func logged(_ log: TrainingLog, _ state: TrainerState)
  /// Called after the validation loss is measured.
  func evaluated(_ log: EvaluationLog, _ state: TrainerState)
  /// Called after a checkpoint is saved. `folder` is its name, such as `checkpoint-500`.
  func saved(_ folder: String, _ state: TrainerState)
  /// Called at the end of a run, unless an error ends it. The weights are final: those of the best checkpoint if
  /// `loadBestModelAtEnd` is set.
  func trainingEnded(_ ending: Trainer.Ending, _ state: TrainerState)
  /// Asked after each step and evaluation. Return `true` to end the run as if it were complete.
  func shouldStop(_ state: TrainerState) -> Bool
  /// Asked after each step and during evaluations. Return `true` to save a checkpoint and leave the run, so that it can
  /// be resumed.
  func shouldPause() -> Bool
}

extension TrainerCallback {
  /// The default implementation does nothing.
  public func trainingBegan(_ state: TrainerState) {}
  /// The default implementation does nothing.
  public func stepEnded(_ step: StepReport, _ state: TrainerState) {}
  /// The default implementation does nothing.
  public func logged(_ log: TrainingLog, _ state: TrainerState) {}
  /// The default implementation does nothing.
  public func evaluated(_ log: EvaluationLog, _ state: TrainerState) {}
  /// The default implementation does nothing.
  public func saved(_ folder: String, _ state: TrainerState) {}
  /// The default implementation does nothing.
  public func trainingEnded(_ ending: Trainer.Ending, _ state: TrainerState) {}
  /// The default implementation returns `false`.
  public func shouldStop(_ state: TrainerState) -> Bool { false }
  /// The default implementation returns `false`.
  public func shouldPause() -> Bool { false }
}

/// What one optimizer step did.
public struct StepReport: Sendable, Hashable {
  /// Optimizer steps taken, this one included.
  public var step: Int
  /// The mean loss of the tokens predicted in this step, in nats.
  public var loss: Double
  /// The global gradient norm before clipping.
  public var gradientNorm: Double
  /// The learning rate of this step.
  public var learningRate: Double
  /// The number of tokens in the step's batches.
  public var tokens: Int
  /// The number of predicted tokens.
  public var predictedTokens: Int
  /// The number of predicted tokens whose most likely token was the right one.
  public var correctTokens: Int
  /// What the loss reports besides, such as `rewards/margins`.
  public var metrics: [String: MetricSum] = [:]
}
