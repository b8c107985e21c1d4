import Diagnostics
import Models
import Tensors

/// The speed of this machine for the operations of training, measured in about a second.
struct Calibration: Sendable {
  /// The operations per second in the forward and backward pass of the model's own layers, with everything besides
  /// products that these take time for.
  let operationsPerSecond: Double
  /// The time of an optimizer step per trained parameter, in seconds.
  let secondsPerWeight: Double

  /// - Parameters:
  ///   - trained: the parameters that the run trains, which must have no gradients.
  ///   - tokens: how many there are in a batch of the run.
  ///   - length: how many of them a sequence has.
  init(
    _ transformer: Transformer, _ configuration: TrainingConfiguration, updateRule: (any UpdateRule)?,
    trained: [Parameter], trainsWeights: Bool, tokens: Int, length: Int
  ) throws(SwiftletError) {
    let clock = ContinuousClock()
    let batch = Self.batch(
      tokens: max(8, min(tokens, Self.mostTokens)), length: max(1, length),
      vocabulary: transformer.configuration.vocabularySize)
    var size = Workload.Size()
    size.tokens = batch.ids.count
    size.squares = batch.lengths.reduce(0) { $0 + Double($1 * $1) }
    var (operations, seconds) = (0.0, 0.0)
    let kinds = Self.kinds(transformer.configuration)
    for kind in kinds {
      let work = WorkEstimate(transformer, layer: kind.layer, trainsWeights: trainsWeights)
      operations += Double(kind.count) * work.operations(size, checkpointedLayers: 0)
      seconds +=
        Double(kind.count)
        * (try Self.layerTime(
          transformer, kind.layer, batch, configuration.precision, trained, clock,
          for: .milliseconds(700) / kinds.count))
    }
    operationsPerSecond = operations / max(seconds, 1e-9)
    secondsPerWeight = try Self.optimizerTime(transformer.backend, configuration, updateRule, clock)
  }

  /// More tokens are hardly faster, and take longer.
  private static let mostTokens = 512

  /// A batch of sequences of this length, of ids from all parts of the vocabulary.
  private static func batch(tokens: Int, length: Int, vocabulary: Int) -> TokenBatch {
    let ids = (0..<tokens).map { Int32(($0 &* 7919) % max(1, vocabulary)) }
    return TokenBatch(
      stride(from: 0, to: tokens, by: length).map { Array(ids[$0..<min(tokens, $0 + length)]) })
  }

  /// One layer of each kind, and how many there are. A layer that attends to another one's keys counts with those that
  /// have their own.
  private static func kinds(_ configuration: TransformerConfiguration) -> [(layer: Int, count: Int)] {
    var kinds: [(kind: TransformerConfiguration.LayerConfiguration, layer: Int, count: Int)] = []
    for (index, layer) in configuration.layers.enumerated() {
      var kind = layer
      (kind.rotary, kind.sharedLayer) = (nil, nil)
      if let known = kinds.firstIndex(where: { $0.kind == kind }) {
        kinds[known].count += 1
      } else if layer.sharedLayer == nil {
        kinds.append((kind, index, 1))
      } else if !kinds.isEmpty {
        kinds[0].count += 1
      }
    }
    return kinds.map { ($0.layer, $0.count) }
  }

  /// The seconds of a layer's forward and backward pass. The shortest time counts, because other programs can only make it
  /// longer.
  private static func layerTime(
    _ transformer: Transformer, _ layer: Int, _ batch: TokenBatch, _ precision: Precision, _ trained: [Parameter],
    _ clock: ContinuousClock, for duration: Duration
  ) throws(SwiftletError) -> Double {
    let backend = transformer.backend
    let begin = clock.now
    var shortest = Double.infinity
    // The first round loads weights and buffers into memory.
    for round in 0..<100 where round < 2 || clock.now - begin < duration {
      let start = clock.now
      let tape = Tape(on: backend, isRecording: true, precision: precision)
      for output in transformer.outputs(ofLayer: layer, batch, on: tape) {
        output.gradient = output.value
      }
      tape.backward()
      try backend.finish()
      if round > 0 { shortest = min(shortest, (clock.now - start) / .seconds(1)) }
      for parameter in trained { parameter.gradient = nil }
    }
    return shortest
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
