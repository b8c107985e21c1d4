extension Tape {
  /// Gradient checkpointing (Chen et al. 2016, arXiv:1604.06174): runs `body` without keeping its activations, and runs
  /// it again in the backward pass to recompute them, but not outputs that only the next layer reads. `body` must compute
  /// the same both times.
  public func checkpoint(_ inputs: [Variable], _ body: @escaping (Tape, [Variable]) -> [Variable]) -> [Variable] {
    guard isRecording else { return body(self, inputs) }
    let dropoutBefore = dropoutState
    let unrecorded = Tape(on: backend, isRecording: false, precision: precision)
    unrecorded.dropoutState = dropoutBefore
    unrecorded.appliesDropout = appliesDropout
    let values = body(unrecorded, inputs.map { Variable($0.value) })
    dropoutState = unrecorded.dropoutState
    let outputs = values.map { Variable($0.value, requiresGradient: true) }
    let slots = outputs.map(\.slot)
    record { [unowned self] in
      let again = Tape(on: backend, isRecording: true, precision: precision, appliesDropout: appliesDropout)
      again.dropoutState = dropoutBefore
      again.isRecomputing = true
      let freshInputs = inputs.map { Variable($0.value, requiresGradient: $0.requiresGradient) }
      // Only the slots are kept, so that operands of outputs that nothing reads are released.
      let freshSlots = body(again, freshInputs).map(\.slot)
      for (fresh, output) in zip(freshSlots, slots) { fresh.gradient = output.take() }
      again.backward()
      for (fresh, input) in zip(freshInputs, inputs) {
        if let gradient = fresh.slot.take() { accumulate(gradient, into: input.slot) }
      }
    }
    return outputs
  }
}
