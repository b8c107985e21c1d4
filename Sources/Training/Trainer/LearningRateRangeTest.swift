import Datasets
import Diagnostics
import Essentials
import Models
import OrderedJSON
import Tensors

/// A learning rate range test (Smith 2017, arXiv:1506.01186): a dozen steps with a rate that grows from step to step,
/// and the loss after each of them.
public struct LearningRateRangeTest: Sendable, Hashable {
  /// The loss after a step.
  public struct Point: Sendable, Hashable {
    /// The learning rate of the step.
    public let rate: Double
    /// The mean loss on the test's rows after the step; not finite if training broke down.
    public let loss: Double
  }

  /// The loss before the first step.
  public let initialLoss: Double
  /// The steps, by ascending rate. The test ends early if the loss explodes.
  public let points: [Point]

  /// The number of steps.
  package static let stepCount = 15
  /// The steps of the run that the rate is for, and its passes over the rows.
  private let (runSteps, runEpochs): (Int, Int)

  /// How far below the rate with the lowest loss, which is the last one before the loss rises, a run should stay. Short
  /// runs can't: they would end before they have learned. The more steps, the smaller each may be. And who sees a row more
  /// than three times memorizes it, so all passes together should go no further than three do.
  private var safety: Double { min(4, max(1.5, Double(runSteps) / 45)) * max(1, Double(runEpochs) / 3) }

  /// The rate to train with, to one significant digit; `nil` if no rate lowered the loss by a percent.
  public var suggestion: Double? {
    guard let best = points.filter(\.loss.isFinite).min(by: { $0.loss < $1.loss }), best.loss < 0.99 * initialLoss
    else { return nil }
    return Double(String(cFormat: "%.0e", best.rate / safety))
  }

  /// The rates to test: four and a half decades around those that are common for the optimizer and what is trained.
  package static func rates(trainsAdapter: Bool, _ kind: OptimizerConfiguration.Kind) -> [Double] {
    let factor: Double =
      switch kind.rawValue {
      case let name where name.contains("lion"): 0.1
      case "sgd": 100
      default: 1
      }
    let lowest = (trainsAdapter ? 1e-5 : 1e-6) * factor
    return (0..<stepCount).map { lowest * pow(10, 4.2 * Double($0) / Double(stepCount - 1)) }
  }

  /// The test as a JSON object.
  public var json: JSONValue {
    [
      "initial_loss": .number(initialLoss), "suggestion": suggestion.map { .number($0) } ?? .null,
      "points": .array(points.map { ["learning_rate": .number($0.rate), "loss": .number($0.loss)] }),
    ]
  }
}

extension LearningRateRangeTest {
  /// Runs the test. It changes the adapter, or the weights if there is none, and leaves them changed.
  /// - Parameters:
  ///   - model: the model.
  ///   - adapter: the adapter to train; `nil` to train every weight.
  ///   - configuration: that of the run.
  ///   - trainingSet: the rows to train on.
  ///   - measured: the rows to measure the loss on, of which a few suffice.
  ///   - activationBudget: as in `Trainer`.
  ///   - runSteps: the number of steps of the run that the rate is for.
  ///   - runEpochs: its number of epochs.
  ///   - progress: called with the number of steps taken and of all.
  /// - Throws: `SwiftletError` for a configuration that cannot be honored.
  package init(
    _ model: CausalLM, adapter: Adapter?, configuration: TrainingConfiguration, trainingSet: TrainingSet,
    measured: TrainingSet, activationBudget: Int?, runSteps: Int, runEpochs: Int,
    progress: (Int, Int) -> Void
  ) throws {
    let rates = Self.rates(trainsAdapter: adapter != nil, configuration.optimizer.kind)
    var settings = configuration
    settings.maxSteps = rates.count
    settings.evalStrategy = .no
    settings.saveStrategy = .no
    settings.loggingStrategy = .no
    settings.loadBestModelAtEnd = false
    settings.earlyStoppingPatience = nil
    let trainer = try Trainer(
      model, adapter: adapter, configuration: settings, trainingSet: trainingSet, activationBudget: activationBudget,
      components: Trainer.Components(schedule: RateList(rates: rates)))
    (self.runSteps, self.runEpochs) = (runSteps, runEpochs)
    let items = Self.items(measured)
    initialLoss = Self.loss(measured, items, model)
    var points: [Point] = []
    var goesOn = try trainer.start()
    while goesOn {
      do {
        goesOn = try trainer.advance()
      } catch let error as SwiftletError where error.domain == .training {
        // A loss or gradient that is not finite ends the test; the last rate was too high.
        break
      }
      try trainer.exchangeWeights(forEvaluation: true)
      let loss = Self.loss(measured, items, model)
      points.append(Point(rate: rates[points.count], loss: loss))
      progress(points.count, rates.count)
      if !loss.isFinite || loss > 2 * initialLoss { break }
    }
    try model.transformer.backend.check()
    self.points = points
  }

  /// The learning rates of the steps.
  private struct RateList: Schedule {
    let rates: [Double]

    func rate(at step: Int, of totalSteps: Int) -> Double { rates[min(step, rates.count - 1)] }
  }

  /// Items spread over a set with about two thousand tokens.
  private static func items(_ set: TrainingSet) -> [Int] {
    var (items, tokens) = ([Int](), 0)
    let step = max(1, set.items.count / 32)
    for index in stride(from: 0, to: set.items.count, by: step) where tokens < 2000 {
      items.append(index)
      tokens += set.items[index].reduce(0) { $0 + $1.count }
    }
    return items
  }

  private static func loss(_ set: TrainingSet, _ items: [Int], _ model: CausalLM) -> Double {
    var sums: [LossSums] = []
    for start in stride(from: 0, to: items.count, by: 4) {
      sums.append(TrainingStep.loss(set.batch(items[start..<min(items.count, start + 4)]), model.transformer))
    }
    LossSums.resolve(&sums, on: model.transformer.backend)
    let all = sums.reduce(into: LossSums()) { $0 += $1 }
    return all.loss / Double(max(1, all.count))
  }
}
