import Foundation
import TensorReferences
import Tensors
import Testing

/// The divergence of a model's predictions from a teacher's.
struct DivergenceTests {
  private static let betas: [Float] = [0, 0.1, 0.5, 1]

  /// The divergence by its definition, in double precision.
  private static func reference(
    _ graph: ReferenceGraph, _ row: [ReferenceGraph.Node], _ teacher: [Double], beta: Double
  )
    -> ReferenceGraph.Node
  {
    let total = graph.logSumExp(row)
    let s = row.map { graph.sum([(1, $0), (-1, total)]) }
    let p = s.map { graph.apply($0, exp(graph[$0]), slope: exp(graph[$0])) }
    let largest = teacher.max() ?? 0
    let t = teacher.map { $0 - largest - log(teacher.reduce(0) { $0 + exp($1 - largest) }) }
    let terms = row.indices.map { index -> ReferenceGraph.Node in
      let q = exp(t[index])
      if beta == 0 { return graph.apply(s[index], q * (t[index] - graph[s[index]]), slope: -q) }
      if beta == 1 { return graph.times(p[index], graph.apply(s[index], graph[s[index]] - t[index], slope: 1)) }
      let mixture = (1 - beta) * graph[p[index]] + beta * q
      let m = graph.apply(p[index], log(mixture), slope: (1 - beta) / mixture)
      let other = graph.apply(m, beta * q * (t[index] - graph[m]), slope: -beta * q)
      return graph.add(other, graph.scale(graph.times(p[index], graph.sum([(1, s[index]), (-1, m)])), 1 - beta))
    }
    return graph.sum(terms.map { (1, $0) })
  }

  @Test(arguments: [1, 7, 8, 1031, 2060], betas) func values(columns: Int, beta: Float) {
    let rows = 4
    let temperature: Float = 1.5
    for softcap: Float in [0, 30] {
      var samples = Samples(columns)
      let logits = samples.floats(rows * columns, range: 6)
      // One row of the teacher is nearly certain.
      let known = samples.floats(rows * columns, range: 3).enumerated().map { index, value in
        index == 2 * columns ? 30 : value
      }
      let targets = (0..<rows).map { Int32($0 * 13 % columns) }
      let graph = ReferenceGraph()
      let x = ReferenceMatrix(graph, logits, columns: columns)
      let losses = x.rows.enumerated().map { index, row in
        let capped = row.map { node in
          let t = tanh(graph[node] / Double(softcap))
          return softcap > 0 ? graph.apply(node, Double(softcap) * t, slope: 1 - t * t) : node
        }
        return Self.reference(
          graph, capped.map { graph.scale($0, 1 / Double(temperature)) },
          known[index * columns..<(index + 1) * columns].map { Double($0 / temperature) }, beta: Double(beta))
      }
      graph.backward(losses, losses.map { _ in 0.25 })
      for (target, values) in Backends.results({ backend in
        func found(_ tensor: Tensor, _ scale: Float?) -> [Float] {
          let found = backend.empty([rows, 4], .float32)
          backend.divergence(
            tensor, from: backend.tensor(known, [rows, columns]), targets: targets, beta: beta,
            temperature: temperature, gradientScale: scale, softcap: softcap, into: found)
          return backend.floats(found)
        }
        let silent = found(backend.tensor(logits, [rows, columns]), nil)
        let tensor = backend.tensor(logits, [rows, columns])
        let all = found(tensor, 0.25)
        #expect(sameBits(silent, all))
        return [(0..<rows).map { all[4 * $0] }, backend.floats(tensor)]
      }) {
        for (ours, node) in zip(values[0], losses) {
          #expect(abs(Double(ours) - graph[node]) < 4e-6 * max(1, graph[node]), "\(target)")
        }
        let wanted = x.flat.map(graph.gradient)
        // The derivatives by probabilities are up to 30, and their mean is subtracted.
        let tolerance = beta == 0 ? 1e-5 : 3e-5
        #expect(columns == 1 || worstError(values[1], wanted) < tolerance, "\(target), softcap \(softcap)")
      }
    }
  }

  /// Through both heads, with the gradients of the student's.
  @Test(arguments: betas) func heads(beta: Float) {
    let (hidden, head) = (Operand([5, 8], seed: 1), Operand([11, 8], seed: 2))
    let (other, otherHead) = (Operand([5, 6], seed: 3), Operand([11, 6], seed: 4))
    let targets: [Int32] = [3, TokenBatch.ignoredLabel, 0, 10, 1]
    let counted = [0, 2, 3, 4]
    let graph = ReferenceGraph()
    let x = ReferenceMatrix(graph, hidden.values, columns: 8)
    let w = ReferenceMatrix(graph, head.values, columns: 8)
    let known = ReferenceMatrix(graph, other.values, columns: 6).timesTransposed(
      ReferenceMatrix(graph, otherHead.values, columns: 6))
    let logits = ReferenceMatrix(graph, counted.map { x.rows[$0] }).timesTransposed(w)
    let losses = zip(counted, logits.rows).map { row, nodes in
      Self.reference(graph, nodes, known.rows[row].map { graph[$0] }, beta: Double(beta))
    }
    graph.backward(losses, losses.map { _ in 0.5 })
    for (target, values) in Backends.results({ backend in
      let tape = Tape(on: backend, isRecording: true)
      func parameter(_ operand: Operand, _ isTrainable: Bool) -> Parameter {
        Parameter(name: "head", value: backend.tensor(operand.values, operand.shape), isTrainable: isTrainable)
      }
      let (input, weight) = (
        Variable(backend.tensor(hidden.values, hidden.shape), requiresGradient: true), parameter(head, true)
      )
      let sums = tape.linearDivergence(
        input, head: weight, targets: targets,
        from: TeacherStates(hidden: backend.tensor(other.values, other.shape), head: parameter(otherHead, false)),
        beta: beta, temperature: 1, gradientScale: 0.5)
      tape.backward()
      #expect(sums.count == 4)
      return [
        [Float(sums.loss)], input.gradient.map(backend.floats) ?? [], weight.gradient.map(backend.floats) ?? [],
      ]
    }) {
      #expect(worstError(values[0], [losses.reduce(0) { $0 + graph[$1] }]) < 1e-5, "\(target)")
      #expect(worstError(values[1], x.flat.map(graph.gradient)) < 1e-5, "\(target), hidden states")
      #expect(worstError(values[2], w.flat.map(graph.gradient)) < 1e-5, "\(target), head")
    }
  }
}
