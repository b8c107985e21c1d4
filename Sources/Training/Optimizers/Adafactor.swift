import Essentials
import Tensors

/// Adafactor (Shazeer and Stern 2018) with transformers' settings: no first moment, no relative step size, and updates
/// clipped to a root mean square of 1.
struct Adafactor: UpdateRule {
  private static let epsilon: Float = 1e-30
  private static let decayRate = -0.8
  private static let clipThreshold: Float = 1

  func state(for shape: [Int]) -> [StateTensor] {
    shape.count == 2
      ? [
        StateTensor(name: "exp_avg_sq_row", shape: [shape[0]]), StateTensor(name: "exp_avg_sq_col", shape: [shape[1]]),
      ] : [StateTensor(name: "exp_avg_sq", shape: shape)]
  }

  func update(_ weight: Tensor, gradient: Tensor, state: [Tensor], _ step: UpdateStep, on backend: any Backend) {
    let numbers = AdafactorStep(
      learningRate: step.learningRate, weightDecay: step.weightDecay, clipThreshold: Self.clipThreshold,
      decay: Float(1 - pow(Double(step.number), Self.decayRate)), epsilon: Self.epsilon,
      gradientScale: step.gradientScale)
    let squares: AdafactorMoment = state.count == 2 ? .factored(rows: state[0], columns: state[1]) : .full(state[0])
    backend.adafactor(weight, gradient: gradient, squares: squares, numbers)
  }
}
