extension Tape {
  /// A mixture of experts (Shazeer et al. 2017, arXiv:1701.06538): each token goes through the experts that the router
  /// prefers, and their outputs are added with the router's weights. The rows of the experts are computed together, in
  /// groups; the host needn't know which token goes where.
  ///
  /// - Parameters:
  ///   - x: `[tokens, hidden]`
  ///   - logits: `[tokens, experts]`, the router's.
  ///   - chosen: the number of experts that a token goes to.
  ///   - normalizes: whether the weights of a token add up to 1.
  ///   - loss: the auxiliary loss that the router adds to; `nil` for none.
  ///   - experts: what the experts make of their tokens, `[rows, hidden]`, whose groups are the experts.
  public func experts(
    _ x: Variable, logits: Variable, chosen: Int, normalizes: Bool, loss: RouterLoss? = nil,
    _ experts: (Variable, RowGroups) -> Variable
  ) -> Variable {
    let routing = backend.route(logits.value, chosen: chosen, normalizes: normalizes)
    if !isRecomputing { loss?.add(routing) }
    let output = experts(tokenRows(x, routing), routing.groups)
    let sum = zeros(x.value.shape)
    backend.addExpertRows(output.value, routing, isWeighted: true, into: sum)
    let needsGradient = isRecording && (logits.requiresGradient || output.requiresGradient)
    let result = Variable(sum, requiresGradient: needsGradient)
    if needsGradient {
      let (slot, source, outputSlot) = (result.slot, logits.slot, output.slot)
      let kept = source.requiresGradient ? output.value : nil
      record { [unowned self] in
        guard let upstream = slot.take() else { return }
        let gradient = backend.tokenRows(upstream, routing)
        if let kept {
          let dLogits = backend.routingGradient(routing, dWeights: backend.rowDots(gradient, kept))
          loss?.addGradient(of: routing, into: dLogits)
          accumulate(dLogits, into: source)
        }
        backend.scaleRows(gradient, by: routing.weights)
        accumulate(gradient, into: outputSlot)
      }
    }
    return result
  }

  /// The rows of the tokens, sorted by expert.
  private func tokenRows(_ x: Variable, _ routing: ExpertRouting) -> Variable {
    let (recompute, backend) = (x.recompute, backend)
    let output = Variable(backend.tokenRows(x.value, routing), requiresGradient: x.requiresGradient) {
      backend.tokenRows(recompute(), routing)
    }
    if output.requiresGradient {
      let (slot, source, shape) = (output.slot, x.slot, x.value.shape)
      record { [unowned self] in
        guard let upstream = slot.take() else { return }
        var gradient = source.take() ?? zeros(shape)
        if !gradient.isUniquelyOwned() { gradient = backend.scaled(gradient, 1) }
        backend.addExpertRows(upstream, routing, isWeighted: false, into: gradient)
        source.gradient = gradient
      }
    }
    return output
  }

  private func zeros(_ shape: [Int]) -> Tensor {
    let zeros = backend.empty(shape, .float32)
    backend.clear(zeros)
    return zeros
  }
}
