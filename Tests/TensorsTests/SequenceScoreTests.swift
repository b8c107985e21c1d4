import TensorReferences
import Tensors
import Testing

/// Scores of rows by a head, whose gradients the loss sets.
struct SequenceScoreTests {
  private static let (count, width, labels) = (7, 19, 3)
  /// A row occurs twice.
  private static let rows: [Int32] = [6, 0, 3, 0]

  /// Scores and gradients in double precision, with the same bits for any number of threads.
  @Test(arguments: [false, true]) func equalTheDefinition(trainsHead: Bool) {
    var samples = Samples(5)
    let hidden = samples.floats(Self.count * Self.width, range: 2)
    let head = samples.floats(Self.labels * Self.width)
    let upstream = samples.floats(Self.rows.count * Self.labels)
    let (width, labels) = (Self.width, Self.labels)
    var scores = [Double](repeating: 0, count: upstream.count)
    var dHidden = [Double](repeating: 0, count: hidden.count)
    var dHead = [Double](repeating: 0, count: head.count)
    for (place, row) in Self.rows.enumerated() {
      for label in 0..<labels {
        let gradient = Double(upstream[place * labels + label])
        for column in 0..<width {
          let (x, w) = (Double(hidden[Int(row) * width + column]), Double(head[label * width + column]))
          scores[place * labels + label] += x * w
          dHidden[Int(row) * width + column] += gradient * w
          dHead[label * width + column] += gradient * x
        }
      }
    }
    let results = Backends.results { backend in
      let input = Variable(backend.tensor(hidden, [Self.count, width]), requiresGradient: true)
      let weight = Parameter(name: "score", value: backend.tensor(head, [labels, width]), isTrainable: trainsHead)
      let tape = Tape(on: backend, isRecording: true)
      let found = tape.sequenceScores(input, rows: Self.rows, head: weight)
      found.gradients = upstream
      tape.backward()
      return [
        found.values, input.gradient.map(backend.floats) ?? [], weight.gradient.map(backend.floats) ?? [],
      ]
    }
    for (target, values) in results {
      #expect(worstError(values[0], scores) < 2e-6, "\(target)")
      #expect(worstError(values[1], dHidden) < 2e-6, "\(target)")
      #expect(values[2].isEmpty == !trainsHead)
      if trainsHead { #expect(worstError(values[2], dHead) < 2e-6, "\(target)") }
    }
  }

  /// Without gradients set, nothing flows back.
  @Test func unusedScoresHaveNoGradient() {
    let backend = Backends.single
    let input = Variable(backend.tensor([1, 2, 3, 4], [2, 2]), requiresGradient: true)
    let tape = Tape(on: backend, isRecording: true)
    let head = Parameter(name: "score", value: backend.tensor([1, 1], [1, 2]), isTrainable: true)
    #expect(tape.sequenceScores(input, rows: [1], head: head).values == [7])
    tape.backward()
    #expect(input.gradient == nil && head.gradient == nil)
  }
}
