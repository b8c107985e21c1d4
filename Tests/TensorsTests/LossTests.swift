import Foundation
import TensorReferences
import Tensors
import Testing

/// Cross-entropy of rows of logits, and the exponential function that all kernels use.
struct LossTests {
  /// Loss, gradient, entropy and largest index of a row, in double precision.
  private func reference(_ row: [Float], target: Int, softcap: Double, smoothing: Double = 0) -> (
    loss: Double, gradient: [Double], entropy: Double
  ) {
    let logits = row.map { softcap > 0 ? softcap * tanh(Double($0) / softcap) : Double($0) }
    let largest = logits.max() ?? 0
    let total = logits.reduce(0) { $0 + exp($1 - largest) }
    let shares = logits.map { exp($0 - largest) / total }
    let gradient = shares.enumerated().map { index, share in
      let slope = softcap > 0 ? 1 - pow(logits[index] / softcap, 2) : 1
      let wanted = (index == target ? 1 - smoothing : 0) + smoothing / Double(logits.count)
      return (share - wanted) * slope
    }
    let entropy = shares.reduce(0) { $1 > 0 ? $0 - $1 * log($1) : $0 }
    let mean = logits.reduce(0, +) / Double(logits.count)
    let wanted = smoothing > 0 ? (1 - smoothing) * logits[target] + smoothing * mean : logits[target]
    return (largest + log(total) - wanted, gradient, entropy)
  }

  /// The columns of `crossEntropy`'s result: losses, weighted losses, 1 for each correct row, entropies.
  private static func found(
    _ logits: Tensor, _ targets: [Int32], _ scale: Float?, softcap: Float = 0, smoothing: Float = 0,
    on backend: any Backend
  ) -> [[Float]] {
    let found = backend.empty([targets.count, 4], .float32)
    backend.crossEntropy(
      logits, targets: targets, gradientScale: scale, softcap: softcap, smoothing: smoothing,
      weighsByProbability: false, into: found)
    let values = backend.floats(found)
    return (0..<4).map { column in targets.indices.map { values[4 * $0 + column] } }
  }

  @Test(
    arguments: [1, 2, 7, 8, 9, 1000, 1024, 1031, 5000],
    [(softcap: Float(0), smoothing: Float(0)), (30, 0), (0, 0.125), (30, 0.125)])
  func values(columns: Int, head: (softcap: Float, smoothing: Float)) {
    let (softcap, smoothing) = head
    let rows = 6
    // Rows with low and with high contrast, and one far from zero.
    let logits = (0..<rows).flatMap { row in
      var samples = Samples(row)
      return samples.floats(columns, range: [0.01, 1, 5, 20, 1, 3][row]).map { $0 + (row == 4 ? 50 : 0) }
    }
    var targets = (0..<rows).map { Int32($0 * 13 % columns) }
    let third = logits[2 * columns..<3 * columns]
    targets[2] = Int32((third.firstIndex(of: third.max() ?? 0) ?? 0) - 2 * columns)
    var correct = -1
    var entropy = -1.0
    let results = Backends.results { backend in
      let tensor = backend.tensor(logits, [rows, columns])
      let silent = Self.found(tensor, targets, nil, softcap: softcap, smoothing: smoothing, on: backend)
      let fresh = backend.tensor(logits, [rows, columns])
      let found = Self.found(fresh, targets, 0.25, softcap: softcap, smoothing: smoothing, on: backend)
      for (a, b) in zip(found, silent) { #expect(sameBits(a, b)) }
      #expect(found[0] == found[1])
      correct = Int(found[2].reduce(0, +))
      entropy = found[3].reduce(0) { $0 + Double($1) }
      return [found[0], backend.floats(fresh)]
    }
    let expected = (0..<rows).map { row in
      reference(
        Array(logits[row * columns..<(row + 1) * columns]), target: Int(targets[row]), softcap: Double(softcap),
        smoothing: Double(smoothing))
    }
    for (target, values) in results {
      for row in 0..<rows {
        // A logit of 50 is exact to 4e-6, and so are its loss and, relatively, its probability.
        let tolerance = row == 4 ? 1e-5 : 3e-6
        #expect(abs(Double(values[0][row]) - expected[row].loss) < tolerance, "\(target), loss of row \(row)")
        let gradient = Array(values[1][row * columns..<(row + 1) * columns])
        let error = worstError(gradient, expected[row].gradient.map { 0.25 * $0 })
        #expect(error < tolerance || columns == 1, "\(target), gradient of row \(row)")
        #expect(abs(Double(gradient.reduce(0, +))) < 1e-5 || softcap > 0, "a gradient's elements add up to nothing")
      }
    }
    #expect(abs(entropy - expected.reduce(0) { $0 + $1.entropy }) < 2e-5)
    let isLargest = (0..<rows).map { row in
      let values = logits[row * columns..<(row + 1) * columns]
      return values.max() == values[row * columns + Int(targets[row])]
    }
    #expect(correct == isLargest.filter { $0 }.count)
  }

  /// e^x for all relevant x: through the sigmoid above 0, and through the softmax of a dominated logit below.
  @Test func exponential() {
    let positive = (0..<4000).map { -Float($0) * 88 / 4000 }
    let negative = (0...4000).map { -20 - Float($0) * 67 / 4000 }
    for (target, values) in Backends.results({ backend in
      let gateUp = backend.tensor(positive + [Float](repeating: 1, count: positive.count), [1, 2 * positive.count])
      let logits = backend.tensor(negative.flatMap { [0, $0] }, [negative.count, 2])
      _ = Self.found(logits, [Int32](repeating: 0, count: negative.count), 1, on: backend)
      return [backend.floats(backend.gatedActivation(gateUp, .silu)), backend.floats(logits)]
    }) {
      for (x, value) in zip(positive, values[0]) where x != 0 {
        let expected = Double(x) / (1 + exp(-Double(x)))
        #expect(abs(Double(value) / expected - 1) < 4e-7, "\(target): x = \(x)")
      }
      for (index, x) in negative.enumerated() {
        let expected = exp(Double(x)) / (1 + exp(Double(x)))
        #expect(abs(Double(values[1][2 * index + 1]) / expected - 1) < 4e-7, "\(target): x = \(x)")
      }
    }
  }

  @Test func extremes() {
    let (inf, nan) = (Float.infinity, Float.nan)
    // Nine columns: a whole vector and a remainder.
    func row(_ first: [Float]) -> [Float] { first + [Float](repeating: -3, count: 9 - first.count) }
    let rows = [
      row([0, -inf]), row([5, -1e30, -200, -88]), row([1e4, -1e4]), row([-inf, -inf, -inf, 7]), row([0, nan]),
      [Float](repeating: -3, count: 8) + [nan], row([3e38, -3e38]), [Float](repeating: -1, count: 8) + [-inf],
    ]
    let targets: [Int32] = [0, 0, 1, 3, 0, 0, 0, 0]
    for (target, values) in Backends.results({ backend in
      let logits = backend.tensor(rows.flatMap { $0 }, [rows.count, 9])
      let entropies = rows.enumerated().map { index, row in
        Self.found(backend.tensor(row, [1, 9]), [targets[index]], nil, on: backend)[3][0]
      }
      let losses = Self.found(logits, targets, 1, on: backend)[0]
      return [losses, backend.floats(logits), entropies].map { $0.map { $0.isNaN ? nan : $0 } }
    }) {
      for (index, row) in rows.enumerated() {
        let (loss, gradient, entropy) = reference(row, target: Int(targets[index]), softcap: 0)
        let hasNaN = row.contains { $0.isNaN }
        #expect(values[0][index].isNaN == hasNaN, "\(target), row \(index)")
        #expect(values[2][index].isNaN == hasNaN, "\(target), entropy of row \(index)")
        if hasNaN { continue }
        #expect(abs(Double(values[0][index]) - loss) <= 1e-6 * max(1, abs(loss)), "\(target), row \(index)")
        #expect(abs(Double(values[2][index]) - entropy) < 1e-5, "\(target), entropy of row \(index)")
        let found = values[1][9 * index..<9 * index + 9]
        #expect(zip(found, gradient).allSatisfy { abs(Double($0) - $1) < 1e-6 }, "\(target), row \(index)")
      }
    }
  }

  @Test func softcap() {
    let x = Operand([3, 21], seed: 1, range: 100)
    for (target, values) in Backends.results({ backend in
      let logits = backend.tensor(x.values, x.shape)
      backend.softcap(logits, 30)
      return [backend.floats(logits)]
    }) {
      #expect(worstError(values[0], x.values.map { 30 * tanh(Double($0) / 30) }) < 5e-7, "\(target)")
    }
  }

  // MARK: The head

  struct Head: Sendable {
    var rows = 40
    var width = 24
    var vocabulary = 37
    var logitScale: Float = 1
    var softcap: Float = 0
    var trainsHead = true
    var hiddenRequiresGradient = true
  }

  // A chunk has 1024 rows.
  @Test(arguments: [
    Head(), Head(rows: 3), Head(rows: 1500, width: 5, vocabulary: 11), Head(logitScale: 0.125, softcap: 2),
    Head(trainsHead: false), Head(hiddenRequiresGradient: false),
    Head(trainsHead: false, hiddenRequiresGradient: false),
  ])
  func linearCrossEntropy(_ test: Head) {
    let hidden = Operand([test.rows, test.width], seed: 1)
    let head = Operand([test.vocabulary, test.width], seed: 2)
    var samples = Samples(3)
    let targets = (0..<test.rows).map { row in
      row > 0 && Bool.random(using: &samples)
        ? TokenBatch.ignoredLabel : Int32.random(in: 0..<Int32(test.vocabulary), using: &samples)
    }
    let counted = targets.indices.filter { targets[$0] != TokenBatch.ignoredLabel }
    let scale: Float = 0.125

    let graph = ReferenceGraph()
    let (x, w) = (
      ReferenceMatrix(graph, hidden.values, columns: test.width),
      ReferenceMatrix(graph, head.values, columns: test.width)
    )
    let states = ReferenceMatrix(graph, counted.map { x.rows[$0] }).scaled(Double(test.logitScale))
    let losses = states.timesTransposed(w).crossEntropy(counted.map { targets[$0] }, softcap: Double(test.softcap))
    graph.backward(losses, losses.map { _ in Double(scale) })

    let results = Backends.results { backend in
      let tape = Tape(on: backend, isRecording: true)
      let input = Variable(
        backend.tensor(hidden.values, hidden.shape), requiresGradient: test.hiddenRequiresGradient)
      let weight = Parameter(
        name: "head", value: backend.tensor(head.values, head.shape), isTrainable: test.trainsHead)
      var collected = [Float](repeating: -1, count: test.rows)
      let sums = tape.linearCrossEntropy(
        input, head: weight, targets: targets, gradientScale: scale, logitScale: test.logitScale,
        softcap: test.softcap
      ) { rows, losses in
        for (row, loss) in zip(rows, losses) { collected[Int(row)] = loss }
      }
      tape.backward()
      #expect(sums.count == counted.count)
      #expect(collected.indices.allSatisfy { (collected[$0] >= 0) == counted.contains($0) })
      #expect((input.gradient != nil) == test.hiddenRequiresGradient)
      #expect((weight.gradient != nil) == test.trainsHead)
      return [
        [Float(sums.loss)], input.gradient.map(backend.floats) ?? [], weight.gradient.map(backend.floats) ?? [],
        counted.map { collected[$0] }, [Float(sums.entropy), Float(sums.correct)],
      ]
    }
    for (target, values) in results {
      #expect(worstError(values[0], [losses.reduce(0) { $0 + graph[$1] }]) < 1e-6, "\(target), sum")
      #expect(worstError(values[3], losses.map { graph[$0] }) < 2e-6, "\(target), losses")
      if test.hiddenRequiresGradient {
        #expect(worstError(values[1], x.flat.map(graph.gradient)) < 1e-5, "\(target), hidden states")
      }
      if test.trainsHead { #expect(worstError(values[2], w.flat.map(graph.gradient)) < 1e-5, "\(target), head") }
    }
  }

  @Test func noTargets() {
    let backend = Backends.single
    let tape = Tape(on: backend, isRecording: true)
    let hidden = Variable(backend.tensor([1, 2, 3, 4], [2, 2]), requiresGradient: true)
    let head = Parameter(name: "head", value: backend.tensor([1, 0, 0, 1], [2, 2]), isTrainable: true)
    let sums = tape.linearCrossEntropy(
      hidden, head: head, targets: [TokenBatch.ignoredLabel, TokenBatch.ignoredLabel], gradientScale: 1)
    tape.backward()
    #expect(sums.count == 0 && sums.loss == 0)
    #expect(hidden.gradient.map(backend.floats) == [0, 0, 0, 0])
  }
}
