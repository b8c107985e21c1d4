import Recipes
import TestSupport
import Training
import OrderedJSON
import Testing

/// Every schedule of `optimizers/schedules.json`, set by recipe keys.
@Suite struct ScheduleGoldenTests {
  @Test func ratesEqualTransformers() throws {
    let reference = try golden("optimizers/schedules.json")
    let peak = try #require(reference["learning_rate"]?.double)
    let total = try #require(reference["max_steps"]?.integer)
    let schedules = try #require(reference["schedules"]?.array)
    #expect(schedules.count > 15)
    for item in schedules {
      let kind = try #require(item["lr_scheduler_type"]?.string)
      let options = try #require(item["lr_scheduler_kwargs"])
      let warmup = try #require(item["warmup_steps"]?.integer)
      let recipe = try Recipe(
        yaml: "learning_rate: \(peak)\nwarmup_steps: \(warmup)\nlr_scheduler_type: \(kind)\n"
          + "lr_scheduler_kwargs: \(options.text())\n")
      let schedule = LearningRateSchedule(recipe.training, totalSteps: total)
      let rates = try #require(item["rates"]?.doubles)
      #expect(rates.count == total)
      for (step, rate) in rates.enumerated() {
        #expect(abs(schedule.rate(at: step) - rate) <= 1e-11 * peak, "\(kind) \(options.text()) step \(step)")
      }
    }
  }
}
