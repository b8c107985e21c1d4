import TensorReferences
import Tensors
import Testing

/// An operand of an operation: a variable or a parameter.
struct Operand {
  var shape: [Int]
  var values: [Float]

  init(_ shape: [Int], seed: Int, range: Float = 1) {
    self.shape = shape
    var samples = Samples(seed)
    values = samples.floats(shape.reduce(1, *), range: range)
  }
}

/// An operation of the tape, and a reference for what it should compute.
struct OperationCheck {
  typealias Node = ReferenceGraph.Node
  var variables: [Operand]
  var parameters: [Operand]
  /// Which parameters are trained.
  var trainable: [Bool]?
  /// Whether the variables require gradients.
  var variablesRequireGradient = true
  var run: (Tape, [Variable], [Parameter]) -> [Variable]
  /// The reference: the same outputs, flattened, given variables and parameters as matrices.
  var reference: (ReferenceGraph, [ReferenceMatrix], [ReferenceMatrix]) -> [[Node]]
  /// The largest relative error compared with the reference.
  var tolerance = 1e-5
  /// The largest relative error of a directional derivative compared with central differences in float32.
  var differenceTolerance = 2e-3
  var step: Float = 1.0 / 128

  /// Outputs, then gradients of variables, then of trained parameters.
  private func evaluate(
    _ backend: any Backend, _ variables: [Operand], _ parameters: [Operand], runsBackward: Bool
  ) -> (outputs: [[Float]], gradients: [[Float]?]) {
    let tape = Tape(on: backend, isRecording: true, dropoutSeed: 7)
    let inputs = variables.map {
      Variable(backend.tensor($0.values, $0.shape), requiresGradient: variablesRequireGradient)
    }
    let weights = parameters.enumerated().map { index, operand in
      Parameter(
        name: "\(index)", value: backend.tensor(operand.values, operand.shape),
        isTrainable: trainable?[index] ?? true)
    }
    let outputs = run(tape, inputs, weights)
    let values = outputs.map { backend.floats($0.value) }
    // The values that the backward pass recomputes instead of keeping them.
    for (output, value) in zip(outputs, values) { #expect(sameBits(backend.floats(output.recompute()), value)) }
    guard runsBackward else { return (values, []) }
    for (index, output) in outputs.enumerated() {
      output.gradient = backend.tensor(upstream(index, count: values[index].count), output.value.shape)
    }
    tape.backward()
    let gradients = inputs.map { $0.gradient.map(backend.floats) } + weights.map { $0.gradient.map(backend.floats) }
    return (values, gradients)
  }

  /// The gradient of the test's loss, a weighted sum of the outputs.
  private func upstream(_ index: Int, count: Int) -> [Float] {
    var samples = Samples(1000 + index)
    return samples.floats(count)
  }

  private func loss(_ outputs: [[Float]]) -> Double {
    outputs.enumerated().reduce(0) { total, output in
      zip(output.element, upstream(output.offset, count: output.element.count)).reduce(total) {
        $0 + Double($1.0) * Double($1.1)
      }
    }
  }

  private func isExpected(_ index: Int) -> Bool {
    index < variables.count ? variablesRequireGradient : trainable?[index - variables.count] ?? true
  }

  /// Checks values and gradients for each instruction set and number of threads.
  func verify(sourceLocation: SourceLocation = #_sourceLocation) {
    let graph = ReferenceGraph()
    let nodes = (variables + parameters).map { ReferenceMatrix(graph, $0.values, columns: $0.shape.last ?? 1) }
    let expected = reference(graph, Array(nodes[..<variables.count]), Array(nodes[variables.count...]))
    let seeds = expected.enumerated().flatMap { upstream($0.offset, count: $0.element.count).map(Double.init) }
    graph.backward(expected.flatMap { $0 }, seeds)

    var derivatives: [[Float]] = []
    let results = Backends.results(sourceLocation: sourceLocation) { backend in
      let (outputs, gradients) = evaluate(backend, variables, parameters, runsBackward: true)
      for (index, gradient) in gradients.enumerated() {
        #expect((gradient != nil) == isExpected(index), "gradient \(index)", sourceLocation: sourceLocation)
      }
      derivatives = gradients.map { $0 ?? [] }
      return outputs + derivatives
    }
    let wanted =
      expected.map { $0.map { graph[$0] } }
      + nodes.enumerated().map { isExpected($0.offset) ? $0.element.flat.map(graph.gradient) : [] }
    for (target, values) in results {
      for (index, (found, right)) in zip(values, wanted).enumerated() {
        let error = worstError(found, right)
        #expect(
          error < tolerance, "\(target), array \(index) of \(expected.count) outputs and the gradients",
          sourceLocation: sourceLocation)
      }
    }
    compareWithDifferences(derivatives, sourceLocation)
  }

  /// Moves each operand along a random direction.
  private func compareWithDifferences(_ derivatives: [[Float]], _ sourceLocation: SourceLocation) {
    for index in 0..<variables.count + parameters.count where !derivatives[index].isEmpty {
      var operands = variables + parameters
      let original = operands[index].values
      // Directions close to the gradient: perpendicular to it, the derivative is small compared with its terms.
      var samples = Samples(77 + index)
      let scale = max(derivatives[index].map(abs).max() ?? 1, 1e-20)
      let direction = zip(derivatives[index], samples.floats(original.count)).map { $0 / scale + 0.1 * $1 }
      func moved(_ step: Float) -> Double {
        operands[index].values = zip(original, direction).map { $0 + step * $1 }
        let parts = (Array(operands[..<variables.count]), Array(operands[variables.count...]))
        return loss(evaluate(Backends.single, parts.0, parts.1, runsBackward: false).outputs)
      }
      let difference = (moved(step) - moved(-step)) / (2 * Double(step))
      let derivative = zip(derivatives[index], direction).reduce(0) { $0 + Double($1.0) * Double($1.1) }
      #expect(
        abs(difference - derivative) <= differenceTolerance * max(abs(derivative), abs(difference)),
        "operand \(index): differences give \(difference), the gradient \(derivative)", sourceLocation: sourceLocation)
    }
  }
}
