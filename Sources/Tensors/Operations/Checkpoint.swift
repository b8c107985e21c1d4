extension Tape {
  /// Gradient checkpointing (Chen et al. 2016, arXiv:1604.06174): runs `body` without keeping its activations, and runs
  /// it again in the backward pass to recompute them. `body` must compute the same both times.
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
      let freshOutputs = body(again, freshInputs)
      for (fresh, output) in zip(freshOutputs, slots) { fresh.gradient = output.take() }
      again.backward()
      for (fresh, input) in zip(freshInputs, inputs) {
        if let gradient = fresh.slot.take() { accumulate(gradient, into: input.slot) }
      }
    }
    return outputs
  }
}
