import Testing
import Training

/// The actions after each step, without a model.
@Suite struct StepActionsTests {
  /// The steps at which each action is due in a run of 10 steps, 4 per epoch.
  private static func steps(
    stop: Int? = nil, best: Set<Int> = [], _ change: (inout TrainingConfiguration) -> Void
  ) -> (logs: [Int], evaluates: [Int], saves: [Int], ends: [Int]) {
    var configuration = TrainingConfiguration()
    configuration.loggingStrategy = .no
    configuration.saveStrategy = .no
    change(&configuration)
    let schedule = StepSchedule(configuration, totalSteps: 10, stepsPerEpoch: 4)
    var due = (logs: [Int](), evaluates: [Int](), saves: [Int](), ends: [Int]())
    for step in 0...10 {
      let actions = schedule.actions(
        at: .init(step: step, epoch: Double(step) / 4, isStopping: step == stop, isBest: best.contains(step)))
      if actions.logs { due.logs.append(step) }
      if actions.evaluates { due.evaluates.append(step) }
      if actions.saves { due.saves.append(step) }
      if actions.ends { due.ends.append(step) }
    }
    return due
  }

  @Test func nothingIsDueByDefault() {
    let due = Self.steps { _ in }
    #expect(due.logs == [] && due.evaluates == [] && due.saves == [] && due.ends == [10])
  }

  /// As in transformers, the last step does whatever recurs.
  @Test func intervalsAndTheLastStep() {
    let due = Self.steps {
      $0.loggingStrategy = .steps
      $0.loggingSteps = 4
      $0.logsFirstStep = true
      $0.evalStrategy = .epoch
      $0.saveStrategy = .steps
      $0.saveSteps = 0.3
    }
    #expect(due.logs == [1, 4, 8, 10])
    #expect(due.evaluates == [4, 8, 10])
    #expect(due.saves == [3, 6, 9, 10])
  }

  @Test func evaluationFollowsLoggingUnlessItHasItsOwnInterval() {
    func evaluations(_ change: (inout TrainingConfiguration) -> Void) -> [Int] {
      Self.steps {
        $0.loggingSteps = 5
        $0.evalStrategy = .steps
        change(&$0)
      }.evaluates
    }
    #expect(evaluations { _ in } == [5, 10])
    #expect(evaluations { $0.evalSteps = 3 } == [3, 6, 9, 10])
    #expect(evaluations { $0.evalDelay = 6 } == [10])
    #expect(evaluations { $0.evalOnStart = true } == [0, 5, 10])
    #expect(
      evaluations {
        $0.evalStrategy = .epoch
        $0.evalDelay = 1.5
      } == [8, 10])
  }

  @Test func aStopIsTheLastStep() {
    let due = Self.steps(stop: 6) {
      $0.loggingStrategy = .epoch
      $0.evalStrategy = .steps
      $0.evalSteps = 100
      $0.saveStrategy = .epoch
    }
    #expect(due.logs == [4, 6, 8, 10] && due.evaluates == [6, 10] && due.saves == [4, 6, 8, 10])
    #expect(due.ends == [6, 10])
  }

  @Test func theBestIsSavedIfItIsNeeded() {
    #expect(Self.steps(best: [2, 5]) { $0.saveStrategy = .best }.saves == [2, 5])
    #expect(Self.steps(best: [2, 5]) { $0.loadBestModelAtEnd = true }.saves == [2, 5])
    #expect(Self.steps(best: [2, 5]) { _ in }.saves == [])
  }

  /// A pause saves its own checkpoint, with the optimizer state.
  @Test func aPauseSkipsTheRegularSave() {
    var configuration = TrainingConfiguration()
    configuration.saveSteps = 1
    let schedule = StepSchedule(configuration, totalSteps: 10, stepsPerEpoch: 4)
    #expect(schedule.actions(at: .init(step: 3, epoch: 0.75)).saves)
    #expect(!schedule.actions(at: .init(step: 3, epoch: 0.75, isPausing: true)).saves)
  }
}
