import Foundation
import Tensors
import Testing

/// Mixtures of experts.
struct ExpertTests {
  /// Experts are linear layers here.
  @Test(arguments: [1, 2, 3], [false, true])
  func experts(chosen: Int, normalizes: Bool) {
    let (count, rows, width) = (3, 7, 9)
    OperationCheck(
      variables: [Operand([rows, width], seed: 1), Operand([rows, count], seed: 2, range: 2)],
      parameters: (0..<count).map { Operand([width, width], seed: 3 + $0) },
      run: { tape, x, p in
        [
          tape.experts(x[0], logits: x[1], count: count, chosen: chosen, normalizes: normalizes) { index, tokens in
            tape.linear(tokens, [Linear(weight: p[index])])
          }
        ]
      },
      reference: { graph, x, p in
        let out = x[0].rows.indices.map { row in
          let logits = x[1].rows[row]
          let best = logits.indices.sorted { graph[logits[$0]] > graph[logits[$1]] }.prefix(chosen)
          let total = graph.logSumExp(normalizes ? best.map { logits[$0] } : logits)
          let input = ReferenceMatrix(graph, [x[0].rows[row]])
          let outputs = best.map { index in
            let share = exp(graph[logits[index]] - graph[total])
            let weight = graph.apply(graph.sum([(1, logits[index]), (-1, total)]), share, slope: share)
            return input.timesTransposed(p[index]).flat.map { graph.times(weight, $0) }
          }
          return (0..<width).map { column in graph.sum(outputs.map { (1, $0[column]) }) }
        }
        return [ReferenceMatrix(graph, out).flat]
      }
    ).verify()
  }

  @Test func idleExpertsHaveZeroGradients() {
    let backend = Backends.single
    let tape = Tape(on: backend, isRecording: true)
    let weights = (0..<3).map {
      Parameter(name: "\($0)", value: backend.tensor([1, 0, 0, 1], [2, 2]), isTrainable: true)
    }
    let output = tape.experts(
      Variable(backend.tensor([1, 2], [1, 2])), logits: Variable(backend.tensor([0, 3, 1], [1, 3])), count: 3,
      chosen: 1,
      normalizes: false, weights: { [weights[$0]] }
    ) { index, tokens in tape.linear(tokens, [Linear(weight: weights[index])]) }
    output.gradient = backend.tensor([1, 1], [1, 2])
    tape.backward()
    let gradients = weights.map { $0.gradient.map(backend.floats) }
    #expect(gradients[0] == [0, 0, 0, 0] && gradients[2] == [0, 0, 0, 0])
    #expect(gradients[1]?.contains { $0 != 0 } == true)
  }

  /// Logits that are not numbers still choose as many experts.
  @Test func notANumber() {
    let backend = Backends.single
    let tape = Tape(on: backend, isRecording: false)
    let x = Variable(backend.tensor([1, 2], [1, 2]))
    let logits = Variable(backend.tensor([.nan, .nan, .nan], [1, 3]))
    var used: [Int] = []
    _ = tape.experts(x, logits: logits, count: 3, chosen: 2, normalizes: true) { index, tokens in
      used.append(index)
      return tokens
    }
    #expect(used == [0, 1])
  }
}
