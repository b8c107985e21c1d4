extension Tape {
  /// Causal self-attention of each sequence in a ragged batch. `qkv` is `[rows, q + k + v columns]` with q, k and v
  /// side by side; the result is `[rows, q columns]`. `starts` are the first rows of the sequences, followed by the
  /// number of rows; rows before the first start are a prefix of every sequence.
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
