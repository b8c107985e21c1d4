import Models
import Tensors

/// How fast this machine does what training is made of, measured in about a second.
struct Calibration: Sendable {
  /// Operations a second of the products of the model's own layers.
  let operationsPerSecond: Double
  /// Seconds that an optimizer step takes for a trained weight.
  let secondsPerWeight: Double

  /// - Parameter tokens: rows of the products, as in a batch of the run.
  init(_ decoder: Decoder, _ arguments: TrainingArguments, tokens: Int) throws(TrainingError) {
    let clock = ContinuousClock()
    operationsPerSecond = Self.productRate(decoder, rows: max(8, min(tokens, 512)), clock)
    secondsPerWeight = try Self.optimizerTime(decoder.backend, arguments, clock)
  }

  /// A layer's products in turn, as forward and backward passes make them.
  private static func productRate(_ decoder: Decoder, rows: Int, _ clock: ContinuousClock) -> Double {
    let backend = decoder.backend
    let layers = decoder.linears.prefix(decoder.linears.count / max(1, decoder.configuration.layers.count))
    var (operations, seconds) = (0.0, 0.0)
    var rounds = 0
    while seconds < 0.7 || rounds < 2 {
      for layer in layers {
        for transposed in [true, false] {
          let (depth, columns) =
            transposed ? (layer.inputs, layer.outputs) : (layer.outputs, layer.inputs)
          let left = backend.empty([rows, depth], .float32)
          let out = backend.empty([rows, columns], .float32)
          backend.clear(left)
          let time = clock.measure {
            let operand = backend.leftOperand(Columns(left), transposed: false)
            backend.compute([
              Product([ProductTerm(operand, layer.weight.value, transposed: transposed)], into: Columns(out))
            ])
          }
          // The first round brings weights and buffers into memory.
          guard rounds > 0 else { continue }
          seconds += time / .seconds(1)
          operations += 2 * Double(rows) * Double(layer.weight.value.count)
        }
      }
      rounds += 1
    }
    return operations / max(seconds, 1e-9)
  }

  private static func optimizerTime(
    _ backend: any Backend, _ arguments: TrainingArguments, _ clock: ContinuousClock
  ) throws(TrainingError) -> Double {
    let count = 1 << 20
    func zeros() -> Tensor {
      let tensor = backend.empty([1024, count / 1024], .float32)
      backend.clear(tensor)
      return tensor
    }
    let parameter = Parameter(name: "weight", value: zeros(), isTrainable: true)
    let optimizer = try Optimizer([parameter], arguments, on: backend)
    var seconds = 0.0
    for round in 0..<4 {
      parameter.gradient = zeros()
      let time = clock.measure { optimizer.update(learningRate: 0, gradientScale: 1) }
      if round > 0 { seconds += time / .seconds(3) }
    }
    return seconds / Double(count)
  }
}
