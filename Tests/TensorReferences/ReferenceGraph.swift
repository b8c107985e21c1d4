import Foundation

/// Scalars in double precision with reverse-mode gradients: the reference for operations. It operates on
/// single numbers, so none of the engine's layouts, tilings or gradient formulas can be repeated here.
package final class ReferenceGraph {
  /// One number of the graph.
  package struct Node {
    fileprivate let index: Int
  }

  private var values: [Double] = []
  private var firstEdge: [Int] = [0]
  private var edgeInputs: [Int32] = []
  private var edgeSlopes: [Double] = []
  private var gradients: [Double] = []

  package init() {}

  package subscript(node: Node) -> Double { values[node.index] }

  package func input(_ value: Double) -> Node { close(value) }

  package func inputs(_ values: [Float]) -> [Node] { values.map { input(Double($0)) } }

  private func edge(_ node: Node, _ slope: Double) {
    edgeInputs.append(Int32(node.index))
    edgeSlopes.append(slope)
  }

  private func close(_ value: Double) -> Node {
    values.append(value)
    firstEdge.append(edgeInputs.count)
    return Node(index: values.count - 1)
  }

  /// f(x), whose derivative at x is `slope`.
  package func apply(_ x: Node, _ value: Double, slope: Double) -> Node {
    edge(x, slope)
    return close(value)
  }

  package func times(_ a: Node, _ b: Node) -> Node {
    edge(a, self[b])
    edge(b, self[a])
    return close(self[a] * self[b])
  }

  /// Sum of factor · node.
  package func sum(_ terms: [(Double, Node)]) -> Node {
    var total = 0.0
    for (factor, node) in terms {
      edge(node, factor)
      total += factor * self[node]
    }
    return close(total)
  }

  package func add(_ a: Node, _ b: Node) -> Node { sum([(1, a), (1, b)]) }
  package func scale(_ a: Node, _ factor: Double) -> Node { sum([(factor, a)]) }

  /// Sum of a[i] · b[i].
  package func dot(_ a: some RandomAccessCollection<Node>, _ b: some RandomAccessCollection<Node>) -> Node {
    var total = 0.0
    for (x, y) in zip(a, b) {
      edge(x, self[y])
      edge(y, self[x])
      total += self[x] * self[y]
    }
    return close(total)
  }

  /// log sum exp.
  package func logSumExp(_ x: [Node]) -> Node {
    let largest = x.map { self[$0] }.max() ?? 0
    let total = x.reduce(0) { $0 + exp(self[$1] - largest) }
    for node in x { edge(node, exp(self[node] - largest) / total) }
    return close(largest + log(total))
  }

  /// Sets the gradients of everything upstream of `outputs`, whose own are `seeds`.
  package func backward(_ outputs: [Node], _ seeds: [Double]) {
    gradients = [Double](repeating: 0, count: values.count)
    for (output, seed) in zip(outputs, seeds) { gradients[output.index] += seed }
    for node in values.indices.reversed() where gradients[node] != 0 {
      for edge in firstEdge[node]..<firstEdge[node + 1] {
        gradients[Int(edgeInputs[edge])] += gradients[node] * edgeSlopes[edge]
      }
    }
  }

  package func gradient(_ node: Node) -> Double { gradients[node.index] }
}
