import Essentials

extension Tape {
  /// Multiplies each head of x by the sigmoid of its gate.
  ///
  /// - Parameters:
  ///   - x: `[rows, heads · head dim]`
  ///   - gates: `[rows, heads]`
  public func gatedHeads(_ x: Variable, by gates: Variable) -> Variable {
    let heads = [x.value.rows * gates.value.columns, x.value.columns / max(1, gates.value.columns)]
    let shares = backend.floats(gates.value).map { 1 / (1 + exp(-$0)) }
    let value = backend.scaled(x.value, 1)
    backend.scaleRows(value.reshaped(heads), by: shares)
    let output = Variable(value, requiresGradient: isRecording && (x.requiresGradient || gates.requiresGradient))
    if output.requiresGradient {
      let (slot, source, gateSource, before) = (output.slot, x.slot, gates.slot, x.value)
      let gateShape = gates.value.shape
      record { [unowned self] in
        guard let upstream = slot.take() else { return }
        if gateSource.requiresGradient {
          let dots = backend.rowDots(upstream.reshaped(heads), before.reshaped(heads))
          accumulate(
            backend.tensor(zip(dots, shares).map { $0 * $1 * (1 - $1) }, gateShape), into: gateSource)
        }
        let gradient = backend.scaled(upstream, 1)
        backend.scaleRows(gradient.reshaped(heads), by: shares)
        accumulate(gradient, into: source)
      }
    }
    return output
  }
}
