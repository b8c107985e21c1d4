import Foundation
import TensorReferences
import Tensors
import Testing

/// Embedding, norms, rotary embedding and gated units, against a double-precision reference and central differences.
struct LayerTests {
  @Test(arguments: [Float(1), 3.5])
  func embedding(scale: Float) {
    let ids: [Int32] = [4, 0, 4, 2, 4, 1]
    OperationCheck(
      variables: [], parameters: [Operand([5, 19], seed: 1)],
      run: { tape, _, p in [tape.embedding(ids, p[0], scale: scale)] },
      reference: { graph, _, p in
        [ReferenceMatrix(graph, ids.map { p[0].rows[Int($0)] }).scaled(Double(scale)).flat]
      }
    ).verify()
  }

  @Test func frozenEmbeddingHasNoGradient() {
    let backend = Backends.single
    let tape = Tape(on: backend, isRecording: true)
    let table = Parameter(name: "table", value: backend.tensor([1, 2, 3, 4, 5, 6], [3, 2]))
    let output = tape.embedding([2, 0], table)
    #expect(backend.floats(output.value) == [5, 6, 1, 2])
    #expect(!output.requiresGradient)
  }

  @Test(arguments: [3, 8, 37, 576], [Float(0), 1])
  func norm(columns: Int, offset: Float) {
    OperationCheck(
      variables: [Operand([7, columns], seed: 1, range: 2)], parameters: [Operand([columns], seed: 2)],
      run: { tape, x, p in [tape.rmsNorm(x[0], weight: p[0], offset: offset, epsilon: 1e-5).out] },
      reference: { _, x, p in [x[0].normed(p[0].flat, offset: Double(offset), epsilon: Double(Float(1e-5))).flat] }
    ).verify()
  }

  @Test(arguments: [(true, true), (true, false), (false, true)])
  func normOfSum(usesSum: Bool, usesNorm: Bool) {
    OperationCheck(
      variables: [Operand([9, 45], seed: 1), Operand([9, 45], seed: 2)], parameters: [Operand([45], seed: 3)],
      trainable: [usesNorm],
      run: { tape, x, p in
        let (sum, out) = tape.rmsNorm(x[0], residual: x[1], weight: p[0], epsilon: 1e-6)
        return (usesSum ? [sum] : []) + (usesNorm ? [out] : [])
      },
      reference: { _, x, p in
        let sum = x[0].plus(x[1])
        let out = sum.normed(p[0].flat, offset: 0, epsilon: Double(Float(1e-6)))
        return (usesSum ? [sum.flat] : []) + (usesNorm ? [out.flat] : [])
      }
    ).verify()
  }

  @Test func trainsOnlyTheNormWeight() {
    OperationCheck(
      variables: [Operand([5, 24], seed: 1)], parameters: [Operand([24], seed: 2)], variablesRequireGradient: false,
      run: { tape, x, p in [tape.rmsNorm(x[0], weight: p[0], epsilon: 1e-5).out] },
      reference: { _, x, p in [x[0].normed(p[0].flat, offset: 0, epsilon: Double(Float(1e-5))).flat] }
    ).verify()
  }

  /// A residual connection: one variable feeds a branch and the next sum.
  @Test func gradientsOfSharedVariablesAdd() {
    OperationCheck(
      variables: [Operand([6, 16], seed: 1)], parameters: [Operand([16], seed: 2), Operand([16, 16], seed: 3)],
      run: { tape, x, p in
        let first = tape.rmsNorm(x[0], weight: p[0], epsilon: 1e-5).out
        let branch = tape.linear(first, [Linear(weight: p[1])])
        let (sum, second) = tape.rmsNorm(branch, residual: x[0], weight: p[0], epsilon: 1e-5)
        return [tape.rmsNorm(second, residual: sum, weight: p[0], epsilon: 1e-5).out, sum]
      },
      reference: { _, x, p in
        func norm(_ y: ReferenceMatrix) -> ReferenceMatrix {
          y.normed(p[0].flat, offset: 0, epsilon: Double(Float(1e-5)))
        }
        let sum = norm(x[0]).timesTransposed(p[1]).plus(x[0])
        return [norm(norm(sum).plus(sum)).flat, sum.flat]
      }
    ).verify()
  }

  /// Rotary angles for `rows` positions and `rotated` dimensions.
  private func angles(rows: Int, rotated: Int) -> (cosines: [[Double]], sines: [[Double]]) {
    let angles = (0..<rows).map { row in
      (0..<rotated / 2).map { Double(row * 3 + 1) * pow(100, -Double(2 * $0) / Double(rotated)) }
    }
    return (angles.map { $0.map { Double(Float(cos($0))) } }, angles.map { $0.map { Double(Float(sin($0))) } })
  }

  @Test(arguments: [0, 6, 20, 32], [false, true])
  func rotaryEmbedding(rotated: Int, hasNorms: Bool) {
    let rows = 5
    let shape = AttentionShape(attentionHeads: 4, keyValueHeads: 2, headDim: 32, scale: 1)
    let (cosines, sines) = angles(rows: rows, rotated: rotated)
    let epsilon = Float(1e-6)
    OperationCheck(
      variables: [Operand([rows, 8 * 32], seed: 1)], parameters: [Operand([32], seed: 2), Operand([32], seed: 3)],
      trainable: [hasNorms, hasNorms],
      run: { tape, x, p in
        let backend = tape.backend
        let angles = RotaryAngles(
          cosines: backend.tensor(cosines.flatMap { $0.map(Float.init) }, [rows, rotated / 2]),
          sines: backend.tensor(sines.flatMap { $0.map(Float.init) }, [rows, rotated / 2]))
        let norms = QueryKeyNorms(query: p[0], key: p[1], offset: 1, epsilon: epsilon)
        return [
          tape.rotaryEmbedding(
            x[0], shape: shape, angles: rotated > 0 ? angles : nil, norms: hasNorms ? norms : nil)
        ]
      },
      reference: { _, x, p in
        func part(_ x: ReferenceMatrix, _ start: Int, _ heads: Int, _ weight: ReferenceMatrix) -> ReferenceMatrix {
          x.rotaryEmbedding(
            from: start, heads: heads, size: 32, norm: hasNorms ? (weight.flat, 1, Double(epsilon)) : nil,
            cosines: rotated > 0 ? cosines : [], sines: rotated > 0 ? sines : [])
        }
        return [part(part(x[0], 0, 4, p[0]), 128, 2, p[1]).flat]
      }
    ).verify()
  }

  @Test func trainsOnlyTheHeadNorms() {
    let shape = AttentionShape(attentionHeads: 2, keyValueHeads: 1, headDim: 16, scale: 1)
    OperationCheck(
      variables: [Operand([3, 64], seed: 1)], parameters: [Operand([16], seed: 2), Operand([16], seed: 3)],
      variablesRequireGradient: false,
      run: { tape, x, p in
        let norms = QueryKeyNorms(query: p[0], key: p[1], offset: 0, epsilon: 1e-5)
        return [tape.rotaryEmbedding(x[0], shape: shape, angles: nil, norms: norms)]
      },
      reference: { _, x, p in
        let epsilon = Double(Float(1e-5))
        let queries = x[0].rotaryEmbedding(
          from: 0, heads: 2, size: 16, norm: (p[0].flat, 0, epsilon), cosines: [], sines: [])
        return [
          queries.rotaryEmbedding(from: 32, heads: 1, size: 16, norm: (p[1].flat, 0, epsilon), cosines: [], sines: [])
            .flat
        ]
      }
    ).verify()
  }

  /// Values have a norm of their own, and queries alone may be given.
  @Test(arguments: [true, false]) func normsOfValues(hasKeys: Bool) {
    let shape = AttentionShape(attentionHeads: 2, keyValueHeads: hasKeys ? 1 : 0, headDim: 16, scale: 1)
    OperationCheck(
      variables: [Operand([3, hasKeys ? 64 : 32], seed: 1)],
      parameters: [Operand([16], seed: 2), Operand([16], seed: 3)],
      trainable: [true, hasKeys],
      run: { tape, x, p in
        let ones = Parameter(name: "", value: tape.backend.tensor([Float](repeating: 1, count: 16), [16]))
        let norms = QueryKeyNorms(
          query: p[0], key: hasKeys ? p[1] : nil, value: hasKeys ? ones : nil, offset: 0, epsilon: 1e-5)
        return [tape.rotaryEmbedding(x[0], shape: shape, angles: nil, norms: norms)]
      },
      reference: { graph, x, p in
        let epsilon = Double(Float(1e-5))
        func normed(_ x: ReferenceMatrix, _ start: Int, _ heads: Int, _ weight: [ReferenceGraph.Node])
          -> ReferenceMatrix
        {
          x.rotaryEmbedding(from: start, heads: heads, size: 16, norm: (weight, 0, epsilon), cosines: [], sines: [])
        }
        let queries = normed(x[0], 0, 2, p[0].flat)
        guard hasKeys else { return [queries.flat] }
        let ones = ReferenceMatrix(graph, [Float](repeating: 1, count: 16), columns: 16).flat
        return [normed(normed(queries, 32, 1, p[1].flat), 48, 1, ones).flat]
      }
    ).verify()
  }

  @Test func gatedHeads() {
    OperationCheck(
      variables: [Operand([5, 24], seed: 1), Operand([5, 3], seed: 2, range: 3)], parameters: [],
      run: { tape, x, _ in [tape.gatedHeads(x[0], by: x[1])] },
      reference: { graph, x, _ in
        [
          (0..<5).flatMap { row in
            (0..<24).map { column in
              let gate = x[1].rows[row][column / 8]
              let s = 1 / (1 + exp(-graph[gate]))
              return graph.times(x[0].rows[row][column], graph.apply(gate, s, slope: s * (1 - s)))
            }
          }
        ]
      }
    ).verify()
  }

  @Test func reshaping() {
    OperationCheck(
      variables: [Operand([4, 6], seed: 1)], parameters: [],
      run: { tape, x, _ in [tape.scaled(tape.reshaped(x[0], [8, 3]), by: 2)] },
      reference: { _, x, _ in [x[0].scaled(2).flat] }
    ).verify()
  }

  /// Beyond the limits of gpt-oss's SwiGLU, values stay the same.
  @Test func limitsOfClampedSwiGLU() {
    let pairs: [(gate: Float, up: Float)] = [
      (6.5, 8), (8, 6.5), (100, -100), (-20, 3), (7, 7), (2, -8), (1, 1), (9, 9), (3, 2),
    ]
    for (target, values) in Backends.results({ backend in
      let gateUp = backend.tensor(pairs.flatMap { [$0.gate, $0.up] }, [1, 18])
      let gradient = backend.gatedActivationBackward(
        gateUp, dOut: backend.tensor([Float](repeating: 1, count: 9), [1, 9]), .clampedSwiGLU)
      return [backend.floats(backend.gatedActivation(gateUp, .clampedSwiGLU)), backend.floats(gradient)]
    }) {
      for (index, pair) in pairs.enumerated() {
        let (g, u) = (Double(min(pair.gate, 7)), Double(max(-7, min(pair.up, 7))))
        let s = 1 / (1 + exp(-1.702 * g))
        let slopes = [
          pair.gate > 7 ? 0 : (u + 1) * (s + 1.702 * g * s * (1 - s)), abs(pair.up) > 7 ? 0 : g * s,
        ]
        #expect(abs(Double(values[0][index]) - g * s * (u + 1)) < 1e-5, "\(target): \(pair)")
        for (found, slope) in zip(values[1][2 * index..<2 * index + 2], slopes) {
          #expect(abs(Double(found) - slope) < 1e-5, "\(target): slope at \(pair)")
        }
      }
    }
  }

  @Test(arguments: [Activation.silu, .gelu, .sigmoid, .clampedSwiGLU, .clampedSwiGLUOfHalves], [1, 8, 43])
  func gatedMLP(activation: Activation, columns: Int) {
    OperationCheck(
      variables: [Operand([6, 2 * columns], seed: 5, range: 4)], parameters: [],
      run: { tape, x, _ in [tape.gatedMLP(x[0], activation)] },
      reference: { _, x, _ in [x[0].gated(activation).flat] }
    ).verify()
  }

  /// Far from zero, the activation is the gate itself or zero.
  @Test(arguments: [Activation.silu, .gelu])
  func gatedUnitOfLargeInputs(activation: Activation) {
    let gates: [Float] = [-1e30, -200, -90, -20, 20, 90, 200, 1e12]
    for (target, values) in Backends.results({ backend in
      let gateUp = backend.tensor(gates + [Float](repeating: 1, count: 8), [1, 16])
      let gradient = backend.gatedActivationBackward(
        gateUp, dOut: backend.tensor([Float](repeating: 1, count: 8), [1, 8]), activation)
      return [backend.floats(backend.gatedActivation(gateUp, activation)), backend.floats(gradient)]
    }) {
      for (gate, value) in zip(gates, values[0]) {
        #expect(abs(value - max(gate, 0)) < 1e-7 * abs(gate), "\(target): \(activation) of \(gate)")
      }
      for (gate, slope) in zip(gates, values[1]) where abs(gate) < 1e10 {
        #expect(abs(slope - (gate > 0 ? 1 : 0)) < 1e-6, "\(target): slope of \(activation) at \(gate)")
      }
    }
  }
}
