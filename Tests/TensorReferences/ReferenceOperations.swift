import Foundation
import Tensors

/// A matrix of reference scalars.
package struct ReferenceMatrix {
  package typealias Node = ReferenceGraph.Node
  package let graph: ReferenceGraph
  package var rows: [[Node]]

  package init(_ graph: ReferenceGraph, _ rows: [[Node]]) {
    self.graph = graph
    self.rows = rows
  }

  package init(_ graph: ReferenceGraph, _ values: [Float], columns: Int) {
    self.graph = graph
    let nodes = graph.inputs(values)
    rows = stride(from: 0, to: nodes.count, by: columns).map { Array(nodes[$0..<$0 + columns]) }
  }

  package var flat: [Node] { rows.flatMap { $0 } }

  private func mapRows(_ body: ([Node]) -> [Node]) -> ReferenceMatrix { ReferenceMatrix(graph, rows.map(body)) }

  /// self · otherᵀ
  package func timesTransposed(_ other: ReferenceMatrix) -> ReferenceMatrix {
    mapRows { row in other.rows.map { graph.dot(row, $0) } }
  }

  package func plus(_ other: ReferenceMatrix) -> ReferenceMatrix {
    ReferenceMatrix(graph, zip(rows, other.rows).map { zip($0, $1).map { graph.add($0, $1) } })
  }

  package func plus(row bias: [Node]) -> ReferenceMatrix { mapRows { zip($0, bias).map { graph.add($0, $1) } } }

  package func scaled(_ factor: Double) -> ReferenceMatrix { mapRows { $0.map { graph.scale($0, factor) } } }

  /// Each element times its factor.
  package func masked(_ factors: [Double]) -> ReferenceMatrix {
    let columns = rows[0].count
    return ReferenceMatrix(
      graph,
      rows.enumerated().map { i, row in
        row.enumerated().map { j, node in graph.scale(node, factors[i * columns + j]) }
      })
  }

  package func beside(_ other: ReferenceMatrix) -> ReferenceMatrix {
    ReferenceMatrix(graph, zip(rows, other.rows).map { $0 + $1 })
  }

  package func normed(_ weight: [Node], offset: Double, epsilon: Double) -> ReferenceMatrix {
    mapRows { Self.normed(graph, $0, weight, offset: offset, epsilon: epsilon) }
  }

  private static func normed(
    _ graph: ReferenceGraph, _ x: [Node], _ weight: [Node], offset: Double, epsilon: Double
  ) -> [Node] {
    let square = graph.dot(x, x)
    let mean = graph[square] / Double(x.count) + epsilon
    let inverse = graph.apply(square, pow(mean, -0.5), slope: -0.5 * pow(mean, -1.5) / Double(x.count))
    return zip(x, weight).map { value, w in
      let factor = graph.apply(w, graph[w] + offset, slope: 1)
      return graph.times(graph.times(value, inverse), factor)
    }
  }

  /// Head norms and rotation of columns `start ..< start + heads · size`.
  package func rotaryEmbedding(
    from start: Int, heads: Int, size: Int, norm: (weight: [Node], offset: Double, epsilon: Double)?,
    cosines: [[Double]], sines: [[Double]]
  ) -> ReferenceMatrix {
    var result = self
    for (r, row) in rows.enumerated() {
      for head in 0..<heads {
        let range = start + head * size..<start + (head + 1) * size
        var x = Array(row[range])
        if let norm { x = Self.normed(graph, x, norm.weight, offset: norm.offset, epsilon: norm.epsilon) }
        let half = cosines.isEmpty ? 0 : cosines[r].count
        let before = x
        for j in 0..<half {
          let (c, s) = (cosines[r][j], sines[r][j])
          x[j] = graph.sum([(c, before[j]), (-s, before[j + half])])
          x[j + half] = graph.sum([(c, before[j + half]), (s, before[j])])
        }
        result.rows[r].replaceSubrange(range, with: x)
      }
    }
    return result
  }

  package func attention(starts: [Int], shape: AttentionShape, sinks: [Node] = []) -> ReferenceMatrix {
    let size = shape.headDim
    var result: [[Node]] = []
    for (start, end) in zip(starts, starts.dropFirst()) {
      for i in start..<end {
        let first = shape.window > 0 ? max(start, i + 1 - shape.window) : start
        var out: [Node] = []
        for head in 0..<shape.attentionHeads {
          let group = head / (shape.attentionHeads / shape.keyValueHeads)
          let k = shape.queryColumns + group * size
          let q = rows[i][head * size..<(head + 1) * size]
          var scores = (first...i).map { graph.scale(graph.dot(q, rows[$0][k..<k + size]), Double(shape.scale)) }
          if shape.softcap > 0 {
            let cap = Double(shape.softcap)
            scores = scores.map {
              let t = tanh(graph[$0] / cap)
              return graph.apply($0, cap * t, slope: 1 - t * t)
            }
          }
          let total = graph.logSumExp(scores + (sinks.isEmpty ? [] : [sinks[head]]))
          let shares = scores.map { score in
            let p = exp(graph[score] - graph[total])
            return graph.apply(graph.sum([(1, score), (-1, total)]), p, slope: p)
          }
          for column in k + shape.keyColumns..<k + shape.keyColumns + size {
            out.append(graph.dot(shares, (first...i).map { rows[$0][column] }))
          }
        }
        result.append(out)
      }
    }
    return ReferenceMatrix(graph, result)
  }

  package func gated(_ activation: Activation) -> ReferenceMatrix {
    mapRows { row in
      let half = row.count / 2
      return (0..<half).map { j in
        if activation == .clampedSwiGLUOfHalves { return clampedSwiGLU(row[j], row[half + j]) }
        if activation == .clampedSwiGLU { return clampedSwiGLU(row[2 * j], row[2 * j + 1]) }
        let x = graph[row[j]]
        let active: Node
        switch activation {
        case .sigmoid, .clampedSwiGLU, .clampedSwiGLUOfHalves:
          let s = 1 / (1 + exp(-x))
          active = graph.apply(row[j], s, slope: s * (1 - s))
        case .silu:
          let s = 1 / (1 + exp(-x))
          active = graph.apply(row[j], x * s, slope: s + x * s * (1 - s))
        case .gelu:
          let c = (2 / Double.pi).squareRoot()
          let t = tanh(c * (x + 0.044715 * x * x * x))
          active = graph.apply(
            row[j], 0.5 * x * (1 + t), slope: 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x))
        }
        return graph.times(active, row[half + j])
      }
    }
  }

  private func clampedSwiGLU(_ gate: Node, _ up: Node) -> Node {
    let (g, u) = (min(graph[gate], 7), max(-7, min(graph[up], 7)))
    let s = 1 / (1 + exp(-1.702 * g))
    let active = graph.apply(gate, g * s, slope: graph[gate] > 7 ? 0 : s + 1.702 * g * s * (1 - s))
    return graph.times(active, graph.apply(up, u + 1, slope: abs(graph[up]) > 7 ? 0 : 1))
  }

  /// −log softmax(row)[target] of each row, after the softcap.
  package func crossEntropy(_ targets: [Int32], softcap: Double) -> [Node] {
    zip(rows, targets).map { row, target in
      var logits = row
      if softcap > 0 {
        logits = row.map {
          let t = tanh(graph[$0] / softcap)
          return graph.apply($0, softcap * t, slope: 1 - t * t)
        }
      }
      return graph.sum([(1, graph.logSumExp(logits)), (-1, logits[Int(target)])])
    }
  }
}
