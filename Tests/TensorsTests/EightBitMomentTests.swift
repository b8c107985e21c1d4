import Foundation
import TensorReferences
import Tensors
import Testing

/// 8-bit moments: their codes, and optimizer steps over their blocks.
struct EightBitMomentTests {
  static let length = Moment.blockLength

  /// A moment with all elements zero.
  static func zeros(_ count: Int, on backend: any Backend) -> (codes: Tensor, absmax: Tensor) {
    let tensors = (backend.empty([count], .uint8), backend.empty([(count + length - 1) / length], .float32))
    backend.clear(tensors.0)
    backend.clear(tensors.1)
    return tensors
  }

  static func decoded(_ codes: Tensor, _ absmax: Tensor, _ map: DynamicMap, on backend: any Backend) -> [Float] {
    let scales = backend.floats(absmax)
    return codes.withBytes { bytes in bytes.indices.map { map.values[Int(bytes[$0])] * scales[$0 / length] } }
  }

  /// After a Lion step with beta2 = 0, the moment is the gradient itself: every value must become its nearest level.
  @Test func codesAreTheNearestLevels() {
    let values = DynamicMap.signed.values
    var x: [Float] = []
    for (low, high) in zip(values, values.dropFirst()) {
      let middle = (Double(low) + Double(high)) / 2
      x += [low, low.nextUp, low.nextDown, Float(middle).nextUp.nextUp, Float(middle).nextDown.nextDown]
    }
    var samples = Samples(5)
    let exponents = samples.floats(20_000, range: 7)
    for (value, exponent) in zip(samples.floats(20_000), exponents) { x.append(value * pow(10, -abs(exponent))) }
    x += [0, -0.0, .leastNonzeroMagnitude]
    // Each block contains a 1, so levels relative to the largest magnitude are the values themselves.
    let others = x
    x = []
    for (index, value) in others.enumerated() { x += index % (Self.length - 1) == 0 ? [1, value] : [value] }
    let step = LionStep(learningRate: 0, beta1: 0, beta2: 0, weightDecay: 0, gradientScale: 1)
    for (target, found) in Backends.results({ backend in
      let (weight, m) = (backend.tensor(x, [x.count]), Self.zeros(x.count, on: backend))
      backend.lion(weight, gradient: backend.tensor(x, [x.count]), m: .eightBit(m.codes, absmax: m.absmax), step)
      return [Self.decoded(m.codes, m.absmax, .signed, on: backend), backend.floats(weight)]
    }) {
      // A GPU may flush subnormal numbers to zero, and lose the sign of zero.
      let isKept = zip(found[1], x).allSatisfy { $0 == $1 || (target == .gpu && $1.isSubnormal && $0 == 0) }
      #expect(target == .gpu ? isKept : sameBits(found[1], x), "\(target)")
      let nearest = x.map { value in values.min { abs($0 - value) < abs($1 - value) } ?? .nan }
      for (value, (ours, best)) in zip(x, zip(found[0], nearest)) where ours != best {
        #expect(abs(ours - value) == abs(best - value), "\(value) on \(target)")
      }
    }
  }

  /// The same steps with float32 moments that are rounded to the nearest level after each step.
  @Test(arguments: [1, 255, 256, 257, 20_000], [Float(0), 0.1])
  func adamW(count: Int, weightDecay: Float) {
    let start = Operand([count], seed: 1)
    for (target, found) in Backends.results({ backend in
      let weights = (backend.tensor(start.values, [count]), backend.tensor(start.values, [count]))
      let (m, v) = (Self.zeros(count, on: backend), Self.zeros(count, on: backend))
      for number in 1...5 {
        let gradient = backend.tensor(Operand([count], seed: 1 + number).values, [count])
        let step = AdamWStep(
          step: number, learningRate: 0.01, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: weightDecay,
          gradientScale: 0.5)
        let first = backend.tensor(Self.decoded(m.codes, m.absmax, .signed, on: backend), [count])
        let second = backend.tensor(Self.decoded(v.codes, v.absmax, .unsigned, on: backend), [count])
        backend.adamW(weights.0, gradient: gradient, m: .float32(first), v: .float32(second), step)
        backend.adamW(
          weights.1, gradient: gradient, m: .eightBit(m.codes, absmax: m.absmax),
          v: .eightBit(v.codes, absmax: v.absmax),
          step)
      }
      return [backend.floats(weights.0), backend.floats(weights.1), backend.floats(v.absmax)]
    }) {
      // Only the compiler's choice of fused operations may differ.
      for (a, b) in zip(found[0], found[1]) { #expect(abs(a - b) < 3e-7, "\(target)") }
    }
  }

  @Test func extremeMomentsAreKept() {
    let backend = Backends.single
    let x: [Float] = [3e38, -3e38, 0, 1e-38] + [Float](repeating: 0, count: 300)
    let m = Self.zeros(x.count, on: backend)
    let step = LionStep(learningRate: 0, beta1: 0, beta2: 0, weightDecay: 0, gradientScale: 1)
    backend.lion(
      backend.tensor(x, [x.count]), gradient: backend.tensor(x, [x.count]), m: .eightBit(m.codes, absmax: m.absmax),
      step)
    let values = Self.decoded(m.codes, m.absmax, .signed, on: backend)
    #expect(values[0] == 3e38 && values[1] < -2.9e38 && values[2...].allSatisfy { $0 == 0 })
  }
}
