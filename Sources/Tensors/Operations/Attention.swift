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

  /// The same for several batches whose rows follow one another, each with a prefix of its own.
  /// - Parameter parts: the rows of each batch, and its starts, counted from its first row.
  public func attention(
    _ qkv: Variable, parts: [(rows: Range<Int>, starts: [Int])], shape: AttentionShape
  ) -> Variable {
    if parts.count == 1 { return attention(qkv, starts: parts[0].starts, shape: shape) }
    let value = qkv.value
    let out = backend.empty([value.rows, shape.queryColumns], .float32)
    let statistics = parts.map { part in
      let (found, lse) = backend.attention(
        value.rows(part.rows), starts: part.starts, shape: shape, keepsLogSumExp: qkv.requiresGradient)
      backend.copyRows(Columns(found), 0, to: Columns(out), part.rows.lowerBound, count: part.rows.count)
      return lse
    }
    let output = Variable(out, requiresGradient: qkv.requiresGradient)
    guard qkv.requiresGradient else { return output }
    let (slot, source) = (output.slot, qkv.slot)
    record { [unowned self] in
      guard let upstream = slot.take() else { return }
      let gradient = backend.empty(value.shape, .float32)
      for (part, lse) in zip(parts, statistics) {
        guard let lse else { continue }
        let found = backend.attentionBackward(
          value.rows(part.rows), out: out.rows(part.rows), dOut: upstream.rows(part.rows), lse: lse,
          starts: part.starts, shape: shape)
        backend.copyRows(Columns(found), 0, to: Columns(gradient), part.rows.lowerBound, count: part.rows.count)
      }
      accumulate(gradient, into: source)
    }
    return output
  }
}
