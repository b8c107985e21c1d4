import TensorReferences
import Tensors
import Testing

/// Linear layers with biases, LoRA updates and dropout.
struct LinearTests {
  @Test(arguments: [1, 4, 5, 17, 70], [true, false])
  func weightAndBias(rows: Int, isTrained: Bool) {
    OperationCheck(
      variables: [Operand([rows, 45], seed: 1)], parameters: [Operand([39, 45], seed: 2), Operand([39], seed: 3)],
      trainable: [isTrained, isTrained],
      run: { tape, x, p in [tape.linear(x[0], [Linear(weight: p[0], bias: p[1])])] },
      reference: { _, x, p in [x[0].timesTransposed(p[0]).plus(row: p[1].flat).flat] }
    ).verify()
  }

  @Test func trainsOnlyTheWeight() {
    OperationCheck(
      variables: [Operand([9, 21], seed: 1)], parameters: [Operand([10, 21], seed: 2)],
      variablesRequireGradient: false,
      run: { tape, x, p in [tape.linear(x[0], [Linear(weight: p[0])])] },
      reference: { _, x, p in [x[0].timesTransposed(p[0]).flat] }
    ).verify()
  }

  @Test(arguments: [1, 3, 23], [2, 0.015625, 0.3] as [Float])
  func lora(rows: Int, scale: Float) {
    OperationCheck(
      variables: [Operand([rows, 40], seed: 1)],
      parameters: [Operand([33, 40], seed: 2, range: 0.1), Operand([4, 40], seed: 3), Operand([33, 4], seed: 4)],
      trainable: [false, true, true],
      run: { tape, x, p in
        [tape.linear(x[0], [Linear(weight: p[0], lora: LoRAUpdate(a: p[1], b: p[2], scale: scale))])]
      },
      reference: { _, x, p in
        let update = x[0].timesTransposed(p[1]).scaled(Double(scale)).timesTransposed(p[2])
        return [x[0].timesTransposed(p[0]).plus(update).flat]
      }
    ).verify()
  }

  /// The bias of B is scaled as the update is, and dropout doesn't concern it.
  @Test(arguments: [1, 19]) func loraWithBias(rows: Int) {
    OperationCheck(
      variables: [Operand([rows, 24], seed: 1)],
      parameters: [
        Operand([17, 24], seed: 2), Operand([17], seed: 3), Operand([4, 24], seed: 4), Operand([17, 4], seed: 5),
        Operand([17], seed: 6), Operand([9, 24], seed: 7),
      ],
      trainable: [false, false, true, true, true, false],
      run: { tape, x, p in
        let update = LoRAUpdate(a: p[2], b: p[3], scale: 0.75, bias: p[4])
        return [tape.linear(x[0], [Linear(weight: p[0], bias: p[1], lora: update), Linear(weight: p[5])])]
      },
      reference: { graph, x, p in
        let update = x[0].timesTransposed(p[2]).timesTransposed(p[3]).plus(row: p[4].flat).scaled(0.75)
        let first = x[0].timesTransposed(p[0]).plus(row: p[1].flat).plus(update)
        return [first.beside(x[0].timesTransposed(p[5])).flat]
      }
    ).verify()
  }

  /// Initial factors are subtracted, and never trained.
  @Test(arguments: [Float(0), 0.3]) func initialFactorsAreSubtracted(dropout: Float) {
    let (a, b) = (Operand([3, 32], seed: 5), Operand([20, 3], seed: 6))
    let mask = dropout > 0 ? mask(11, 32, rate: dropout)[0].map(Double.init) : [Double](repeating: 1, count: 11 * 32)
    OperationCheck(
      variables: [Operand([11, 32], seed: 1)],
      parameters: [Operand([20, 32], seed: 2), Operand([3, 32], seed: 3), Operand([20, 3], seed: 4)],
      trainable: [false, true, true],
      run: { tape, x, p in
        let initial = LoRAUpdate.Factors(
          a: tape.backend.tensor(a.values, a.shape), b: tape.backend.tensor(b.values, b.shape))
        let update = LoRAUpdate(a: p[1], b: p[2], scale: 0.5, dropout: dropout, initial: initial)
        return [tape.linear(x[0], [Linear(weight: p[0], lora: update)])]
      },
      reference: { graph, x, p in
        let first = ReferenceMatrix(graph, a.values, columns: 32)
        let second = ReferenceMatrix(graph, b.values, columns: 3)
        let own = x[0].masked(mask).timesTransposed(p[1]).timesTransposed(p[2]).scaled(0.5)
        let subtracted = x[0].timesTransposed(first).timesTransposed(second).scaled(-0.5)
        return [x[0].timesTransposed(p[0]).plus(own).plus(subtracted).flat]
      }
    ).verify()
  }

  @Test func loraWithoutInputGradient() {
    OperationCheck(
      variables: [Operand([11, 16], seed: 1)],
      parameters: [Operand([12, 16], seed: 2), Operand([3, 16], seed: 3), Operand([12, 3], seed: 4)],
      trainable: [false, true, true], variablesRequireGradient: false,
      run: { tape, x, p in
        [tape.linear(x[0], [Linear(weight: p[0], lora: LoRAUpdate(a: p[1], b: p[2], scale: 0.5))])]
      },
      reference: { _, x, p in
        let update = x[0].timesTransposed(p[1]).scaled(0.5).timesTransposed(p[2])
        return [x[0].timesTransposed(p[0]).plus(update).flat]
      }
    ).verify()
  }

  @Test func severalLayersSideBySide() {
    // Query with an adapter and a bias, key trained, value frozen with an adapter whose B alone is trained.
    OperationCheck(
      variables: [Operand([19, 36], seed: 1)],
      parameters: [
        Operand([50, 36], seed: 2), Operand([50], seed: 3), Operand([5, 36], seed: 4), Operand([50, 5], seed: 5),
        Operand([7, 36], seed: 6), Operand([32, 36], seed: 7), Operand([2, 36], seed: 8), Operand([32, 2], seed: 9),
      ],
      trainable: [false, true, true, true, true, false, false, true],
      run: { tape, x, p in
        [
          tape.linear(
            x[0],
            [
              Linear(weight: p[0], bias: p[1], lora: LoRAUpdate(a: p[2], b: p[3], scale: 2)),
              Linear(weight: p[4]), Linear(weight: p[5], lora: LoRAUpdate(a: p[6], b: p[7], scale: 0.25)),
            ])
        ]
      },
      reference: { _, x, p in
        func update(_ a: ReferenceMatrix, _ b: ReferenceMatrix, _ scale: Double) -> ReferenceMatrix {
          x[0].timesTransposed(a).scaled(scale).timesTransposed(b)
        }
        let query = x[0].timesTransposed(p[0]).plus(row: p[1].flat).plus(update(p[2], p[3], 2))
        let value = x[0].timesTransposed(p[5]).plus(update(p[6], p[7], 0.25))
        return [query.beside(x[0].timesTransposed(p[4])).beside(value).flat]
      }
    ).verify()
  }

  @Test func gradientsAccumulateOverBatches() {
    let backend = Backends.single
    let (x, w) = (Operand([6, 20], seed: 1), Operand([9, 20], seed: 2))
    let weight = Parameter(name: "w", value: backend.tensor(w.values, w.shape), isTrainable: true)
    let bias = Parameter(name: "b", value: backend.tensor([Float](repeating: 0, count: 9), [9]), isTrainable: true)
    func batch() -> [[Float]] {
      let tape = Tape(on: backend, isRecording: true)
      let y = tape.linear(Variable(backend.tensor(x.values, x.shape)), [Linear(weight: weight, bias: bias)])
      y.gradient = backend.tensor(Operand([6, 9], seed: 3).values, [6, 9])
      tape.backward()
      return [weight, bias].map { $0.gradient.map(backend.floats) ?? [] }
    }
    let once = batch()
    let twice = batch()
    for (one, two) in zip(once, twice) { #expect(sameBits(two, one.map { 2 * $0 })) }
  }

  // MARK: Dropout

  /// A matrix of ones after dropout at `rate`, with the mask of a tape's first layer and the seed of the checks.
  private func mask(_ rows: Int, _ columns: Int, rate: Float, seed: UInt64 = 7, layers: Int = 1) -> [[Float]] {
    let backend = Backends.single
    let identity = (0..<columns * columns).map { Float($0 % (columns + 1) == 0 ? 1 : 0) }
    func parameter(_ values: [Float]) -> Parameter {
      Parameter(name: "p", value: backend.tensor(values, [columns, columns]))
    }
    let layer = Linear(
      weight: parameter([Float](repeating: 0, count: columns * columns)),
      lora: LoRAUpdate(a: parameter(identity), b: parameter(identity), scale: 1, dropout: rate))
    let tape = Tape(on: backend, isRecording: true, dropoutSeed: seed)
    let x = Variable(backend.tensor([Float](repeating: 1, count: rows * columns), [rows, columns]))
    return (0..<layers).map { _ in backend.floats(tape.linear(x, [layer]).value) }
  }

  @Test(arguments: [2, 31])
  func loraWithDropout(rows: Int) {
    let rate: Float = 0.3
    let mask = mask(rows, 32, rate: rate)[0].map(Double.init)
    #expect(Set(mask) == [0, Double(1 / (1 - rate))])
    OperationCheck(
      variables: [Operand([rows, 32], seed: 1)],
      parameters: [Operand([24, 32], seed: 2), Operand([4, 32], seed: 3), Operand([24, 4], seed: 4)],
      run: { tape, x, p in
        let update = LoRAUpdate(a: p[1], b: p[2], scale: 0.5, dropout: rate)
        return [tape.linear(x[0], [Linear(weight: p[0], lora: update)])]
      },
      reference: { _, x, p in
        let update = x[0].masked(mask).timesTransposed(p[1]).scaled(0.5).timesTransposed(p[2])
        return [x[0].timesTransposed(p[0]).plus(update).flat]
      }
    ).verify()
  }

  @Test func masksOfATapeAreIndependent() {
    let masks = mask(64, 64, rate: 0.5, layers: 4).map { $0.map { $0 != 0 } }
    let count = Double(masks[0].count)
    for (index, mask) in masks.enumerated() {
      let share = Double(mask.filter { $0 }.count) / count
      #expect(abs(share - 0.5) < 4 * 0.5 / count.squareRoot(), "share kept")
      for other in masks[..<index] {
        // Also when shifted against each other, since masks come from a counter-based generator.
        for shift in 0..<4 {
          let same = zip(mask, other.dropFirst(shift)).filter { $0 == $1 }.count
          let shifted = zip(mask.dropFirst(shift), other).filter { $0 == $1 }.count
          for matches in [same, shifted] {
            #expect(abs(Double(matches) / count - 0.5) < 4.5 * 0.5 / count.squareRoot(), "masks agree too often")
          }
        }
      }
    }
  }

  @Test func masksDependOnlyOnTheSeed() {
    #expect(mask(8, 32, rate: 0.1, seed: 3) == mask(8, 32, rate: 0.1, seed: 3))
    #expect(mask(8, 32, rate: 0.1, seed: 3) != mask(8, 32, rate: 0.1, seed: 4))
    #expect(mask(8, 32, rate: 0.1, seed: 0, layers: 2)[0] != mask(8, 32, rate: 0.1, seed: 0, layers: 2)[1])
  }

  @Test(arguments: [Float(0.05), 0.1, 0.5, 0.9])
  func dropoutKeepsTheExpectedShare(rate: Float) {
    let count = 200_000
    let ones = [Float](repeating: 1, count: count)
    let results = Backends.results { backend in
      let into = backend.tensor(ones, [count])
      backend.dropout(backend.tensor(ones, [count]), rate: rate, key: 42, into: into, accumulate: true)
      let fresh = backend.empty([count], .float32)
      backend.dropout(backend.tensor(ones, [count]), rate: rate, key: 42, into: fresh, accumulate: false)
      return [backend.floats(fresh), backend.floats(into)]
    }
    for (target, values) in results {
      #expect(sameBits(values[1], values[0].map { $0 + 1 }), "\(target): adding")
      #expect(sameBits(values[0], results[0].values[0]), "\(target): the mask")
      let kept = Double(values[0].filter { $0 == 1 / (1 - rate) }.count)
      #expect(values[0].allSatisfy { $0 == 0 || $0 == 1 / (1 - rate) })
      let deviation = (Double(rate) * Double(1 - rate) / Double(count)).squareRoot()
      #expect(abs(kept / Double(count) - Double(1 - rate)) < 4 * deviation)
    }
  }

  @Test func evaluationAppliesNoDropout() {
    let backend = Backends.single
    let x = Operand([5, 32], seed: 1)
    let parameters = [Operand([8, 32], seed: 2), Operand([2, 32], seed: 3), Operand([8, 2], seed: 4)].map {
      Parameter(name: "p", value: backend.tensor($0.values, $0.shape))
    }
    let outputs = [Float(0), 0.5].map { rate in
      let update = LoRAUpdate(a: parameters[1], b: parameters[2], scale: 1, dropout: rate)
      let tape = Tape(on: backend, isRecording: false)
      let y = tape.linear(
        Variable(backend.tensor(x.values, x.shape)), [Linear(weight: parameters[0], lora: update)])
      return backend.floats(y.value)
    }
    #expect(sameBits(outputs[0], outputs[1]))
  }
}
