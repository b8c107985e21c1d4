import Diagnostics
import CKernels

extension CPUBackend {
  /// Maps an unlinked file in `folder`.
  public func pagedZeros(
    _ shape: [Int], _ type: ElementType, in folder: String
  ) throws(SwiftletError) -> Tensor {
    let byteCount = shape.reduce(1, *) / type.blockLength * type.blockByteCount
    return Tensor(type: type, shape: shape, storage: try PagedMemory.storage(byteCount: byteCount, in: folder))
  }

  /// Each task updates a range of elements, or whole blocks of 8-bit moments.
  public func adamW(_ weight: Tensor, gradient: Tensor, m: Moment, v: Moment, _ step: AdamWStep) {
    let (beta1, rest1) = Self.rates(step.beta1)
    let (beta2, rest2) = Self.rates(step.beta2)
    var numbers = ck_adamw_step(
      learning_rate: step.learningRate, beta1: beta1, rest1: rest1, beta2: beta2, rest2: rest2, epsilon: step.epsilon,
      weight_decay: step.weightDecay, correction1: step.correction1, correction2: step.correction2,
      gradient_scale: step.gradientScale)
    switch (m, v) {
    case (.float32(let m), .float32(let v)):
      overElements(of: weight) { range in
        ck_adamw(
          weight.pointer(), gradient.pointer(), m.pointer(), v.pointer(), &numbers, range.lowerBound, range.upperBound)
      }
    case (.eightBit(let m, let mAbsmax), .eightBit(let v, let vAbsmax)):
      withEightBitMoment(m, mAbsmax, .signed) { m in
        withEightBitMoment(v, vAbsmax, .unsigned) { v in
          overBlocks(of: weight) { range in
            var (m, v) = (m, v)
            ck_adamw_8bit(
              weight.pointer(), gradient.pointer(), &m, &v, &numbers, weight.count, range.lowerBound, range.upperBound)
          }
        }
      }
    default: preconditionFailure("both moments must have the same precision")
    }
  }

  /// Each task updates a range of elements, or whole blocks of 8-bit moments.
  public func lion(_ weight: Tensor, gradient: Tensor, m: Moment, _ step: LionStep) {
    let (beta1, rest1) = Self.rates(step.beta1)
    let (beta2, rest2) = Self.rates(step.beta2)
    var numbers = ck_lion_step(
      learning_rate: step.learningRate, beta1: beta1, rest1: rest1, beta2: beta2, rest2: rest2,
      weight_decay: step.weightDecay, gradient_scale: step.gradientScale)
    switch m {
    case .float32(let m):
      overElements(of: weight) { range in
        ck_lion(weight.pointer(), gradient.pointer(), m.pointer(), &numbers, range.lowerBound, range.upperBound)
      }
    case .eightBit(let m, let absmax):
      withEightBitMoment(m, absmax, .signed) { m in
        overBlocks(of: weight) { range in
          var m = m
          ck_lion_8bit(
            weight.pointer(), gradient.pointer(), &m, &numbers, weight.count, range.lowerBound, range.upperBound)
        }
      }
    }
  }

  /// Each task updates a range of elements.
  public func sgd(_ weight: Tensor, gradient: Tensor, buffer: Tensor?, _ step: SGDStep) {
    var numbers = ck_sgd_step(
      learning_rate: step.learningRate, momentum: step.momentum, dampening: step.dampening,
      weight_decay: step.weightDecay, gradient_scale: step.gradientScale, nesterov: step.nesterov,
      is_first: step.isFirst)
    overElements(of: weight) { range in
      ck_sgd(weight.pointer(), gradient.pointer(), buffer?.pointer(), &numbers, range.lowerBound, range.upperBound)
    }
  }

  /// Updates the second moment, divides the gradient and sums its squares in separate passes over the gradient.
  public func adafactor(_ weight: Tensor, gradient: Tensor, squares: AdafactorMoment, _ step: AdafactorStep) {
    divide(gradient, by: squares, step)
    let root = (sumOfSquares(gradient) / Double(max(1, weight.count))).squareRoot()
    if step.weightDecay != 0 { scale(weight, by: 1 - step.weightDecay * step.learningRate) }
    add(gradient, scale: -step.learningRate / Float(max(1, root / Double(step.clipThreshold))), into: weight)
  }

  /// Updates Adafactor's second moment with a gradient, and divides the gradient in place by the moment's square root.
  private func divide(_ gradient: Tensor, by squares: AdafactorMoment, _ step: AdafactorStep) {
    switch squares {
    case .full(let squares):
      overElements(of: gradient) { range in
        ck_adafactor_vector(
          gradient.pointer(), squares.pointer(), step.gradientScale, step.epsilon, step.decay, range.lowerBound,
          range.upperBound)
      }
    case .factored(let rows, let columns):
      let (rowCount, columnCount) = (gradient.rows, gradient.columns)
      let grain = max(1, 16384 / max(1, columnCount))
      pool.runRanges(rowCount, grain: grain) { range in
        ck_adafactor_rows(
          gradient.pointer(), rows.pointer(), columnCount, step.gradientScale, step.epsilon, step.decay,
          range.lowerBound, range.upperBound)
      }
      pool.runRanges(columnCount, grain: 64) { range in
        ck_adafactor_columns(
          gradient.pointer(), columns.pointer(), rowCount, columnCount, step.gradientScale, step.epsilon, step.decay,
          range.lowerBound, range.upperBound)
      }
      let mean = floats(rows).reduce(0) { $0 + Double($1) } / Double(max(1, rowCount))
      pool.runRanges(rowCount, grain: grain) { range in
        ck_adafactor_divide(
          gradient.pointer(), rows.pointer(), columns.pointer(), Float(mean), columnCount, step.gradientScale,
          range.lowerBound, range.upperBound)
      }
    }
  }

  /// A decay rate and its complement to 1, each rounded once.
  private static func rates(_ beta: Double) -> (Float, Float) { (Float(beta), Float(1 - beta)) }

  private func overElements(of weight: Tensor, _ body: (Range<Int>) -> Void) {
    pool.runRanges(weight.count, grain: 16384, body)
  }

  /// Runs `body` on ranges of blocks of an 8-bit moment.
  private func overBlocks(of weight: Tensor, _ body: (Range<Int>) -> Void) {
    let length = Moment.blockLength
    pool.runRanges((weight.count + length - 1) / length, grain: 16, body)
  }

  private func withEightBitMoment(
    _ codes: Tensor, _ absmax: Tensor, _ map: DynamicMap, _ body: (ck_moment_8bit) -> Void
  ) {
    map.values.withUnsafeBufferPointer { values in
      map.boundaries.withUnsafeBufferPointer { boundaries in
        map.first.withUnsafeBufferPointer { first in
          let map = ck_dynamic_map(
            values: values.baseAddress, boundaries: boundaries.baseAddress, first: first.baseAddress)
          body(ck_moment_8bit(codes: codes.pointer(UInt8.self), absmax: absmax.pointer(), map: map))
        }
      }
    }
  }
}
