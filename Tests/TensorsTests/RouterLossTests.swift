import Foundation
import TensorReferences
import Tensors
import Testing

/// The auxiliary loss of routers.
struct RouterLossTests {
  private struct Reference {
    let chosen: Int
    let experts: Int
    let counts: [Double]

    private func softmax(_ row: ArraySlice<Double>) -> [Double] {
      let exponentials = row.map { exp($0 - (row.max() ?? 0)) }
      let total = exponentials.reduce(0, +)
      return exponentials.map { $0 / total }
    }

    private func rows(_ layer: [Double]) -> [ArraySlice<Double>] {
      counts.indices.map { layer[$0 * experts..<($0 + 1) * experts] }
    }

    /// The shares of tokens that go to each expert, which count as constants.
    func shares(_ layers: [[Double]]) -> [Double] {
      var shares = [Double](repeating: 0, count: experts)
      for layer in layers {
        for (row, count) in zip(rows(layer), counts) {
          let best = (0..<experts).sorted { (-row[row.startIndex + $0], $0) < (-row[row.startIndex + $1], $1) }
          for expert in best.prefix(chosen) { shares[expert] += count }
        }
      }
      return shares.map { $0 / counts.reduce(0, +) / Double(layers.count) }
    }

    /// What a row adds to the value, which is linear in the probabilities.
    private func term(_ row: ArraySlice<Double>, count: Double, shares: [Double], layers: Int) -> Double {
      let sum = zip(shares, softmax(row)).reduce(0) { $0 + $1.0 * $1.1 }
      return Double(experts) * count * sum / counts.reduce(0, +) / Double(layers)
    }

    func value(_ layers: [[Double]]) -> Double {
      let shares = shares(layers)
      return layers.reduce(0) { sum, layer in
        zip(rows(layer), counts).reduce(sum) {
          $0 + term($1.0, count: $1.1, shares: shares, layers: layers.count)
        }
      }
    }

    /// The gradient by central differences.
    func gradients(_ layers: [[Double]]) -> [[Double]] {
      let shares = shares(layers)
      return layers.map { layer in
        zip(rows(layer), counts).flatMap { row, count in
          row.indices.map { index in
            func moved(_ step: Double) -> Double {
              var row = row
              row[index] += step
              return term(row, count: count, shares: shares, layers: layers.count)
            }
            return (moved(1e-4) - moved(-1e-4)) / 2e-4
          }
        }
      }
    }
  }

  /// Runs mixtures of experts, one for each layer of logits, after each other.
  /// - Returns: the loss, its part in the sum of losses, and the gradients of logits and input.
  private func run(
    _ logits: [Operand], chosen: Int, counts: [Float]?, checkpoints: Bool = false, upstream: Float = 0,
    on backend: any Backend
  ) -> [[Float]] {
    let (rows, experts) = (logits[0].shape[0], logits[0].shape[1])
    let tape = Tape(on: backend, isRecording: true)
    let loss = counts.map { RouterLoss(counts: $0, gradientScale: 0.5, on: backend) }
    let weights = (0..<experts).map {
      [Linear(weight: Parameter(name: "", value: backend.tensor(Operand([5, 5], seed: 50 + $0).values, [5, 5])))]
    }
    let variables = logits.map { Variable(backend.tensor($0.values, $0.shape), requiresGradient: true) }
    let input = Variable(backend.tensor(Operand([rows, 5], seed: 9).values, [rows, 5]), requiresGradient: true)
    let output = variables.reduce(input) { x, logits in
      let body = { (tape: Tape, inputs: [Variable]) in
        [
          tape.experts(inputs[0], logits: inputs[1], chosen: chosen, normalizes: true, loss: loss) { rows, groups in
            tape.linear(rows, weights, groups: groups)
          }
        ]
      }
      return (checkpoints ? tape.checkpoint([x, logits], body) : body(tape, [x, logits]))[0]
    }
    var sums = LossSums()
    sums.loss = 1
    if let loss { sums.add(loss, weight: 3) }
    output.gradient = backend.tensor([Float](repeating: upstream, count: rows * 5), [rows, 5])
    tape.backward()
    let gradients = (variables + [input]).map { $0.gradient.map(backend.floats) ?? [] }
    return [[Float(sums.metrics["aux_loss"]?.mean ?? 0), Float(sums.loss)]] + gradients
  }

  /// Loss and gradient for each instruction set, number of threads, and the GPU. Some rows count more than once.
  @Test(arguments: [(1, 3, 1), (7, 5, 2), (40, 9, 4), (70, 33, 8)] as [(Int, Int, Int)])
  func lossEqualsTheReference(_ size: (rows: Int, experts: Int, chosen: Int)) {
    let (rows, experts, chosen) = size
    let logits = (0..<2).map { Operand([rows, experts], seed: 3 + $0, range: 2) }
    let counts = (0..<rows).map { $0 < 3 ? Float(4) : 1 }
    let reference = Reference(chosen: chosen, experts: experts, counts: counts.map(Double.init))
    let layers = logits.map { $0.values.map(Double.init) }
    let value = reference.value(layers)
    let gradients = reference.gradients(layers).map { $0.map { 0.5 * $0 } }
    for (target, found) in Backends.results({ run(logits, chosen: chosen, counts: counts, on: $0) }) {
      #expect(worstError(found[0], [value, 1 + 3 * value]) < 2e-6, "\(target)")
      for (ours, theirs) in zip(found[1...], gradients) { #expect(worstError(ours, theirs) < 1e-5, "\(target)") }
    }
  }

  /// A row that counts twice is as good as two rows.
  @Test func countsAreRepetitions() {
    let (once, twice) = (Operand([3, 4], seed: 1, range: 2), Operand([3, 4], seed: 2, range: 2))
    func repeated(_ operand: Operand) -> Operand {
      var result = operand
      result.shape[0] = 4
      result.values = Array(operand.values[..<4]) + operand.values
      return result
    }
    let backend = Backends.single
    let shared = run([once, twice], chosen: 2, counts: [2, 1, 1], on: backend)
    let apart = run([repeated(once), repeated(twice)], chosen: 2, counts: [1, 1, 1, 1], on: backend)
    #expect(worstError(shared[0], apart[0].map(Double.init)) < 1e-6)
    for (a, b) in zip(shared[1...2], apart[1...2]) {
      let sum = zip(b[..<4], b[4..<8]).map { Double($0) + Double($1) } + b[8...].map(Double.init)
      #expect(worstError(a, sum) < 1e-6)
    }
  }

  /// The gradient of what experts make of their tokens stays what it is, and the loss's is added to it.
  @Test func gradientsAddUp() {
    let logits = (0..<2).map { Operand([9, 5], seed: 3 + $0, range: 2) }
    let counts = [Float](repeating: 1, count: 9)
    let backend = Backends.single
    let without = run(logits, chosen: 2, counts: nil, upstream: 1, on: backend)
    let alone = run(logits, chosen: 2, counts: counts, on: backend)
    let both = run(logits, chosen: 2, counts: counts, upstream: 1, on: backend)
    for index in 1...3 {
      #expect(worstError(both[index], zip(without[index], alone[index]).map { Double($0) + Double($1) }) < 1e-6)
    }
  }

  /// A checkpointed layer is counted once.
  @Test func checkpointsHaveTheSameBits() {
    let logits = (0..<2).map { Operand([9, 5], seed: 3 + $0, range: 2) }
    let counts = (0..<9).map { Float(1 + $0 % 2) }
    for (target, found) in Backends.results({ backend in
      let kept = run(logits, chosen: 2, counts: counts, upstream: 1, on: backend)
      let recomputed = run(logits, chosen: 2, counts: counts, checkpoints: true, upstream: 1, on: backend)
      return kept + recomputed
    }) {
      for (a, b) in zip(found[..<4], found[4...]) { #expect(sameBits(a, b), "\(target)") }
    }
  }

  /// Without a pass through a mixture of experts there is no loss.
  @Test func nothingIsAddedWithoutLayers() {
    var sums = LossSums()
    sums.add(RouterLoss(counts: [1, 1], gradientScale: 1, on: Backends.single), weight: 1)
    #expect(sums.metrics.isEmpty && sums.loss == 0)
  }
}
