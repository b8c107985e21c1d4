import Datasets

/// What to do after an optimizer step, or before the first one.
package struct StepActions: Sendable, Hashable {
  /// Whether to log the losses since the last log.
  package var logs = false
  /// Whether to measure the validation loss. If so, ask again afterwards: the result may save or stop.
  package var evaluates = false
  /// Whether to save a checkpoint.
  package var saves = false
  /// Whether the run has ended: after its last step, or because a callback stopped it.
  package var ends = false
}

/// Decides what happens after each optimizer step, from the configuration and the position in the run alone.
package struct StepSchedule: Sendable, Hashable {
  /// The number of optimizer steps of the run.
  package var totalSteps: Int
  /// Optimizer steps per epoch.
  package var stepsPerEpoch: Int
  /// Optimizer steps between logs, evaluations and checkpoints.
  package var loggingSteps: Int, evalSteps: Int, saveSteps: Int
  private let configuration: TrainingConfiguration

  /// The position in a run, and what callbacks have requested so far.
  package struct Position: Sendable, Hashable {
    /// Optimizer steps taken.
    package var step: Int
    /// Passes over the training rows so far.
    package var epoch: Double
    /// Whether a callback asks to stop.
    package var isStopping = false
    /// Whether a callback asks to pause. The pause saves its own checkpoint.
    package var isPausing = false
    /// Whether the validation loss measured at this step is the lowest so far.
    package var isBest = false

    package init(
      step: Int, epoch: Double, isStopping: Bool = false, isPausing: Bool = false, isBest: Bool = false
    ) {
      self.step = step
      self.epoch = epoch
      self.isStopping = isStopping
      self.isPausing = isPausing
      self.isBest = isBest
    }
  }

  /// The schedule of a run of `totalSteps` optimizer steps.
  package init(_ configuration: TrainingConfiguration, totalSteps: Int, stepsPerEpoch: Int) {
    self.configuration = configuration
    self.totalSteps = totalSteps
    self.stepsPerEpoch = max(1, stepsPerEpoch)
    func interval(_ steps: Double) -> Int { TrainingConfiguration.interval(steps, ofTotal: totalSteps) }
    loggingSteps = interval(configuration.loggingSteps)
    evalSteps = interval(configuration.evalSteps ?? configuration.loggingSteps)
    saveSteps = interval(configuration.saveSteps)
  }

  /// What to do at `position`.
  package func actions(at position: Position) -> StepActions {
    var actions = StepActions()
    actions.ends = position.step >= totalSteps || position.isStopping
    if position.step == 0 {
      actions.evaluates = configuration.evalOnStart
      return actions
    }
    /// As in transformers, the last step does whatever recurs.
    func isDue(_ strategy: TrainingConfiguration.IntervalStrategy, every steps: Int) -> Bool {
      switch strategy {
      case .no: false
      case .steps: actions.ends || position.step % steps == 0
      case .epoch: actions.ends || position.step % stepsPerEpoch == 0
      }
    }
    actions.logs =
      isDue(configuration.loggingStrategy, every: loggingSteps) || (configuration.logsFirstStep && position.step == 1)
    let reached = configuration.evalStrategy == .epoch ? position.epoch : Double(position.step)
    actions.evaluates =
      configuration.evalDelay <= reached && isDue(configuration.evalStrategy, every: evalSteps)
    if !position.isPausing {
      actions.saves =
        switch configuration.saveStrategy {
        // The best checkpoint must exist to become the result.
        case _ where position.isBest && configuration.loadBestModelAtEnd: true
        case .no: false
        case .steps: isDue(.steps, every: saveSteps)
        case .epoch: isDue(.epoch, every: 1)
        case .best: position.isBest
        }
    }
    return actions
  }
}
