import Diagnostics
import Models
import Tensors

/// The speed of this machine for the operations of training, measured in about a second.
struct Calibration: Sendable {
  /// The rate of matrix products of the model's own shapes, in operations per second.
  let operationsPerSecond: Double
  /// The time of an optimizer step per trained parameter, in seconds.
  let secondsPerWeight: Double

  /// - Parameter tokens: the rows of the products, as in a batch of the run.
  init(
    _ transformer: Transformer, _ configuration: TrainingConfiguration, updateRule: (any UpdateRule)?, tokens: Int
  ) throws(SwiftletError) {
    let clock = ContinuousClock()
    operationsPerSecond = try Self.productRate(
      transformer, rows: max(8, min(tokens, 512)), configuration.precision, clock)
    secondsPerWeight = try Self.optimizerTime(transformer.backend, configuration, updateRule, clock)
  }

  /// Measures a layer's forward and backward products. The shortest time of each counts, because other programs can
  /// only make it longer.
  private static func productRate(
    _ transformer: Transformer, rows: Int, _ precision: Precision, _ clock: ContinuousClock
  ) throws(SwiftletError) -> Double {
    let layers = transformer.linearLayers.prefix(
      transformer.linearLayers.count / max(1, transformer.configuration.layers.count))
    let weights = layers.flatMap { [($0.weight.value, true), ($0.weight.value, false)] }
    var shortest = [Double](repeating: .infinity, count: weights.count)
    let begin = clock.now
    // The first round loads weights and buffers into memory.
    for round in 0..<100 where round < 3 || clock.now - begin < .milliseconds(700) {
      for (index, (weight, transposed)) in weights.enumerated() {
        let start = clock.now
        multiply(weight, transposed, rows: rows, precision, on: transformer.backend)
        try transformer.backend.finish()
        shortest[index] = min(shortest[index], (clock.now - start) / .seconds(1))
      }
    }
    let operations = weights.reduce(0.0) { $0 + 2 * Double(rows) * Double($1.0.count) }
    return operations / max(shortest.reduce(0, +), 1e-9)
  }

  private static func multiply(
    _ weight: Tensor, _ transposed: Bool, rows: Int, _ precision: Precision, on backend: any Backend
  ) {
    let left = backend.empty([rows, transposed ? weight.columns : weight.rows], .float32)
    let out = backend.empty([rows, transposed ? weight.rows : weight.columns], .float32)
    backend.clear(left)
    let operand = backend.leftOperand(Columns(left), transposed: false, precision: precision)
    backend.compute([Product([ProductTerm(operand, weight, transposed: transposed)], into: Columns(out))])
  }

  private static func optimizerTime(
    _ backend: any Backend, _ configuration: TrainingConfiguration, _ rule: (any UpdateRule)?, _ clock: ContinuousClock
  ) throws(SwiftletError) -> Double {
    let count = 1 << 20
    func zeros() -> Tensor {
      let tensor = backend.empty([1024, count / 1024], .float32)
      backend.clear(tensor)
      return tensor
    }
    let parameter = Parameter(name: "weight", value: zeros(), isTrainable: true)
    let optimizer = try Optimizer([parameter], configuration.optimizer, rule: rule, on: backend)
    var shortest = Double.infinity
    for _ in 0..<4 {
      parameter.gradient = zeros()
      try backend.finish()
      let start = clock.now
      optimizer.update(learningRate: 0, gradientScale: 1)
      try backend.finish()
      shortest = min(shortest, (clock.now - start) / .seconds(1))
    }
    return shortest / Double(count)
  }
}
