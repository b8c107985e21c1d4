import Tensors

/// AdamW (Loshchilov and Hutter 2019) as PyTorch computes it, or with 8-bit moments as bitsandbytes does.
struct AdamW: UpdateRule {
  let beta1: Double
  let beta2: Double
  let epsilon: Float
  let isEightBit: Bool

  var isElementwise: Bool { true }

  func state(for shape: [Int]) -> [StateTensor] {
    StateTensor.moment("exp_avg", of: shape, isEightBit: isEightBit)
      + StateTensor.moment("exp_avg_sq", of: shape, isEightBit: isEightBit)
  }

  func update(_ weight: Tensor, gradient: Tensor, state: [Tensor], _ step: UpdateStep, on backend: any Backend) {
    let moments = state.moments(2)
    let numbers = AdamWStep(
      step: step.number, learningRate: step.learningRate, beta1: beta1, beta2: beta2, epsilon: epsilon,
      weightDecay: step.weightDecay, gradientScale: step.gradientScale)
    backend.adamW(weight, gradient: gradient, m: moments[0], v: moments[1], numbers)
  }
}
