import Tensors

/// Lion (Chen et al. 2023) as bitsandbytes computes it: every element moves by the learning rate, in the direction of a
/// moment's sign.
struct Lion: UpdateRule {
  let beta1: Double
  let beta2: Double
  let isEightBit: Bool

  var isElementwise: Bool { true }

  func state(for shape: [Int]) -> [StateTensor] { StateTensor.moment("exp_avg", of: shape, isEightBit: isEightBit) }

  func update(_ weight: Tensor, gradient: Tensor, state: [Tensor], _ step: UpdateStep, on backend: any Backend) {
    let numbers = LionStep(
      learningRate: step.learningRate, beta1: beta1, beta2: beta2, weightDecay: step.weightDecay,
      gradientScale: step.gradientScale)
    backend.lion(weight, gradient: gradient, m: state.moments(1)[0], numbers)
  }
}
