extension Tape {
  /// The gated linear unit of SwiGLU and GeGLU MLPs, activation(gate) · up (Shazeer 2020, arXiv:2002.05202). `gateUp`
  /// is `[rows, 2 n]` with gate and up side by side; the result is `[rows, n]`.
  public func gatedMLP(_ gateUp: Variable, _ activation: Activation) -> Variable {
    let source = gateUp.value
    let output = Variable(backend.gatedActivation(source, activation), requiresGradient: gateUp.requiresGradient) {
      [backend] in
      backend.gatedActivation(source, activation)
    }
    if output.requiresGradient {
      let (slot, source, value) = (output.slot, gateUp.slot, gateUp.value)
      record { [unowned self] in
        guard let upstream = slot.take() else { return }
        accumulate(backend.gatedActivationBackward(value, dOut: upstream, activation), into: source)
      }
    }
    return output
  }
}
