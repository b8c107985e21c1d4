import Tensors

/// How an optimizer changes a weight. Adopt it to train with a rule of your own.
///
/// ```swift
/// /// SGD with steps of the same length, whatever the gradient's norm.
/// struct NormalizedSGD: UpdateRule {
///   func update(_ weight: Tensor, gradient: Tensor, state: [Tensor], _ step: UpdateStep, on backend: any Backend) {
///     let norm = Float(backend.sumOfSquares(gradient).squareRoot())
///     backend.add(gradient, scale: -step.learningRate / max(norm, 1e-12), into: weight)
///   }
/// }
/// ```
public protocol UpdateRule: Sendable {
  /// The tensors to keep for a weight of this shape. They start as zeros, and checkpoints contain them. None by
  /// default.
  func state(for shape: [Int]) -> [StateTensor]

  /// Whether an element's update depends on that element alone, so that several processes may each update a part of a
  /// weight, as a vector. `false` by default: weights are then passed whole.
  var isElementwise: Bool { get }

  /// Takes one step.
  /// - Parameters:
  ///   - weight: float32, changed in place.
  ///   - gradient: float32 and of the weight's shape, not yet multiplied by `step.gradientScale`. May be overwritten.
  ///   - state: the tensors that `state(for:)` describes, changed in place.
  ///   - step: the numbers of this step.
  ///   - backend: computes on the tensors.
  func update(_ weight: Tensor, gradient: Tensor, state: [Tensor], _ step: UpdateStep, on backend: any Backend)

  /// Whether other weights are evaluated and saved than those that gradients are taken at, such as an average.
  /// `false` by default.
  var averagesWeights: Bool { get }

  /// Changes a weight from the value that gradients are taken at to the one that is evaluated and saved, or back. Called
  /// after the first step only, and by default does nothing.
  func exchange(_ weight: Tensor, state: [Tensor], forEvaluation: Bool, on backend: any Backend)
}

extension UpdateRule {
  /// By default, a rule keeps no state.
  public func state(for shape: [Int]) -> [StateTensor] { [] }

  /// By default, a rule needs whole weights.
  public var isElementwise: Bool { false }

  /// By default, the weights that are trained are evaluated too.
  public var averagesWeights: Bool { false }

  /// By default, this does nothing.
  public func exchange(_ weight: Tensor, state: [Tensor], forEvaluation: Bool, on backend: any Backend) {}
}

/// One tensor of an optimizer's state.
public struct StateTensor: Sendable, Hashable {
  /// The name, unique among the state of a weight; PyTorch's for the built-in rules.
  public let name: String
  /// The shape, often that of the weight.
  public let shape: [Int]
  /// The element type, usually float32.
  public let type: ElementType

  /// Describes a tensor of zeros of this shape.
  public init(name: String, shape: [Int], type: ElementType = .float32) {
    self.name = name
    self.shape = shape
    self.type = type
  }

  /// The size in bytes.
  var byteCount: Int { shape.reduce(1, *) * type.blockByteCount }
}

/// The numbers of one update of one weight.
public struct UpdateStep: Sendable, Hashable {
  /// The optimizer step, counted from 1.
  public let number: Int
  /// The learning rate of this step.
  public let learningRate: Float
  /// The weight decay; 0 for weights that do not decay, such as biases and norms.
  public let weightDecay: Float
  /// The factor for the gradient that clips the global norm; 1 if the norm is not clipped.
  public let gradientScale: Float
  /// The share of this step in an average over all steps that weighs each by the square of the largest learning rate so
  /// far; 1 in the first step.
  public let averageShare: Float
}

extension StateTensor {
  /// bitsandbytes keeps the moments of smaller tensors in float32.
  private static let minimumEightBitCount = 4096

  /// A moment of a weight of this shape: float32, or 8-bit codes and the largest magnitude of each block.
  static func moment(_ name: String, of shape: [Int], isEightBit: Bool) -> [StateTensor] {
    let count = shape.reduce(1, *)
    guard isEightBit, count >= minimumEightBitCount else { return [StateTensor(name: name, shape: shape)] }
    let blocks = (count + Moment.blockLength - 1) / Moment.blockLength
    return [
      StateTensor(name: name, shape: shape, type: .uint8), StateTensor(name: "\(name).absmax", shape: [blocks]),
    ]
  }
}

extension [Tensor] {
  /// These state tensors as `count` moments.
  func moments(_ count: Int) -> [Moment] {
    self.count == count
      ? map { .float32($0) } : stride(from: 0, to: 2 * count, by: 2).map { .eightBit(self[$0], absmax: self[$0 + 1]) }
  }
}
