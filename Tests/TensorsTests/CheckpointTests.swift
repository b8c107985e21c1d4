import TensorReferences
import Tensors
import Testing

/// A decoder layer with everything that recomputation has to repeat.
struct DecoderLayer {
  let shape = AttentionShape(attentionHeads: 4, keyValueHeads: 2, headDim: 16, window: 9, scale: 0.25)
  let weights: [Parameter]
  let adapters: [Parameter]
  let norms: [Parameter]
  let head: Parameter
  let dropout: Float

  init(on backend: any Backend, trainsWeights: Bool, dropout: Float = 0.2) {
    func parameter(_ shape: [Int], _ seed: Int, isTrainable: Bool) -> Parameter {
      let operand = Operand(shape, seed: seed, range: 0.5)
      return Parameter(name: "\(seed)", value: backend.tensor(operand.values, shape), isTrainable: isTrainable)
    }
    weights = [[64, 32], [32, 32], [32, 32], [32, 64], [96, 32], [32, 48]].enumerated().map {
      parameter($1, 10 + $0, isTrainable: trainsWeights)
    }
    adapters = [[4, 32], [64, 4], [4, 48], [32, 4]].enumerated().map { parameter($1, 20 + $0, isTrainable: true) }
    norms = [[32], [32], [16], [16]].enumerated().map { parameter($1, 30 + $0, isTrainable: trainsWeights) }
    head = parameter([11, 32], 40, isTrainable: false)
    self.dropout = dropout
  }

  var parameters: [Parameter] { weights + adapters + norms }

  private func body(_ tape: Tape, _ x: Variable, starts: [Int]) -> Variable {
    let normed = tape.rmsNorm(x, weight: norms[0], epsilon: 1e-5).out
    let query = LoRAUpdate(a: adapters[0], b: adapters[1], scale: 2, dropout: dropout)
    let qkv = tape.linear(
      normed,
      [Linear(weight: weights[0], lora: query), Linear(weight: weights[1]), Linear(weight: weights[2])])
    let positioned = tape.rotaryEmbedding(
      qkv, shape: shape, angles: nil, norms: QueryKeyNorms(query: norms[2], key: norms[3], offset: 0, epsilon: 1e-6))
    let attended = tape.attention(positioned, starts: starts, shape: shape)
    let branch = tape.linear(attended, [Linear(weight: weights[3])])
    let (sum, second) = tape.rmsNorm(branch, residual: x, weight: norms[1], epsilon: 1e-5)
    let gated = tape.gatedMLP(tape.linear(second, [Linear(weight: weights[4])]), .silu)
    let down = LoRAUpdate(a: adapters[2], b: adapters[3], scale: 2, dropout: dropout)
    let output = tape.linear(gated, [Linear(weight: weights[5], lora: down)])
    return tape.rmsNorm(output, residual: sum, weight: norms[0], epsilon: 1e-5).sum
  }

  /// Two layers, so that the second one's dropout masks depend on the first one's.
  func run(_ tape: Tape, _ x: Variable, starts: [Int], checkpoints: Bool) -> Variable {
    (0..<2).reduce(x) { input, _ in
      guard checkpoints else { return body(tape, input, starts: starts) }
      return tape.checkpoint([input]) { tape, inputs in [body(tape, inputs[0], starts: starts)] }[0]
    }
  }
}

/// Gradient checkpointing: layers that are recomputed in the backward pass.
struct CheckpointTests {
  @Test(arguments: [true, false], [(0, .float32), (0.2, .float32), (0.2, .bfloat16)] as [(Float, Precision)])
  func gradientsHaveTheSameBits(trainsWeights: Bool, arithmetic: (dropout: Float, precision: Precision)) {
    let x = Operand([40, 32], seed: 1)
    let upstream = Operand([40, 32], seed: 2)
    let results = Backends.results { backend in
      let found = [false, true].map { checkpoints in
        let layer = DecoderLayer(on: backend, trainsWeights: trainsWeights, dropout: arithmetic.dropout)
        let tape = Tape(on: backend, isRecording: true, dropoutSeed: 5, precision: arithmetic.precision)
        let input = Variable(backend.tensor(x.values, x.shape), requiresGradient: true)
        let output = layer.run(tape, input, starts: [0, 7, 40], checkpoints: checkpoints)
        output.gradient = backend.tensor(upstream.values, upstream.shape)
        tape.backward()
        return [backend.floats(output.value)]
          + ([input.gradient] + layer.parameters.map(\.gradient)).map { $0.map(backend.floats) ?? [] }
      }
      for (index, (without, with)) in zip(found[0], found[1]).enumerated() {
        #expect(sameBits(without, with), "array \(index)")
      }
      #expect(found[0].filter { !$0.isEmpty }.count == (trainsWeights ? 16 : 6))
      return found[1]
    }
    for (_, values) in results { #expect(values.allSatisfy { $0.allSatisfy(\.isFinite) }) }
  }

  /// Inputs without gradients, outputs that nothing depends on, and an input that is also an output.
  @Test func unusedInputsAndOutputs() {
    let backend = Backends.single
    let gradients = [false, true].map { checkpoints in
      let tape = Tape(on: backend, isRecording: true)
      let x = Variable(backend.tensor([1, 2, 3, 4], [2, 2]), requiresGradient: true)
      let frozen = Variable(backend.tensor([1, 1, 0, 2], [2, 2]))
      let weight = Parameter(name: "w", value: backend.tensor([1, 2, 3, 4], [2, 2]), isTrainable: true)
      let body: (Tape, [Variable]) -> [Variable] = { tape, inputs in
        let norm = Parameter(name: "n", value: backend.tensor([1, 1], [2]))
        let (sum, unused) = tape.rmsNorm(inputs[0], residual: inputs[1], weight: norm, epsilon: 1e-6)
        return [tape.linear(sum, [Linear(weight: weight)]), unused, inputs[0]]
      }
      let outputs = checkpoints ? tape.checkpoint([x, frozen], body) : body(tape, [x, frozen])
      outputs[0].gradient = backend.tensor([1, 0, 2, 1], [2, 2])
      tape.backward()
      #expect(frozen.gradient == nil)
      return [x.gradient, weight.gradient].map { $0.map(backend.floats) ?? [] }
    }
    #expect(gradients[0] == gradients[1])
    #expect(gradients[0].allSatisfy { $0.count == 4 })
  }

  /// A layer's last product, and what scales it, is not computed again: only the next layer reads it.
  @Test func outputsThatNothingReadsStayDeferred() {
    let backend = Backends.single
    func parameter(_ values: [Float]) -> Parameter {
      Parameter(name: "w", value: backend.tensor(values, [2, 2]), isTrainable: true)
    }
    let (first, last) = (parameter([1, 2, 3, 4]), parameter([4, 3, 2, 1]))
    var again: [Variable] = []
    let tape = Tape(on: backend, isRecording: true)
    let x = Variable(backend.tensor([1, 2, 3, 4], [2, 2]), requiresGradient: true)
    let outputs = tape.checkpoint([x]) { tape, inputs in
      let gated = tape.gatedMLP(tape.linear(inputs[0], [Linear(weight: first), Linear(weight: first)]), .silu)
      let down = tape.linear(gated, [Linear(weight: last)])
      again = [gated, down, tape.scaled(down, by: 2)]
      return [again[2]]
    }
    #expect(again.map(\.isComputed) == [true, true, true])
    outputs[0].gradient = backend.tensor([1, 0, 2, 1], [2, 2])
    tape.backward()
    #expect(again.map(\.isComputed) == [true, false, false])
    #expect(x.gradient != nil && first.gradient != nil && last.gradient != nil)
  }

  @Test func nothingIsRecordedWithoutRecording() {
    let backend = CPUBackend(threads: 1)
    let layer = DecoderLayer(on: backend, trainsWeights: true)
    let x = Operand([12, 32], seed: 1)
    let tape = Tape(on: backend, isRecording: false)
    let before = backend.memoryStatistics.inUse
    let values = [true, false].map { checkpoints in
      backend.floats(
        layer.run(
          tape, Variable(backend.tensor(x.values, x.shape)), starts: [0, 12], checkpoints: checkpoints
        ).value)
    }
    #expect(sameBits(values[0], values[1]))
    #expect(backend.memoryStatistics.inUse == before)
  }
}
