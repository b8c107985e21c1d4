import Essentials

/// A first or second moment: the exponential moving average of gradients, or of their squares.
public enum Moment {
  /// float32, of the weight's shape.
  case float32(Tensor)
  /// bitsandbytes' 8-bit state: one `DynamicMap` code per element (uint8, of the weight's shape), and the largest
  /// magnitude of each block of `blockLength` elements (float32, `[blocks]`).
  case eightBit(Tensor, absmax: Tensor)

  /// The number of elements in a block of an 8-bit moment.
  public static let blockLength = 256
}

/// Adafactor's second moment, in float32.
public enum AdafactorMoment {
  /// Of a matrix `[rows, columns]`: the moving averages of its row means `[rows]` and of its column means `[columns]`.
  case factored(rows: Tensor, columns: Tensor)
  /// Of a weight that isn't a matrix: one moving average per element, of the weight's shape.
  case full(Tensor)
}

/// The hyperparameters of one AdamW step (Loshchilov and Hutter 2019, arXiv:1711.05101).
public struct AdamWStep: Sendable {
  /// The learning rate of this step.
  public var learningRate: Float
  /// The decay rates of the first and second moment.
  public var beta1: Double, beta2: Double
  /// Added to the square root of the second moment.
  public var epsilon: Float
  /// The decoupled weight decay; it is multiplied by the learning rate.
  public var weightDecay: Float
  /// The bias corrections 1 − β₁ᵗ and 1 − β₂ᵗ.
  public var correction1: Float, correction2: Float
  /// Multiplies the gradient before anything else, to clip its norm.
  public var gradientScale: Float

  /// Computes the bias corrections of step `step`, counted from 1.
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
    correction1 = Float(1 - pow(beta1, Double(step)))
    correction2 = Float(1 - pow(beta2, Double(step)))
  }
}

/// The hyperparameters of one Lion step (Chen et al. 2023, arXiv:2302.06675).
public struct LionStep: Sendable {
  /// The learning rate: how far every element moves.
  public var learningRate: Float
  /// The moment's weight when it is interpolated with the gradient to find the direction, and the moment's decay rate.
  public var beta1: Double, beta2: Double
  /// The decoupled weight decay; it is multiplied by the learning rate.
  public var weightDecay: Float
  /// Multiplies the gradient before anything else, to clip its norm.
  public var gradientScale: Float

  /// Creates the hyperparameters of a step. There is no bias correction, so the step's number doesn't matter.
  public init(learningRate: Float, beta1: Double, beta2: Double, weightDecay: Float, gradientScale: Float) {
    self.learningRate = learningRate
    self.beta1 = beta1
    self.beta2 = beta2
    self.weightDecay = weightDecay
    self.gradientScale = gradientScale
  }
}

/// The hyperparameters of one step of `torch.optim.SGD`.
public struct SGDStep: Sendable {
  /// The learning rate of this step.
  public var learningRate: Float
  /// The momentum buffer becomes `momentum` · buffer + (1 − `dampening`) · gradient.
  public var momentum: Float, dampening: Float
  /// Whether to use Nesterov momentum.
  public var nesterov: Bool
  /// The weight decay (L2 regularization); `weightDecay` · weight is added to the gradient.
  public var weightDecay: Float
  /// Multiplies the gradient before anything else, to clip its norm.
  public var gradientScale: Float
  /// Whether this is the first step, which copies the gradient to the momentum buffer, undampened.
  public var isFirst: Bool

  /// Creates the hyperparameters of a step.
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

/// The hyperparameters of one Adafactor step (Shazeer and Stern 2018, arXiv:1804.04235), without relative step sizes.
public struct AdafactorStep: Sendable {
  /// The learning rate of this step.
  public var learningRate: Float
  /// The decoupled weight decay; it is multiplied by the learning rate.
  public var weightDecay: Float
  /// Updates with a larger root mean square are scaled down to this one.
  public var clipThreshold: Float
  /// The decay rate of the second moment at this step.
  public var decay: Float
  /// Added to squared gradients before they are averaged.
  public var epsilon: Float
  /// Multiplies the gradient before anything else, to clip its norm.
  public var gradientScale: Float

  /// Creates the hyperparameters of a step.
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
