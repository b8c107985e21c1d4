extension Tape {
  /// x + y, element by element.
  public func add(_ x: Variable, _ y: Variable) -> Variable {
    let sum = backend.scaled(x.value, 1)
    backend.add(y.value, scale: 1, into: sum)
    let output = Variable(sum, requiresGradient: isRecording && (x.requiresGradient || y.requiresGradient))
    if output.requiresGradient {
      let (slot, sources) = (output.slot, [x.slot, y.slot])
      record { [unowned self] in
        guard let upstream = slot.take() else { return }
        for source in sources { accumulate(upstream, into: source) }
      }
    }
    return output
  }

  /// x · factor; x itself if the factor is 1.
  public func scaled(_ x: Variable, by factor: Float) -> Variable {
    guard factor != 1 else { return x }
    let output =
      isRecomputing
      ? Variable(requiresGradient: x.requiresGradient) { [backend] in backend.scaled(x.value, factor) }
      : Variable(
        backend.scaled(x.value, factor), requiresGradient: x.requiresGradient,
        recomputed: { [backend, recompute = x.recompute] in backend.scaled(recompute(), factor) })
    if output.requiresGradient {
      let (slot, source) = (output.slot, x.slot)
      record { [unowned self] in
        guard let upstream = slot.take() else { return }
        accumulate(backend.scaled(upstream, factor), into: source)
      }
    }
    return output
  }
}
