import Foundation
import TensorReferences
import Tensors
import Testing

/// Mixtures of experts.
struct ExpertTests {
  typealias Node = ReferenceGraph.Node

  /// The sum of what the chosen experts make of each row of `x`, with their weights.
  private func mixture(
    _ x: ReferenceMatrix, _ logits: ReferenceMatrix, chosen: Int, normalizes: Bool,
    _ expert: (Int, ReferenceMatrix) -> ReferenceMatrix
  ) -> [Node] {
    let graph = x.graph
    return zip(x.rows, logits.rows).flatMap { row, logits -> [Node] in
      let best = logits.indices.sorted { graph[logits[$0]] > graph[logits[$1]] }.prefix(chosen)
      let total = graph.logSumExp(normalizes ? best.map { logits[$0] } : logits)
      let outputs = best.map { index in
        let share = exp(graph[logits[index]] - graph[total])
        let weight = graph.apply(graph.sum([(1, logits[index]), (-1, total)]), share, slope: share)
        return expert(index, ReferenceMatrix(graph, [row])).flat.map { graph.times(weight, $0) }
      }
      return outputs[0].indices.map { column in graph.sum(outputs.map { (1, $0[column]) }) }
    }
  }

  /// Experts are linear layers here. Seven tokens make tiles of rows, one token few rows.
  @Test(arguments: [(1, 1), (1, 7), (2, 1), (2, 7), (3, 7)] as [(Int, Int)], [false, true])
  func experts(_ size: (chosen: Int, rows: Int), normalizes: Bool) {
    let ((chosen, rows), count, width) = (size, 3, 9)
    OperationCheck(
      variables: [Operand([rows, width], seed: 1), Operand([rows, count], seed: 2, range: 2)],
      parameters: (0..<count).map { Operand([width, width], seed: 3 + $0) },
      run: { tape, x, p in
        [
          tape.experts(x[0], logits: x[1], chosen: chosen, normalizes: normalizes) { rows, groups in
            tape.linear(rows, p.map { [Linear(weight: $0)] }, groups: groups)
          }
        ]
      },
      reference: { _, x, p in
        [mixture(x[0], x[1], chosen: chosen, normalizes: normalizes) { $1.timesTransposed(p[$0]) }]
      }
    ).verify()
  }

  /// Gate and input with biases and updates that have one A in common, then the output with an update of its own. An expert
  /// without tokens has gradients of zero.
  @Test(arguments: [1, 13], [true, false]) func updatesAndBiases(rows: Int, trainsWeights: Bool) {
    let (count, width, inner) = (4, 10, 7)
    let shapes = [
      [inner, width], [inner], [2, width], [inner, 2], [inner, width], [inner], [inner, 2], [width, 2 * inner],
      [width], [3, 2 * inner], [width, 3],
    ]
    let isFactor = [2, 3, 6, 9, 10]
    var logits = Operand([rows, count], seed: 2, range: 2)
    for row in 0..<rows { logits.values[row * count + 1] = -9 }
    OperationCheck(
      variables: [Operand([rows, width], seed: 1), logits],
      parameters: (0..<count).flatMap { expert in
        shapes.indices.map { Operand(shapes[$0], seed: 10 + 20 * expert + $0) }
      },
      trainable: (0..<count).flatMap { _ in shapes.indices.map { trainsWeights || isFactor.contains($0) } },
      run: { tape, x, p in
        let experts = (0..<count).map { Array(p[$0 * shapes.count..<($0 + 1) * shapes.count]) }
        return [
          tape.experts(x[0], logits: x[1], chosen: 2, normalizes: true) { rows, groups in
            let inputs = experts.map { p in
              [
                Linear(weight: p[0], bias: p[1], lora: LoRAUpdate(a: p[2], b: p[3], scale: 0.5)),
                Linear(weight: p[4], bias: p[5], lora: LoRAUpdate(a: p[2], b: p[6], scale: 0.5)),
              ]
            }
            let outputs = experts.map { p in
              [Linear(weight: p[7], bias: p[8], lora: LoRAUpdate(a: p[9], b: p[10], scale: 2))]
            }
            return tape.linear(tape.linear(rows, inputs, groups: groups), outputs, groups: groups)
          }
        ]
      },
      reference: { _, x, p in
        [
          mixture(x[0], x[1], chosen: 2, normalizes: true) { index, x in
            let p = Array(p[index * shapes.count..<(index + 1) * shapes.count])
            let down = x.timesTransposed(p[2]).scaled(0.5)
            let gate = x.timesTransposed(p[0]).plus(row: p[1].flat).plus(down.timesTransposed(p[3]))
            let input = x.timesTransposed(p[4]).plus(row: p[5].flat).plus(down.timesTransposed(p[6]))
            let both = gate.beside(input)
            let update = both.timesTransposed(p[9]).scaled(2).timesTransposed(p[10])
            return both.timesTransposed(p[7]).plus(row: p[8].flat).plus(update)
          }
        ]
      }
    ).verify()
  }

  /// The rows of a routing, sorted by expert. Of equal logits the first is chosen.
  @Test(
    arguments: [(1, 3, 1), (9, 8, 2), (70, 130, 8), (33, 257, 4), (5, 4, 4), (0, 5, 2)] as [(Int, Int, Int)],
    [false, true])
  func routing(_ size: (tokens: Int, experts: Int, chosen: Int), normalizes: Bool) {
    let (tokens, count, chosen) = size
    var logits = Operand([tokens, count], seed: 4, range: 3)
    for token in stride(from: 1, to: tokens, by: 3) {
      for index in 0..<count { logits.values[token * count + index] = Float(index * 7 % 3) }
    }
    let results = Backends.results { backend in
      let routing = backend.route(backend.tensor(logits.values, logits.shape), chosen: chosen, normalizes: normalizes)
      return backend.floats([
        routing.probabilities, routing.weights, routing.tokens, routing.experts, routing.ranking, routing.places,
      ])
    }
    var (probabilities, choices, shares): ([Double], [Int], [Double]) = ([], [], [])
    for token in 0..<tokens {
      let row = logits.values[token * count..<(token + 1) * count].map(Double.init)
      let exponentials = row.map { exp($0 - (row.max() ?? 0)) }
      let total = exponentials.reduce(0, +)
      let best = row.indices.sorted { (-row[$0], $0) < (-row[$1], $1) }.prefix(chosen)
      let sum = normalizes ? best.reduce(0) { $0 + exponentials[$1] } : total
      probabilities += exponentials.map { $0 / total }
      choices += best
      shares += best.map { exponentials[$0] / sum }
    }
    let sorted = choices.indices.sorted { (choices[$0], $0) < (choices[$1], $1) }
    var ranking = [Int](repeating: 0, count: choices.count)
    for (row, choice) in sorted.enumerated() { ranking[choice] = row }
    let places = (0..<tokens).flatMap { ranking[$0 * chosen..<($0 + 1) * chosen].sorted() }
    for (target, values) in results {
      #expect(worstError(values[0], probabilities) < 2e-6, "\(target)")
      #expect(worstError(values[1], sorted.map { shares[$0] }) < 2e-6, "\(target)")
      #expect(values[2] == sorted.map { Float($0 / chosen) }, "\(target)")
      #expect(values[3] == sorted.map { Float(choices[$0]) }, "\(target)")
      #expect(values[4] == ranking.map(Float.init) && values[5] == places.map(Float.init), "\(target)")
    }
  }

  /// Logits that are not numbers still choose as many experts.
  @Test func notANumber() {
    for (target, values) in Backends.results({ backend in
      let logits = backend.tensor([.nan, 1, .nan, .infinity, 0, 0, 0, 1, 1], [3, 3])
      let routing = backend.route(logits, chosen: 2, normalizes: true)
      return backend.floats([routing.experts, routing.weights])
    }) {
      #expect(values[0] == [0, 0, 1, 1, 1, 2] && values[1].filter(\.isNaN).count == 4, "\(target)")
    }
  }

  /// The device is given as much work for many experts as for few, and nobody waits for it.
  @Test(.enabled(if: Backends.expectsGPU)) func manyExpertsAreOneProduct() throws {
    let gpu = try VulkanBackend(try #require(Backends.gpu).information)
    func dispatches(_ count: Int, rows: Int) -> Int {
      let weights = (0..<count).map {
        Parameter(name: "\($0)", value: gpu.tensor(Operand([4, 4], seed: $0).values, [4, 4]), isTrainable: true)
      }
      let x = Variable(gpu.tensor(Operand([rows, 4], seed: 1).values, [rows, 4]), requiresGradient: true)
      let logits = Variable(gpu.tensor(Operand([rows, count], seed: 2).values, [rows, count]), requiresGradient: true)
      let before = gpu.counts
      let tape = Tape(on: gpu, isRecording: true)
      let output = tape.experts(x, logits: logits, chosen: 2, normalizes: true) { rows, groups in
        tape.linear(rows, weights.map { [Linear(weight: $0)] }, groups: groups)
      }
      output.gradient = x.value
      tape.backward()
      #expect(gpu.counts.waits == before.waits && weights.allSatisfy { $0.gradient != nil })
      return gpu.counts.dispatches - before.dispatches
    }
    for rows in [1, 40] { #expect(dispatches(3, rows: rows) == dispatches(30, rows: rows)) }
    try gpu.finish()
  }
}
