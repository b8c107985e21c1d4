import TensorReferences
import Tensors
import Testing

/// Rows of an embedding or head that are trained apart from the others.
struct RowReplacementTests {
  /// Neighboring rows, a single one, and the last, in no order.
  private static let rows: [Int32] = [3, 4, 5, 0, 12]

  private static func table(_ parameters: [Parameter]) -> Parameter {
    parameters[0].replacement = RowReplacement(rows: rows, parameter: parameters[1])
    return parameters[0]
  }

  /// The table with the replaced rows.
  private static func reference(_ parameters: [ReferenceMatrix]) -> ReferenceMatrix {
    var table = parameters[0]
    for (place, row) in rows.enumerated() { table.rows[Int(row)] = parameters[1].rows[place] }
    return table
  }

  @Test(arguments: [Float(1), 2.5]) func embedding(scale: Float) {
    let ids: [Int32] = [4, 1, 12, 4, 0, 7]
    OperationCheck(
      variables: [], parameters: [Operand([13, 10], seed: 1), Operand([5, 10], seed: 2)], trainable: [false, true],
      run: { tape, _, p in [tape.embedding(ids, Self.table(p), scale: scale)] },
      reference: { graph, _, p in
        let table = Self.reference(p)
        return [ReferenceMatrix(graph, ids.map { table.rows[Int($0)] }).scaled(Double(scale)).flat]
      }
    ).verify()
  }

  private static let targets: [Int32] = [4, TokenBatch.ignoredLabel, 1, 12, 0, TokenBatch.ignoredLabel, 9]

  /// Losses and gradients of the head, frozen but for some rows, with the embedding's gradient in the same rows.
  @Test(arguments: [Float(0), 3], [false, true]) func head(softcap: Float, usesPredictions: Bool) {
    let (hidden, base, own) = (Operand([7, 12], seed: 1), Operand([13, 12], seed: 2), Operand([5, 12], seed: 3))
    let weights: [Float] = [0.5, -1, 2, 0.25, 1]
    let graph = ReferenceGraph()
    let x = ReferenceMatrix(graph, hidden.values, columns: 12)
    let parts = [base, own].map { ReferenceMatrix(graph, $0.values, columns: 12) }
    let counted = Self.targets.indices.filter { Self.targets[$0] != TokenBatch.ignoredLabel }
    let losses = ReferenceMatrix(graph, counted.map { x.rows[$0] }).timesTransposed(Self.reference(parts)).crossEntropy(
      counted.map { Self.targets[$0] }, softcap: Double(softcap))
    graph.backward(losses, usesPredictions ? weights.map(Double.init) : losses.map { _ in 0.5 })
    for (target, values) in Backends.results({ backend in
      let tape = Tape(on: backend, isRecording: true)
      let input = Variable(backend.tensor(hidden.values, hidden.shape), requiresGradient: true)
      let rows = Parameter(name: "rows", value: backend.tensor(own.values, own.shape), isTrainable: true)
      let head = Self.table([Parameter(name: "head", value: backend.tensor(base.values, base.shape)), rows])
      var found: [Float] = []
      if usesPredictions {
        let predictions = tape.tokenPredictions(input, head: head, targets: Self.targets, softcap: softcap)
        predictions.gradients = weights.map { -$0 }
        found = predictions.logProbabilities.map { -$0 }
      } else {
        _ = tape.linearCrossEntropy(
          input, head: head, targets: Self.targets, gradientScale: 0.5, softcap: softcap,
          collect: { found += $1 })
      }
      tape.backward()
      #expect(head.gradient == nil)
      return [found, input.gradient.map(backend.floats) ?? [], rows.gradient.map(backend.floats) ?? []]
    }) {
      #expect(worstError(values[0], losses.map { graph[$0] }) < 2e-6, "\(target), losses")
      #expect(worstError(values[1], x.flat.map(graph.gradient)) < 1e-5, "\(target), hidden states")
      #expect(worstError(values[2], parts[1].flat.map(graph.gradient)) < 1e-5, "\(target), rows")
    }
  }
}
