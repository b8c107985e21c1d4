extension Tape {
  /// RMSNorm (Zhang and Sennrich 2019, arXiv:1910.07467) of x, or of x + residual.
  ///
  /// out = sum / √(mean(sum²) + epsilon) · (weight + offset). The offset is 1 for Gemma and 0 for other families.
  /// - Returns: the sum x + residual and its norm, both `[rows, hidden size]`.
  public func rmsNorm(
    _ x: Variable, residual: Variable? = nil, weight: Parameter, offset: Float = 0, epsilon: Float
  ) -> (sum: Variable, out: Variable) {
    let (sum, out, inverse) = backend.rmsNorm(
      x.value, residual: residual?.value, weight: weight.value, offset: offset, epsilon: epsilon)
    let inputsNeedGradient = isRecording && (x.requiresGradient || residual?.requiresGradient == true)
    let needsGradient = inputsNeedGradient || (isRecording && weight.isTrainable)
    let sumVariable = Variable(sum, requiresGradient: inputsNeedGradient)
    let output = Variable(out, requiresGradient: needsGradient) { [backend] in
      backend.recomputedRMSNorm(sum, weight: weight.value, offset: offset, inverseRMS: inverse)
    }
    if output.requiresGradient {
      let (sumSlot, slot) = (sumVariable.slot, output.slot)
      let sources = [x.slot] + (residual.map { [$0.slot] } ?? [])
      record { [unowned self] in
        guard let upstream = slot.take() else {
          // Only the sum was used.
          if let direct = sumSlot.take() { for source in sources { accumulate(direct, into: source) } }
          return
        }
        if weight.isTrainable {
          backend.rmsNormWeightGradient(
            sum, inverseRMS: inverse, dOut: upstream, into: weight.gradient(on: backend))
        }
        guard inputsNeedGradient else { return }
        let accumulates = sumSlot.gradient != nil
        // Taking it out of the slot leaves a single reference; otherwise it would be copied every time.
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
