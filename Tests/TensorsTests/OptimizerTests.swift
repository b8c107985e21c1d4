import Foundation
import TensorReferences
import Tensors
import Testing

/// AdamW and the gradient norm.
struct OptimizerTests {
  struct Case: Sendable {
    var learningRate: Float = 0.01
    var betas = (0.9, 0.999)
    var weightDecay: Float = 0
    var gradientScale: Float = 1
  }

  @Test(arguments: [
    Case(), Case(weightDecay: 0.1), Case(learningRate: 2e-4, gradientScale: 0.3), Case(betas: (0.8, 0.95)),
  ])
  func adamW(_ test: Case) {
    let (count, steps) = (1003, 20)
    let epsilon: Float = 1e-8
    let start = Operand([count], seed: 1)
    // Some gradients are always zero, some tiny.
    let gradients = (1...steps).map { step in
      Operand([count], seed: 1 + step).values.enumerated().map { $0 % 5 == 0 ? 0 : $0 % 7 == 0 ? 1e-6 * $1 : $1 }
    }
    var (weight, m, v) = (start.values.map(Double.init), [Double](repeating: 0, count: count), [0.0])
    v = m
    // As torch documents it.
    let (beta1, beta2) = test.betas
    for (index, gradient) in gradients.enumerated() {
      let step = Double(index + 1)
      for i in 0..<count {
        let g = Double(gradient[i]) * Double(test.gradientScale)
        weight[i] -= Double(test.learningRate) * Double(test.weightDecay) * weight[i]
        m[i] = beta1 * m[i] + (1 - beta1) * g
        v[i] = beta2 * v[i] + (1 - beta2) * g * g
        let (first, second) = (m[i] / (1 - pow(beta1, step)), v[i] / (1 - pow(beta2, step)))
        weight[i] -= Double(test.learningRate) * first / (second.squareRoot() + Double(epsilon))
      }
    }
    for (target, values) in Backends.results({ backend in
      let tensor = backend.tensor(start.values, [count])
      let moments = [0, 1].map { _ in backend.tensor([Float](repeating: 0, count: count), [count]) }
      for (index, gradient) in gradients.enumerated() {
        let step = AdamWStep(
          step: index + 1, learningRate: test.learningRate, beta1: test.betas.0, beta2: test.betas.1,
          epsilon: epsilon, weightDecay: test.weightDecay, gradientScale: test.gradientScale)
        backend.adamW(
          tensor, gradient: backend.tensor(gradient, [count]), m: .float32(moments[0]), v: .float32(moments[1]),
          step)
      }
      return [tensor, moments[0], moments[1]].map(backend.floats)
    }) {
      // The weight rounds twenty times, and steps have the size of the learning rate.
      let worst = zip(values[0], weight).map { abs(Double($0) - $1) }.max() ?? .infinity
      #expect(worst < 1e-6 + 2e-5 * Double(test.learningRate), "\(target)")
      #expect(worstError(values[1], m) < 1e-6, "\(target)")
      #expect(worstError(values[2], v) < 2e-6, "\(target)")
    }
  }

  /// Decay rates keep their precision until the bias corrections are computed.
  @Test func correctionsMatchDecimalRates() {
    // A step from a damaged checkpoint takes no longer than the first one.
    for count in [1, 2, 10, 1000, 1 << 53] {
      let step = AdamWStep(
        step: count, learningRate: 1, beta1: 0.9, beta2: 0.999, epsilon: 0, weightDecay: 0, gradientScale: 1)
      #expect(abs(Double(step.correction1) / (1 - pow(0.9, Double(count))) - 1) < 1e-6)
      #expect(abs(Double(step.correction2) / (1 - pow(0.999, Double(count))) - 1) < 1e-6)
    }
  }

  @Test(arguments: [0, 1, 7, 8, 1000, 65536, 131_075])
  func sumOfSquares(count: Int) {
    let x = Operand([count], seed: 1, range: 3)
    let expected = x.values.reduce(0) { $0 + Double($1) * Double($1) }
    for target in InstructionSet.allCases {
      target.run {
        let sums = Backends.byThreads.map { $0.sumOfSquares($0.tensor(x.values, [count])) }
        #expect(Set(sums).count == 1)
        #expect(abs(sums[0] - expected) <= 1e-12 * expected)
      }
    }
  }

  /// A GPU sums chunks in float32 and adds the sums in double precision; several tensors take one wait.
  @Test(.enabled(if: Backends.gpu != nil)) func sumOfSquaresOnGPU() throws {
    let gpu = try #require(Backends.gpu)
    let counts = [0, 1, 7, 16_384, 16_385, 131_075]
    let values = counts.map { Operand([$0], seed: $0, range: 3).values }
    let expected = values.joined().reduce(0) { $0 + Double($1) * Double($1) }
    let tensors = zip(values, counts).map { gpu.tensor($0, [$1]) }
    #expect(abs(gpu.sumOfSquares(tensors) - expected) <= 1e-6 * expected)
    #expect(gpu.sumOfSquares(tensors) == gpu.sumOfSquares(tensors))
    #expect(gpu.sumOfSquares(gpu.tensor([1, .nan], [2])).isNaN)
    #expect(gpu.sumOfSquares(gpu.tensor([1, -.infinity], [2])) == .infinity)
  }

  @Test func sumOfSquaresOfExtremes() {
    let backend = Backends.single
    #expect(backend.sumOfSquares(backend.tensor([3e38, 3e38], [2])).isFinite)
    #expect(backend.sumOfSquares(backend.tensor([1, .nan], [2])).isNaN)
    #expect(backend.sumOfSquares(backend.tensor([1, -.infinity], [2])) == .infinity)
  }

  @Test(arguments: [1, 8, 19, 40_000])
  func sumsAndScales(count: Int) {
    let (x, y) = (Operand([count], seed: 1), Operand([count], seed: 2))
    for (target, values) in Backends.results({ backend in
      let (a, b) = (backend.tensor(x.values, [count]), backend.tensor(y.values, [count]))
      let scaled = backend.scaled(b, 3)
      backend.add(a, scale: -0.5, into: b)
      backend.scale(a, by: 3)
      return [b, scaled, a].map(backend.floats)
    }) {
      #expect(worstError(values[0], zip(x.values, y.values).map { Double($1) - 0.5 * Double($0) }) < 2e-7, "\(target)")
      #expect(sameBits(values[1], y.values.map { 3 * $0 }) && sameBits(values[2], x.values.map { 3 * $0 }), "\(target)")
    }
  }
}
