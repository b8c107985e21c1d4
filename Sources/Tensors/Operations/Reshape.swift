extension Tape {
  /// The same elements with another shape.
  public func reshaped(_ x: Variable, _ shape: [Int]) -> Variable {
    let recompute = x.recompute
    let output = Variable(x.value.reshaped(shape), requiresGradient: x.requiresGradient) { recompute().reshaped(shape) }
    if output.requiresGradient {
      let (slot, source, original) = (output.slot, x.slot, x.value.shape)
      record { [unowned self] in
        guard let upstream = slot.take() else { return }
        accumulate(upstream.reshaped(original), into: source)
      }
    }
    return output
  }
}
