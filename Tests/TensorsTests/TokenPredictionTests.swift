import Foundation
import TensorReferences
import Tensors
import Testing

/// Log-probabilities of targets, whose gradients may depend on all of them.
struct TokenPredictionTests {
  private static let (rows, width, vocabulary) = (9, 24, 1031)
  private static let targets: [Int32] = [4, -100, 1030, 0, -100, 77, 512, 3, -100]

  private struct Result {
    var values: [[Float]]
    var hidden: [Float]
    var head: [Float]?
  }

  private static func run(
    on backend: any Backend, trainsHead: Bool, softcap: Float,
    _ body: (Tape, Variable, Parameter) -> [[Float]]
  ) -> Result {
    var samples = Samples(11)
    let hidden = Variable(
      backend.tensor(samples.floats(rows * width, range: 2), [rows, width]), requiresGradient: true)
    let head = Parameter(
      name: "head", value: backend.tensor(samples.floats(vocabulary * width), [vocabulary, width]),
      isTrainable: trainsHead)
    let tape = Tape(on: backend, isRecording: true)
    let values = body(tape, hidden, head)
    tape.backward()
    return Result(
      values: values, hidden: hidden.gradient.map { backend.floats($0) } ?? [],
      head: head.gradient.map { backend.floats($0) })
  }

  /// The derivative of Σ gᵢ log pᵢ equals that of the cross-entropy weighted by −gᵢ.
  @Test(arguments: [false, true], [Float(0), 5]) func gradientsEqualThoseOfTheWeightedLoss(
    trainsHead: Bool, softcap: Float
  ) {
    let gradients: [Float] = [0.5, -2, 0, 1.25, -0.125, 3]
    let all = Backends.byThreads.map { backend in
      Self.run(on: backend, trainsHead: trainsHead, softcap: softcap) { tape, hidden, head in
        let found = tape.tokenPredictions(
          hidden, head: head, targets: Self.targets, softcap: softcap, statistics: true)
        found.gradients = gradients
        return [
          found.logProbabilities, found.entropies, found.meanLogits, found.logSquareSums,
          found.isMostLikely.map { $0 ? 1 : 0 },
        ]
      }
    }
    let found = all[0]
    for other in all.dropFirst() {
      #expect(zip(other.values, found.values).allSatisfy { sameBits($0, $1) } && sameBits(other.hidden, found.hidden))
    }
    var losses: [Float] = []
    let expected = Self.run(on: Backends.single, trainsHead: trainsHead, softcap: softcap) { tape, hidden, head in
      _ = tape.linearCrossEntropy(
        hidden, head: head, targets: Self.targets, gradientScale: 1, softcap: softcap,
        tokenWeights: { _, values in
          losses = values
          return gradients.map { -$0 }
        })
      return []
    }
    #expect(sameBits(found.values[0], losses.map { -$0 }))
    #expect(worstError(found.hidden, expected.hidden.map(Double.init)) < 2e-6)
    #expect(found.head?.count == expected.head?.count)
    #expect(worstError(found.head ?? [], (expected.head ?? []).map(Double.init)) < 2e-6)
  }

  /// Without gradients set, nothing flows back.
  @Test func unusedPredictionsHaveNoGradient() {
    let found = Self.run(on: Backends.single, trainsHead: true, softcap: 0) { tape, hidden, head in
      [tape.tokenPredictions(hidden, head: head, targets: Self.targets).meanLogits]
    }
    #expect(found.hidden.isEmpty && found.head == nil && found.values == [[]])
  }

  /// Mean and log Σ p² of rows, in double precision, on all instruction sets and the GPU.
  @Test(arguments: [1, 7, 8, 1024, 1031, 5000], [Float(0), 30]) func statistics(columns: Int, softcap: Float) {
    var samples = Samples(columns)
    let logits = samples.floats(3 * columns, range: 20)
    let expected = (0..<3).flatMap { row -> [Double] in
      let values = logits[row * columns..<(row + 1) * columns].map {
        softcap > 0 ? Double(softcap) * tanh(Double($0) / Double(softcap)) : Double($0)
      }
      let largest = values.max() ?? 0
      let total = values.reduce(0) { $0 + exp($1 - largest) }
      let squares = values.reduce(0) { $0 + pow(exp($1 - largest) / total, 2) }
      return [values.reduce(0, +) / Double(columns), log(squares)]
    }
    for (target, values) in Backends.results({ backend in
      [backend.floats(backend.logitStatistics(backend.tensor(logits, [3, columns]), softcap: softcap))]
    }) {
      for (value, wanted) in zip(values[0], expected) { #expect(abs(Double(value) - wanted) < 1e-5, "\(target)") }
    }
  }
}
