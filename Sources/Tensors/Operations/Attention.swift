extension Tape {
  /// Causal attention of every sequence of a ragged batch on itself: q, k, v side by side in `qkv`
  /// `[rows, q + k + v columns]`, to `[rows, q columns]`. `starts` are the sequences' first rows and the end; rows before
  /// the first of them begin every sequence.
  public func attention(_ qkv: Variable, starts: [Int], shape: AttentionShape) -> Variable {
    let (out, lse) = backend.attention(qkv.value, starts: starts, shape: shape, keepsLogSumExp: qkv.requiresGradient)
    let output = Variable(out, requiresGradient: qkv.requiresGradient)
    if let lse {
      let (slot, source, value) = (output.slot, qkv.slot, qkv.value)
      record { [unowned self] in
        guard let upstream = slot.take() else { return }
        let gradient = backend.attentionBackward(
          value, out: out, dOut: upstream, lse: lse, starts: starts, shape: shape)
        accumulate(gradient, into: source)
      }
    }
    return output
  }
}
