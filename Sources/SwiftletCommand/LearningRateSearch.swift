import Checkpoints
import Diagnostics
import Essentials
import Models
import Swiftlet
import Terminal
import Training

/// `--find-learning-rate`: a range test before the run.
struct LearningRateSearch {
  private let recipe: Recipe
  private let overwrites: Bool
  private let ranks: Ranks

  init(_ recipe: Recipe, overwrites: Bool, ranks: Ranks) {
    self.recipe = recipe
    self.overwrites = overwrites
    self.ranks = ranks
  }

  /// Runs the test on a model and an adapter of its own, shows its curve and writes it to the output folder. All ranks
  /// do the same.
  /// - Returns: the rate to train with; `nil` for the recipe's.
  func rate() async throws -> Double? {
    if recipe.training.resume != .fromStart {
      throw SwiftletError.training("--find-learning-rate is for new runs; leave it out to resume").inRecipeTerms
    }
    if ranks.leads { try OutputFolder.checkUnused(by: recipe, overwrites: overwrites) }
    let run = try await TrainingSession(recipe, command: [], ranks: ranks).prepared()
    guard ranks.leads else { return try run.findLearningRate().suggestion }
    var bar = ProgressBar("finding the learning rate", total: 0)
    let test = try run.findLearningRate { bar.update($0, total: $1) }
    bar.clear()
    show(test)
    try AtomicFile.write(
      test.json.text(.pretty) + "\n", to: run.output.appendingPathComponent("learning_rate_test.json"))
    guard let rate = test.suggestion else {
      Printing.note("No rate lowered the loss by a percent, so the recipe's learning_rate stays.")
      return nil
    }
    Printing.note(
      "Training with learning_rate \(String(cFormat: "%g", rate)) (the recipe has "
        + "\(String(cFormat: "%g", recipe.training.learningRate))).")
    return rate
  }

  /// A bar for each loss.
  private func show(_ test: LearningRateRangeTest) {
    Printing.heading("Learning rate range test")
    Printing.note("  before      loss \(Format.loss(test.initialLoss))")
    let losses = test.points.map(\.loss).filter { $0.isFinite && $0 <= 1.5 * test.initialLoss }
    let (low, high) = (losses.min() ?? 0, max(test.initialLoss, losses.max() ?? 0))
    for point in test.points {
      let share = point.loss.isFinite ? min(1, (point.loss - low) / max(1e-9, high - low)) : 1
      let length = Int((share * 40).rounded()) + 1
      Printing.note(
        String(cFormat: "  lr %.2e", point.rate) + "  loss \(Format.loss(point.loss))  "
          + String(repeating: "#", count: length))
    }
  }
}
