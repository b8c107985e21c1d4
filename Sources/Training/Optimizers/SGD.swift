import Tensors

/// Stochastic gradient descent as PyTorch computes it.
struct SGD: UpdateRule {
  let momentum: Float
  let dampening: Float
  let nesterov: Bool

  var isElementwise: Bool { true }

  func state(for shape: [Int]) -> [StateTensor] {
    momentum == 0 ? [] : [StateTensor(name: "momentum_buffer", shape: shape)]
  }

  func update(_ weight: Tensor, gradient: Tensor, state: [Tensor], _ step: UpdateStep, on backend: any Backend) {
    let numbers = SGDStep(
      learningRate: step.learningRate, momentum: momentum, dampening: dampening, nesterov: nesterov,
      weightDecay: step.weightDecay, gradientScale: step.gradientScale, isFirst: step.number == 1)
    backend.sgd(weight, gradient: gradient, buffer: state.first, numbers)
  }
}
