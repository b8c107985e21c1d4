extension Tape {
  /// RMS norm (Zhang and Sennrich 2019) of x, or of x + residual: (x + residual, normed), both `[rows, width]`.
  ///
  /// out = s / √(mean(s²) + epsilon) · (weight + offset). Gemma's offset is 1, everyone else's 0.
  public func rmsNorm(
    _ x: Variable, residual: Variable? = nil, weight: Parameter, offset: Float = 0, epsilon: Float
  ) -> (sum: Variable, out: Variable) {
    let (sum, out, inverse) = backend.rmsNorm(
      x.value, residual: residual?.value, weight: weight.value, offset: offset, epsilon: epsilon)
    let flowsOn = isRecording && (x.requiresGradient || residual?.requiresGradient == true)
    let sumVariable = Variable(sum, requiresGradient: flowsOn)
    let output = Variable(out, requiresGradient: flowsOn || (isRecording && weight.isTrainable)) { [backend] in
      backend.recomputedRMSNorm(sum, weight: weight.value, offset: offset, inverseRMS: inverse)
    }
    if output.requiresGradient {
      let (sumSlot, slot) = (sumVariable.slot, output.slot)
      let sources = [x.slot] + (residual.map { [$0.slot] } ?? [])
      record { [unowned self] in
        guard let upstream = slot.take() else {
          if let direct = sumSlot.take() { for source in sources { accumulate(direct, into: source) } }
          return
        }
        if weight.isTrainable {
          backend.rmsNormWeightGradient(
            sum, inverseRMS: inverse, dOut: upstream, into: weight.gradient(on: backend))
        }
        guard flowsOn else { return }
        let accumulates = sumSlot.gradient != nil
        // Held once only, or it would be copied each time.
        var gradient = sumSlot.take() ?? backend.empty(sum.shape, .float32)
        if accumulates, !gradient.isUniquelyOwned() { gradient = backend.scaled(gradient, 1) }
        backend.rmsNormBackward(
          sum, weight: weight.value, offset: offset, inverseRMS: inverse, dOut: upstream, into: gradient,
          accumulate: accumulates)
        for source in sources { accumulate(gradient, into: source) }
      }
    }
    return (sumVariable, output)
  }
}
