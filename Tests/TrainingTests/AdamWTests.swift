import Foundation
import OrderedJSON
import Tensors
import TestSupport
import Testing

/// AdamW against torch: see Tests/Goldens/generators/optimizers.py.
@Suite struct AdamWTests {
  @Test(arguments: ["defaults", "weight_decay", "other_betas"]) func stepsEqualTorch(_ name: String) throws {
    let reference = try golden("optimizers/adamw.json")
    let run = try #require(reference["runs"]?[name])
    let settings = try #require(run["settings"])
    let betas = try #require(settings["betas"]?.doubles)
    let backend = CPUBackend.shared
    for (tensor, shape) in try #require(reference["shapes"]?.object).members {
      let count = shape.doubles.reduce(1) { $0 * Int($1) }
      let value = backend.tensor(Formula.values(tensor, count: count, scale: 1), [count])
      let moments = (0..<2).map { _ in backend.tensor([Float](repeating: 0, count: count), [count]) }
      var states = try #require(run["states"]?.array)[...]
      for step in 1...20 {
        let gradient = Formula.values("\(tensor) \(step)", count: count, scale: 0.1 / Double(step))
        let numbers = AdamWStep(
          step: step, learningRate: Float(try #require(settings["lr"]?.double)), beta1: betas[0],
          beta2: betas[1], epsilon: Float(try #require(settings["eps"]?.double)),
          weightDecay: Float(try #require(settings["weight_decay"]?.double)), gradientScale: 1)
        backend.adamW(
          value, gradient: backend.tensor(gradient, [count]), m: .float32(moments[0]), v: .float32(moments[1]),
          numbers)
        guard states.first?["step"]?.integer == step, let state = states.popFirst() else { continue }
        // Weights of up to 0.5 hold 6e-8; torch rounds its moments another way.
        for (ours, theirs) in zip(backend.floats(value), try #require(state[tensor]?.doubles)) {
          #expect(abs(Double(ours) - theirs) < 5e-7, "\(tensor) after step \(step)")
        }
      }
      #expect(states.isEmpty)
    }
  }
}
