import Recipes
import TestSupport
import Training
import OrderedJSON
import Testing

@Suite struct LearningRateScheduleTests {
  /// Every schedule compared with transformers 5.23, each rate within 1e-12 of the peak.
  @Test func ratesEqualTransformers() throws {
    let reference = try golden("recipe/schedules.json")
    let peak = try #require(reference["peak"]?.double)
    let cases = try #require(reference["cases"]?.array)
    #expect(cases.count > 20)
    for item in cases {
      let kind = try #require(item["kind"]?.string)
      let options = try #require(item["options"])
      let recipe = try Recipe(
        yaml: "learning_rate: \(peak)\nlr_scheduler_type: \(kind)\nlr_scheduler_kwargs: \(options.text())\n")
      let schedule = LearningRateSchedule(
        recipe.training.scheduler, peak: recipe.training.learningRate,
        warmupSteps: try #require(item["warmup"]?.integer), totalSteps: try #require(item["total"]?.integer),
        options: recipe.training.schedulerOptions)
      for (step, rate) in try #require(item["rates"]?.array).enumerated() {
        let expected = try #require(rate.double)
        #expect(abs(schedule.rate(at: step) - expected) <= 1e-12 * peak, "\(kind) \(options.text()) step \(step)")
      }
    }
  }

  @Test func degenerateRunsHaveFiniteRates() {
    for kind in LearningRateSchedule.Kind.allCases {
      for (warmup, total) in [(0, 0), (0, 1), (5, 3), (1 << 62, 10)] {
        let schedule = LearningRateSchedule(kind, peak: 1e-3, warmupSteps: warmup, totalSteps: total)
        for step in 0..<4 { #expect(schedule.rate(at: step).isFinite, "\(kind) \(warmup) \(total) \(step)") }
      }
    }
  }
}
