/// The weights of linear attention by the gated delta rule, besides its projections.
public struct DeltaWeights {
  /// `[columns, 1, length]`: the convolution of queries, keys and values.
  public let convolution: Parameter
  /// `[value heads]`: the logarithm of the decay's rate.
  public let aLog: Parameter
  /// `[value heads]`: added to what the decay is computed from.
  public let dtBias: Parameter
  /// `[value dim]`: of the norm of the outputs.
  public let norm: Parameter
  /// Added to the mean square in that norm.
  public let epsilon: Float

  /// Creates weights.
  public init(convolution: Parameter, aLog: Parameter, dtBias: Parameter, norm: Parameter, epsilon: Float) {
    self.convolution = convolution
    self.aLog = aLog
    self.dtBias = dtBias
    self.norm = norm
    self.epsilon = epsilon
  }

  var areTrainable: Bool {
    convolution.isTrainable || aLog.isTrainable || dtBias.isTrainable || norm.isTrainable
  }
}

extension Tape {
  /// Linear attention as in Qwen3.5: a short convolution and SiLU on queries, keys and values, norms of queries and keys,
  /// the gated delta rule, and a norm of its outputs, times silu(z).
  ///
  /// - Parameters:
  ///   - input: queries, keys, values, z, b and a side by side.
  ///   - starts: as ``TokenBatch/sequenceStarts``.
  /// - Returns: `[rows, value columns]`
  public func gatedDeltaRule(
    _ input: Variable, _ weights: DeltaWeights, shape: DeltaShape, taps: ConvolutionTaps, starts: [Int]
  ) -> Variable {
    let rule = GatedDeltaRule(joined: input.value, weights: weights, shape: shape, backend: backend)
    let attended = rule.attended(rule.activated(taps: taps), starts: starts)
    let needsGradient = isRecording && (input.requiresGradient || weights.areTrainable)
    let output = Variable(rule.normed(attended), requiresGradient: needsGradient) { rule.normed(attended) }
    if needsGradient {
      let (slot, source) = (output.slot, input.slot)
      record { [unowned self] in
        guard let upstream = slot.take() else { return }
        accumulate(rule.backward(upstream, attended: attended, taps: taps, starts: starts), into: source)
      }
    }
    return output
  }
}

/// The steps of linear attention on the joined projections of some rows.
package struct GatedDeltaRule {
  let joined: Tensor
  let weights: DeltaWeights
  let shape: DeltaShape
  let backend: any Backend

  package init(joined: Tensor, weights: DeltaWeights, shape: DeltaShape, backend: any Backend) {
    (self.joined, self.weights, self.shape, self.backend) = (joined, weights, shape, backend)
  }

  private var rows: Int { joined.rows }
  private var qkv: Columns { Columns(joined, 0..<shape.columns) }
  private var zRange: Range<Int> { shape.columns..<shape.columns + shape.valueColumns }
  private var baRange: Range<Int> { zRange.upperBound..<zRange.upperBound + 2 * shape.valueHeads }

  /// The projected queries, keys and values, which the convolution reads.
  package var projected: Tensor { copy(qkv, columns: shape.columns) }

  /// Queries, keys and values before their norms.
  private func convolved(_ inputs: Tensor, _ taps: ConvolutionTaps) -> Tensor {
    backend.convolution(inputs, weight: weights.convolution.value, bias: nil, taps: taps)
  }

  /// Queries, keys and values as the rule takes them, queries and keys normed.
  package func activated(_ inputs: Tensor? = nil, taps: ConvolutionTaps) -> Tensor {
    let active = backend.silu(convolved(inputs ?? projected, taps))
    _ = normQueriesAndKeys(active)
    return active
  }

  /// L2 norms of queries and keys in place, by way of RMS norms; queries are scaled by 1/√key dim.
  private func normQueriesAndKeys(_ active: Tensor) -> [(columns: Range<Int>, weight: Tensor, inverse: Tensor)] {
    let size = Float(shape.keyDim)
    let keys = shape.keyColumns
    return [(0..<keys, 1 / size), (keys..<2 * keys, 1 / size.squareRoot())].map { range, factor in
      let weight = backend.tensor([Float](repeating: factor, count: shape.keyDim), [shape.keyDim])
      let inverse = backend.headNorm(
        Columns(active, range), heads: shape.keyHeads, weight: weight, offset: 0, epsilon: 1e-6 / size)
      return (range, weight, inverse)
    }
  }

  private var gates: Tensor {
    backend.deltaGates(Columns(joined, baRange), aLog: weights.aLog.value, dtBias: weights.dtBias.value)
  }

  /// What the rule computes. `state` is that of earlier tokens, and is changed.
  package func attended(_ active: Tensor, starts: [Int], state: Tensor? = nil) -> Tensor {
    backend.deltaRule(active, gates: gates, starts: starts, shape: shape, state: state)
  }

  /// The outputs' norm, times silu(z).
  package func normed(_ attended: Tensor) -> Tensor { backend.gatedActivation(gateAndNormed(attended).joined, .silu) }

  /// z and the normed outputs side by side, as a gated unit takes them.
  private func gateAndNormed(_ attended: Tensor) -> (joined: Tensor, inverse: Tensor) {
    let columns = shape.valueColumns
    let pair = backend.empty([rows, 2 * columns], .float32)
    let up = Columns(pair, columns..<2 * columns)
    backend.copyRows(Columns(joined, zRange), 0, to: Columns(pair, 0..<columns), 0, count: rows)
    backend.copyRows(Columns(attended), 0, to: up, 0, count: rows)
    let inverse = backend.headNorm(
      up, heads: shape.valueHeads, weight: weights.norm.value, offset: 0, epsilon: weights.epsilon)
    return (pair, inverse)
  }

  private func copy(_ columns: Columns, columns count: Int) -> Tensor {
    let result = backend.empty([columns.rows, count], .float32)
    backend.copyRows(columns, 0, to: Columns(result), 0, count: columns.rows)
    return result
  }

  private func gradient(_ parameter: Parameter) -> Tensor? {
    parameter.isTrainable ? parameter.gradient(on: backend) : nil
  }

  /// The gradient of `joined`; adds those of the weights.
  func backward(_ upstream: Tensor, attended: Tensor, taps: ConvolutionTaps, starts: [Int]) -> Tensor {
    let result = backend.empty(joined.shape, .float32)
    let columns = shape.valueColumns
    let (pair, inverse) = gateAndNormed(attended)
    let dPair = backend.gatedActivationBackward(pair, dOut: upstream, .silu)
    backend.copyRows(Columns(dPair, 0..<columns), 0, to: Columns(result, zRange), 0, count: rows)
    let dAttended = copy(Columns(dPair, columns..<2 * columns), columns: columns)
    backend.headNormBackward(
      Columns(attended), heads: shape.valueHeads, weight: weights.norm.value, offset: 0, inverseRMS: inverse,
      dx: Columns(dAttended), weightGradient: gradient(weights.norm))

    let inputs = projected
    let raw = convolved(inputs, taps)
    let before = backend.silu(raw)
    let active = backend.scaled(before, 1)
    let norms = normQueriesAndKeys(active)
    let (dActive, dGates) = backend.deltaRuleBackward(
      active, gates: gates, dOut: dAttended, starts: starts, shape: shape)
    backend.deltaGatesBackward(
      Columns(joined, baRange), aLog: weights.aLog.value, dtBias: weights.dtBias.value, dGates: dGates,
      into: Columns(result, baRange), dALog: gradient(weights.aLog), dDtBias: gradient(weights.dtBias))
    for norm in norms {
      backend.headNormBackward(
        Columns(before, norm.columns), heads: shape.keyHeads, weight: norm.weight, offset: 0, inverseRMS: norm.inverse,
        dx: Columns(dActive, norm.columns), weightGradient: nil)
    }
    let dInputs = backend.convolutionBackward(
      inputs, weight: weights.convolution.value, taps: taps, dOut: backend.siluBackward(raw, dOut: dActive),
      dWeight: gradient(weights.convolution), dBias: nil)
    backend.copyRows(Columns(dInputs), 0, to: Columns(result, 0..<shape.columns), 0, count: rows)
    return result
  }
}
