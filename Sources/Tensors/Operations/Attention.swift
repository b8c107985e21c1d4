extension Tape {
  /// Causal self-attention of each sequence in a ragged batch. `qkv` is `[rows, q + k + v columns]` with q, k and v
  /// side by side; the result is `[rows, q columns]`. `starts` are the first rows of the sequences, followed by the
  /// number of rows; rows before the first start are a prefix of every sequence.
  public func attention(_ qkv: Variable, starts: [Int], shape: AttentionShape) -> Variable {
    attention(qkv, parts: [(0..<qkv.value.rows, starts)], shape: shape)
  }

  /// The same for several batches whose rows follow one another, each with a prefix of its own.
  /// - Parameters:
  ///   - parts: the rows of each batch, and its starts, counted from its first row.
  ///   - sinks: a logit for each head that has no value; `nil` for none.
  public func attention(
    _ qkv: Variable, parts: [(rows: Range<Int>, starts: [Int])], shape: AttentionShape, sinks: Parameter? = nil
  ) -> Variable {
    let value = qkv.value
    let needsGradient = isRecording && (qkv.requiresGradient || sinks?.isTrainable == true)
    func attended(_ part: (rows: Range<Int>, starts: [Int])) -> (out: Tensor, lse: Tensor?) {
      let rows = parts.count == 1 ? value : value.rows(part.rows)
      let (out, lse) = backend.attention(
        rows, starts: part.starts, shape: shape, keepsLogSumExp: needsGradient || sinks != nil)
      if let sinks, let lse { backend.applySinks(sinks.value, out: out, lse: lse, shape: shape) }
      return (out, lse)
    }
    let results = parts.map(attended)
    let out = parts.count == 1 ? results[0].out : joined(results.map(\.out), parts.map(\.rows), value.rows)
    let output = Variable(out, requiresGradient: needsGradient)
    guard needsGradient else { return output }
    let (slot, source) = (output.slot, qkv.slot)
    let statistics = results.map(\.lse)
    record { [unowned self] in
      guard let upstream = slot.take() else { return }
      let gradients = zip(parts, statistics).compactMap { part, lse -> Tensor? in
        guard let lse else { return nil }
        func own(_ tensor: Tensor) -> Tensor { parts.count == 1 ? tensor : tensor.rows(part.rows) }
        if let sinks, sinks.isTrainable {
          backend.addSinkGradient(
            sinks.value, out: own(out), lse: lse, dOut: own(upstream), shape: shape, into: sinks.gradient(on: backend))
        }
        return backend.attentionBackward(
          own(value), out: own(out), dOut: own(upstream), lse: lse, starts: part.starts, shape: shape)
      }
      accumulate(
        parts.count == 1 ? gradients[0] : joined(gradients, parts.map(\.rows), value.rows), into: source)
    }
    return output
  }

  /// Matrices below one another.
  private func joined(_ matrices: [Tensor], _ rows: [Range<Int>], _ count: Int) -> Tensor {
    let all = backend.empty([count, matrices.first?.columns ?? 0], .float32)
    for (matrix, rows) in zip(matrices, rows) {
      backend.copyRows(Columns(matrix), 0, to: Columns(all), rows.lowerBound, count: rows.count)
    }
    return all
  }
}
