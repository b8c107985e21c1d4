import Foundation
import TensorReferences
import Tensors
import Testing

/// Linear attention by the gated delta rule.
struct DeltaRuleTests {
  private typealias Node = ReferenceGraph.Node

  /// Single rows, several sequences, a shared prefix, more rows than a chunk of 32, groups of value heads; a GPU has 16
  /// columns of a state in a group of threads, or fewer if they are long.
  @Test(arguments: [
    ([0, 1], DeltaShape(keyHeads: 1, valueHeads: 1, keyDim: 3, valueDim: 8)),
    ([0, 5, 5, 9], DeltaShape(keyHeads: 2, valueHeads: 4, keyDim: 6, valueDim: 8)),
    ([3, 8, 10], DeltaShape(keyHeads: 2, valueHeads: 2, keyDim: 4, valueDim: 16)),
    ([0, 37, 40], DeltaShape(keyHeads: 1, valueHeads: 2, keyDim: 8, valueDim: 8)),
    ([33, 35, 70], DeltaShape(keyHeads: 1, valueHeads: 1, keyDim: 8, valueDim: 8)),
    ([0, 2, 36], DeltaShape(keyHeads: 1, valueHeads: 1, keyDim: 5, valueDim: 24)),
    ([0, 3], DeltaShape(keyHeads: 1, valueHeads: 2, keyDim: 300, valueDim: 24)),
  ])
  func gatedDeltaRule(starts: [Int], shape: DeltaShape) {
    let rows = starts[starts.count - 1]
    let columns = shape.columns + shape.valueColumns + 2 * shape.valueHeads
    let taps = ConvolutionTaps(starts: starts, length: 3)
    // Large, so that outputs near zero, whose norms amplify rounding, don't decide the error.
    let epsilon = Float(0.05)
    OperationCheck(
      variables: [Operand([rows, columns], seed: 1)],
      parameters: [
        Operand([shape.columns, 1, 3], seed: 2), Operand([shape.valueHeads], seed: 3),
        Operand([shape.valueHeads], seed: 4), Operand([shape.valueDim], seed: 5),
      ],
      run: { tape, x, p in
        let weights = DeltaWeights(convolution: p[0], aLog: p[1], dtBias: p[2], norm: p[3], epsilon: epsilon)
        return [tape.gatedDeltaRule(x[0], weights, shape: shape, taps: taps, starts: starts)]
      },
      reference: { graph, x, p in
        [Self.reference(graph, x[0].rows, p.map(\.flat), shape, taps, starts, Double(epsilon))]
      },
      // Norms of queries and keys bend where these are short: the differences take smaller steps, and have more noise.
      tolerance: 2e-5, differenceTolerance: 1e-2, step: 1.0 / 1024
    ).verify()
  }

  /// A device needs what a plan counts, apart from rounding buffer sizes to eight classes per power of two.
  @Test(.enabled(if: Backends.expectsGPU), arguments: [(1, 640), (5, 40)])
  func memoryOfTheBackwardPass(sequences: Int, rows: Int) throws {
    let gpu = try VulkanBackend(try #require(Backends.gpu).information)
    let shape = DeltaShape(keyHeads: 1, valueHeads: 2, keyDim: 32, valueDim: 32)
    let operands = [shape.columns, 2 * shape.valueHeads, shape.valueColumns].map { columns in
      let operand = gpu.empty([sequences * rows, columns], .float32)
      gpu.clear(operand)
      return operand
    }
    let before = gpu.memoryStatistics.inUse
    let gradients = gpu.deltaRuleBackward(
      operands[0], gates: operands[1], dOut: operands[2], starts: (0...sequences).map { $0 * rows }, shape: shape)
    let needed = gpu.memoryStatistics.peak - before - gradients.qkv.byteCount - gradients.gates.byteCount
    let planned = gpu.deltaRuleBackwardMemory(sequences: sequences, rows: rows, shape: shape)
    #expect((0.95..<1.15).contains(Double(needed) / Double(planned)), "\(needed) bytes needed, \(planned) planned")
    try gpu.finish()
  }

  private static func reference(
    _ graph: ReferenceGraph, _ rows: [[Node]], _ weights: [[Node]], _ shape: DeltaShape, _ taps: ConvolutionTaps,
    _ starts: [Int], _ epsilon: Double
  ) -> [Node] {
    let active = rows.indices.map { row in
      (0..<shape.columns).map { channel in
        let terms = (0..<taps.length).compactMap { tap -> Node? in
          let source = Int(taps.rows[row * taps.length + tap])
          return source < 0 ? nil : graph.times(weights[0][channel * taps.length + tap], rows[source][channel])
        }
        return silu(graph, graph.sum(terms.map { (1, $0) }))
      }
    }
    let first = starts[0]
    let prefix = run(graph, 0..<first, rows, active, weights, shape, epsilon, nil)
    var out = prefix.out
    for (start, end) in zip(starts, starts.dropFirst()) {
      out += run(graph, start..<end, rows, active, weights, shape, epsilon, first > 0 ? prefix.state : nil).out
    }
    return out
  }

  /// The rows of one sequence, with the states of the value heads after them.
  private static func run(
    _ graph: ReferenceGraph, _ range: Range<Int>, _ rows: [[Node]], _ active: [[Node]], _ weights: [[Node]],
    _ shape: DeltaShape, _ epsilon: Double, _ initial: [[[Node]]]?
  ) -> (out: [Node], state: [[[Node]]]) {
    let zero = graph.inputs([0])[0]
    let empty = Array(repeating: Array(repeating: zero, count: shape.valueDim), count: shape.keyDim)
    var states = initial ?? Array(repeating: empty, count: shape.valueHeads)
    var out: [Node] = []
    for row in range {
      for head in 0..<shape.valueHeads {
        let keyHead = head / (shape.valueHeads / shape.keyHeads)
        let q = unit(graph, Array(active[row][keyHead * shape.keyDim..<(keyHead + 1) * shape.keyDim]))
          .map { graph.scale($0, 1 / Double(shape.keyDim).squareRoot()) }
        let k = unit(
          graph,
          Array(
            active[row][shape.keyColumns + keyHead * shape.keyDim..<shape.keyColumns + (keyHead + 1) * shape.keyDim]))
        let v = 2 * shape.keyColumns + head * shape.valueDim
        let z = shape.columns + head * shape.valueDim
        let b = shape.columns + shape.valueColumns + head
        let decay = decay(graph, rows[row][b + shape.valueHeads], weights[1][head], weights[2][head])
        let beta = sigmoid(graph, rows[row][b])
        var outputs: [Node] = []
        for j in 0..<shape.valueDim {
          let decayed = states[head].map { graph.times($0[j], decay) }
          let error = graph.sum([(1, active[row][v + j]), (-1, graph.dot(k, decayed))])
          let delta = graph.times(beta, error)
          let updated = zip(decayed, k).map { graph.add($0, graph.times($1, delta)) }
          for i in 0..<shape.keyDim { states[head][i][j] = updated[i] }
          outputs.append(graph.dot(q, updated))
        }
        let square = graph.dot(outputs, outputs)
        let mean = graph[square] / Double(shape.valueDim) + epsilon
        let inverse = graph.apply(square, pow(mean, -0.5), slope: -0.5 * pow(mean, -1.5) / Double(shape.valueDim))
        for j in 0..<shape.valueDim {
          let normed = graph.times(graph.times(outputs[j], inverse), weights[3][j])
          out.append(graph.times(normed, silu(graph, rows[row][z + j])))
        }
      }
    }
    return (out, states)
  }

  private static func unit(_ graph: ReferenceGraph, _ x: [Node]) -> [Node] {
    let square = graph.dot(x, x)
    let sum = graph[square] + 1e-6
    let inverse = graph.apply(square, pow(sum, -0.5), slope: -0.5 * pow(sum, -1.5))
    return x.map { graph.times($0, inverse) }
  }

  private static func sigmoid(_ graph: ReferenceGraph, _ x: Node) -> Node {
    let s = 1 / (1 + exp(-graph[x]))
    return graph.apply(x, s, slope: s * (1 - s))
  }

  private static func silu(_ graph: ReferenceGraph, _ x: Node) -> Node { graph.times(x, sigmoid(graph, x)) }

  /// exp(−exp(aLog) · softplus(a + dtBias))
  private static func decay(_ graph: ReferenceGraph, _ a: Node, _ aLog: Node, _ dtBias: Node) -> Node {
    let x = graph.add(a, dtBias)
    let soft = graph.apply(x, log1p(exp(graph[x])), slope: 1 / (1 + exp(-graph[x])))
    let rate = graph.apply(aLog, exp(graph[aLog]), slope: exp(graph[aLog]))
    let product = graph.times(rate, soft)
    return graph.apply(product, exp(-graph[product]), slope: -exp(-graph[product]))
  }

  /// States so large that a GPU goes backward through one sequence after the other.
  @Test func largeStates() throws {
    let shape = DeltaShape(keyHeads: 1, valueHeads: 1, keyDim: 1024, valueDim: 1024)
    let inputs = Operand([4, shape.columns], seed: 5, range: 0.05)
    let rates = Operand([4, 2], seed: 6)
    let upstream = Operand([4, shape.valueColumns], seed: 7)
    let results = Backends.results { backend in
      let qkv = backend.tensor(inputs.values, inputs.shape)
      let gates = backend.tensor(rates.values.enumerated().map { $0 % 2 == 0 ? -abs($1) : abs($1) }, rates.shape)
      let out = backend.deltaRule(qkv, gates: gates, starts: [1, 2, 4], shape: shape, state: nil)
      let gradients = backend.deltaRuleBackward(
        qkv, gates: gates, dOut: backend.tensor(upstream.values, upstream.shape), starts: [1, 2, 4], shape: shape)
      return backend.floats([out, gradients.qkv, gradients.gates])
    }
    let expected = try #require(results.first).values.map { $0.map(Double.init) }
    for (target, values) in results {
      for (found, right) in zip(values, expected) { #expect(worstError(found, right) < 1e-5, "\(target)") }
    }
  }

  /// A sequence in two parts, the second of which continues from the state of the first, is the sequence.
  @Test func statesContinue() {
    let shape = DeltaShape(keyHeads: 1, valueHeads: 2, keyDim: 4, valueDim: 8)
    let inputs = Operand([9, shape.columns], seed: 5, range: 0.5)
    let rates = Operand([9, 4], seed: 6, range: 0.9)
    for (target, values) in Backends.results({ backend in
      let qkv = backend.tensor(inputs.values, inputs.shape)
      let gates = backend.tensor(rates.values.map { -abs($0) }, rates.shape)
      let whole = backend.deltaRule(qkv, gates: gates, starts: [0, 9], shape: shape, state: nil)
      let state = backend.tensor([Float](repeating: 0, count: 64), [2, 4, 8])
      let parts = [0..<5, 5..<9].flatMap { range in
        backend.floats(
          backend.deltaRule(
            qkv.rows(range), gates: gates.rows(range), starts: [0, range.count], shape: shape, state: state))
      }
      return [parts, backend.floats(whole)]
    }) {
      #expect(values[0] == values[1], "\(target)")
    }
  }
}
