import Tensors

/// Stochastic gradient descent as torch computes it.
struct SGD: UpdateRule {
  let options: SGDOptions

  func state(for shape: [Int]) -> [StateTensor] {
    options.momentum == 0 ? [] : [StateTensor(name: "momentum_buffer", shape: shape)]
  }

  func apply(to weight: Tensor, gradient: Tensor, state: [Tensor], _ step: UpdateStep, on backend: any Backend) {
    let numbers = SGDStep(
      learningRate: step.learningRate, momentum: Float(options.momentum), dampening: Float(options.dampening),
      nesterov: options.nesterov, weightDecay: step.weightDecay, gradientScale: step.gradientScale,
      isFirst: step.number == 1)
    backend.sgd(weight, gradient: gradient, buffer: state.first, numbers)
  }
}

/// What `optim_args` may say of gradient descent.
public struct SGDOptions: Sendable, Hashable {
  /// What is kept of the moving sum of gradients.
  public var momentum = 0.0
  /// The share of a gradient that does not enter the sum.
  public var dampening = 0.0
  /// Whether a step looks ahead.
  public var nesterov = false

  /// Plain gradient descent.
  public init() {}
}
