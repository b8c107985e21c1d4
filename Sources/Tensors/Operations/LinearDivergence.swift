/// What a teacher predicts, as far as `Tape.linearDivergence` needs it.
public struct TeacherStates {
  /// The teacher's final hidden states, `[rows, its hidden size]`.
  public let hidden: Tensor
  /// The teacher's head, with as many rows as the student's.
  public let head: Parameter
  /// If positive, the teacher's logits become softcap · tanh(logit / softcap).
  public let softcap: Float

  /// Creates the states of the rows of a batch.
  public init(hidden: Tensor, head: Parameter, softcap: Float = 0) {
    self.hidden = hidden
    self.head = head
    self.softcap = softcap
  }
}

extension Tape {
  /// The language model head and the divergence of its predictions from a teacher's, fused as `linearCrossEntropy` is: the
  /// logits of both exist for a few hundred rows at a time, and only for rows with a target.
  ///
  /// - Parameters:
  ///   - hidden: final hidden states, `[rows, hidden size]`.
  ///   - head: the head's weight, `[vocabulary, hidden size]`.
  ///   - targets: the token id that each row must predict, or `TokenBatch.ignoredLabel`.
  ///   - teacher: the teacher's predictions for the same rows.
  ///   - beta: selects the divergence: the forward KL divergence at 0, the reverse one at 1, generalized Jensen-Shannon
  ///     divergences in between (arXiv:2306.13649).
  ///   - temperature: divides the logits of both.
  ///   - gradientScale: multiplies the gradient.
  ///   - softcap: if positive, logits become softcap · tanh(logit / softcap).
  /// - Returns: sums over the rows with a target, which may still be on a device.
  public func linearDivergence(
    _ hidden: Variable, head: Parameter, targets: [Int32], from teacher: TeacherStates, beta: Float,
    temperature: Float, gradientScale: Float, softcap: Float = 0
  ) -> LossSums {
    let other = HeadProducts(head: teacher.head, backend: backend, precision: precision)
    return fusedHead(hidden, head: head, targets: targets) { logits, rows, found, needsGradient in
      let known = other.logits(backend.gatherRows(teacher.hidden, rows))
      if teacher.softcap > 0 { backend.softcap(known, teacher.softcap) }
      backend.divergence(
        logits, from: known, targets: rows.map { targets[Int($0)] }, beta: beta, temperature: temperature,
        gradientScale: needsGradient ? gradientScale : nil, softcap: softcap, into: found)
    }
  }
}
