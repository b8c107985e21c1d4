extension Tape {
  /// RMS norm (Zhang and Sennrich 2019) of x, or of x + residual: (x + residual, normed), both `[rows, width]`.
  ///
  /// out = s / √(mean(s²) + epsilon) · (weight + offset). Gemma's offset is 1, everyone else's 0.
  public func norm(
    _ x: Variable, residual: Variable? = nil, weight: Parameter, offset: Float = 0, epsilon: Float
  ) -> (sum: Variable, out: Variable) {
    let (sum, out, inverse) = backend.rmsNorm(
      x.value, residual: residual?.value, weight: weight.value, offset: offset, epsilon: epsilon)
    let flowsOn = isRecording && (x.requiresGradient || residual?.requiresGradient == true)
    let sumVariable = Variable(sum, requiresGradient: flowsOn)
    let output = Variable(out, requiresGradient: flowsOn || (isRecording && weight.isTrainable))
    if output.requiresGradient {
      record { [unowned self] in
        guard let upstream = output.takeGradient() else {
          if let direct = sumVariable.takeGradient() { pass(direct, to: x, residual) }
          return
        }
        if weight.isTrainable {
          backend.rmsNormWeightGradient(
            sum, inverseRMS: inverse, dOut: upstream, into: weight.gradient(on: backend))
        }
        guard flowsOn else { return }
        let accumulates = sumVariable.gradient != nil
        // Held once only, or it would be copied each time.
        var gradient = sumVariable.takeGradient() ?? backend.empty(sum.shape, .float32)
        if accumulates, !gradient.isUniquelyOwned() { gradient = backend.scaled(gradient, 1) }
        backend.rmsNormBackward(
          sum, weight: weight.value, offset: offset, inverseRMS: inverse, dOut: upstream, into: gradient,
          accumulate: accumulates)
        pass(gradient, to: x, residual)
      }
    }
    return (sumVariable, output)
  }

  private func pass(_ gradient: Tensor, to x: Variable, _ residual: Variable?) {
    accumulate(gradient, into: x)
    if let residual { accumulate(gradient, into: residual) }
  }
}
