extension Tape {
  /// Multiplies each head of x by the sigmoid of its gate.
  ///
  /// - Parameters:
  ///   - x: `[rows, heads · head dim]`
  ///   - gates: `[rows, heads]`
  public func gatedHeads(_ x: Variable, by gates: Variable) -> Variable {
    let (before, shares) = (x.value, gates.value)
    let output = Variable(
      backend.gatedHeads(before, by: shares),
      requiresGradient: isRecording && (x.requiresGradient || gates.requiresGradient))
    if output.requiresGradient {
      let (slot, source, gateSource) = (output.slot, x.slot, gates.slot)
      record { [unowned self] in
        guard let upstream = slot.take() else { return }
        if gateSource.requiresGradient {
          accumulate(backend.headGateGradient(before, by: shares, dOut: upstream), into: gateSource)
        }
        accumulate(backend.gatedHeads(upstream, by: shares), into: source)
      }
    }
    return output
  }
}
