/// A running mean of gradients, or of their squares.
public enum Moment {
  /// The shape of the weight, float32.
  case float32(Tensor)
  /// A byte for each element of the weight, and the largest magnitude of each `blockLength` of them, float32.
  case eightBit(Tensor, absmax: Tensor)

  /// Elements that share their largest magnitude.
  public static let blockLength = 256
}

/// Adafactor's running means of squared gradients.
public enum AdafactorMoment {
  /// Of a matrix: for each row and for each column.
  case matrix(rows: Tensor, columns: Tensor)
  /// Of anything else: for each element.
  case vector(Tensor)
}

/// The numbers of one AdamW step.
public struct AdamWStep: Sendable {
  /// Step size.
  public var learningRate: Float
  /// Decay rates of the moments.
  public var beta1: Double, beta2: Double
  /// Added to the root of the second moment.
  public var epsilon: Float
  /// Decoupled weight decay.
  public var weightDecay: Float
  /// 1 − β₁ᵗ and 1 − β₂ᵗ.
  public var correction1: Float, correction2: Float
  /// What the gradient is multiplied by first (clipping).
  public var gradientScale: Float

  /// The numbers of step `step`, counted from 1.
  public init(
    step: Int, learningRate: Float, beta1: Double, beta2: Double, epsilon: Float, weightDecay: Float,
    gradientScale: Float
  ) {
    self.learningRate = learningRate
    self.beta1 = beta1
    self.beta2 = beta2
    self.epsilon = epsilon
    self.weightDecay = weightDecay
    self.gradientScale = gradientScale
    func correction(_ beta: Double) -> Float {
      var power = 1.0
      for _ in 0..<step { power *= beta }
      return Float(1 - power)
    }
    correction1 = correction(beta1)
    correction2 = correction(beta2)
  }
}

/// The numbers of one step of Lion (Chen et al. 2023).
public struct LionStep: Sendable {
  /// Step size.
  public var learningRate: Float
  /// The moment's share in the direction, and its decay rate.
  public var beta1: Double, beta2: Double
  /// Decoupled weight decay.
  public var weightDecay: Float
  /// What the gradient is multiplied by first (clipping).
  public var gradientScale: Float

  /// These numbers.
  public init(learningRate: Float, beta1: Double, beta2: Double, weightDecay: Float, gradientScale: Float) {
    self.learningRate = learningRate
    self.beta1 = beta1
    self.beta2 = beta2
    self.weightDecay = weightDecay
    self.gradientScale = gradientScale
  }
}

/// The numbers of one step of stochastic gradient descent, as torch computes it.
public struct SGDStep: Sendable {
  /// Step size.
  public var learningRate: Float
  /// What is kept of the buffer; the share of the gradient that does not enter it.
  public var momentum: Float, dampening: Float
  /// Whether the step looks ahead (Nesterov).
  public var nesterov: Bool
  /// Weight decay, as a part of the gradient.
  public var weightDecay: Float
  /// What the gradient is multiplied by first (clipping).
  public var gradientScale: Float
  /// Whether the buffer begins with this gradient.
  public var isFirst: Bool

  /// These numbers.
  public init(
    learningRate: Float, momentum: Float, dampening: Float, nesterov: Bool, weightDecay: Float, gradientScale: Float,
    isFirst: Bool
  ) {
    self.learningRate = learningRate
    self.momentum = momentum
    self.dampening = dampening
    self.nesterov = nesterov
    self.weightDecay = weightDecay
    self.gradientScale = gradientScale
    self.isFirst = isFirst
  }
}

/// The numbers of one step of Adafactor (Shazeer and Stern 2018).
public struct AdafactorStep: Sendable {
  /// Step size.
  public var learningRate: Float
  /// Decoupled weight decay.
  public var weightDecay: Float
  /// The largest root mean square of an update.
  public var clipThreshold: Float
  /// What is kept of the running means.
  public var decay: Float
  /// Added to squared gradients.
  public var epsilon: Float
  /// What the gradient is multiplied by first (clipping).
  public var gradientScale: Float

  /// These numbers.
  public init(
    learningRate: Float, weightDecay: Float, clipThreshold: Float, decay: Float, epsilon: Float, gradientScale: Float
  ) {
    self.learningRate = learningRate
    self.weightDecay = weightDecay
    self.clipThreshold = clipThreshold
    self.decay = decay
    self.epsilon = epsilon
    self.gradientScale = gradientScale
  }
}
