import Tensors

/// How an optimizer changes a weight.
protocol UpdateRule {
  /// What is remembered of a weight of this shape; all of it begins as zeros.
  func state(for shape: [Int]) -> [StateTensor]
  /// Takes one step. `gradient` may be overwritten.
  func apply(to weight: Tensor, gradient: Tensor, state: [Tensor], _ step: UpdateStep, on backend: any Backend)
}

/// A part of an optimizer's state.
struct StateTensor {
  /// The name, as torch's or transformers' optimizer has it.
  let name: String
  let shape: [Int]
  var type = ElementType.float32

  /// The bytes it takes.
  var byteCount: Int { shape.reduce(1, *) * type.blockByteCount }
}

/// What differs from step to step.
struct UpdateStep {
  /// Counted from 1.
  let number: Int
  let learningRate: Float
  /// 0 for weights that are not decayed.
  let weightDecay: Float
  /// What gradients are multiplied by first (clipping).
  let gradientScale: Float
}

extension StateTensor {
  /// bitsandbytes keeps the moments of smaller tensors in float32.
  private static let leastCountInBytes = 4096

  /// A moment of a weight of this shape: float32, or bytes and their blocks' largest magnitudes.
  static func moment(_ name: String, of shape: [Int], inBytes: Bool) -> [StateTensor] {
    let count = shape.reduce(1, *)
    guard inBytes, count >= leastCountInBytes else { return [StateTensor(name: name, shape: shape)] }
    let blocks = (count + Moment.blockLength - 1) / Moment.blockLength
    return [
      StateTensor(name: name, shape: shape, type: .uint8), StateTensor(name: "\(name).absmax", shape: [blocks]),
    ]
  }
}

extension [Tensor] {
  /// These tensors of a state as `count` moments.
  func moments(_ count: Int) -> [Moment] {
    self.count == count
      ? map { .float32($0) } : stride(from: 0, to: 2 * count, by: 2).map { .bytes(self[$0], absmax: self[$0 + 1]) }
  }
}
