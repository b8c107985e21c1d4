import Tensors

/// Schedule-free AdamW (Defazio et al. 2024, arXiv:2405.15682) as the package `schedulefree` computes it. The weight in
/// training is y, between z, which takes AdamW's steps, and x, the average of all z; x is evaluated and saved.
struct ScheduleFreeAdamW: UpdateRule {
  let beta1: Double
  let beta2: Double
  let epsilon: Float

  var isElementwise: Bool { true }
  var averagesWeights: Bool { true }

  func state(for shape: [Int]) -> [StateTensor] {
    [StateTensor(name: "z", shape: shape), StateTensor(name: "exp_avg_sq", shape: shape)]
  }

  func update(_ weight: Tensor, gradient: Tensor, state: [Tensor], _ step: UpdateStep, on backend: any Backend) {
    let (z, squares) = (state[0], state[1])
    if step.number == 1 { backend.copy(weight, to: z) }
    // The normalized gradient, negative: a step of AdamW without momentum from zero.
    let (direction, momentum) = (backend.empty(weight.shape, .float32), backend.empty(weight.shape, .float32))
    backend.clear(direction)
    backend.clear(momentum)
    let numbers = AdamWStep(
      step: step.number, learningRate: 1, beta1: 0, beta2: beta2, epsilon: epsilon, weightDecay: 0,
      gradientScale: step.gradientScale)
    backend.adamW(direction, gradient: gradient, m: .float32(momentum), v: .float32(squares), numbers)
    if step.weightDecay != 0 { backend.add(weight, scale: -step.weightDecay, into: direction) }
    interpolate(weight, toward: z, share: Double(step.averageShare), on: backend)
    let share = Float(1 - beta1 * (1 - Double(step.averageShare)))
    backend.add(direction, scale: step.learningRate * share, into: weight)
    backend.add(direction, scale: step.learningRate, into: z)
  }

  func exchange(_ weight: Tensor, state: [Tensor], forEvaluation: Bool, on backend: any Backend) {
    // y = (1 − β₁) z + β₁ x
    interpolate(weight, toward: state[0], share: forEvaluation ? 1 - 1 / beta1 : 1 - beta1, on: backend)
  }

  private func interpolate(_ weight: Tensor, toward z: Tensor, share: Double, on backend: any Backend) {
    backend.scale(weight, by: Float(1 - share))
    backend.add(z, scale: Float(share), into: weight)
  }
}

/// The shares of successive steps in an average that weighs each by the square of the largest learning rate so far.
struct AverageShares {
  private(set) var largestRate = 0.0
  private(set) var total = 0.0

  /// The state in a checkpoint.
  var metadata: [String: String] { ["average_largest_rate": "\(largestRate)", "average_total": "\(total)"] }

  /// The state as numbers, which are 0 before the first step.
  var numbers: [Double] { [largestRate, total] }

  init(_ numbers: [Double] = [0, 0]) { (largestRate, total) = (numbers[0], numbers[1]) }

  /// `nil` if the metadata of a checkpoint doesn't have it.
  init?(metadata: [String: String]) {
    guard let rate = metadata["average_largest_rate"].flatMap(Double.init),
      let total = metadata["average_total"].flatMap(Double.init), rate.isFinite, total.isFinite
    else { return nil }
    (largestRate, self.total) = (rate, total)
  }

  /// The share of a step with this learning rate in the average up to it.
  mutating func next(_ rate: Double) -> Double {
    largestRate = max(largestRate, rate)
    total += largestRate * largestRate
    return total > 0 ? largestRate * largestRate / total : 0
  }
}
