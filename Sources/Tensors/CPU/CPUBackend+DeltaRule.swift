import CKernels

extension CPUBackend {
  /// Each task computes a range of elements.
  public func silu(_ x: Tensor) -> Tensor {
    let out = empty(x.shape)
    pool.runRanges((x.count + 7) / 8, grain: 1024) { range in
      ck_silu(x.pointer(), out.pointer(), range.lowerBound * 8, min(x.count, range.upperBound * 8))
    }
    return out
  }

  /// Each task computes a range of elements.
  public func siluBackward(_ x: Tensor, dOut: Tensor) -> Tensor {
    let dx = empty(x.shape)
    pool.runRanges((x.count + 7) / 8, grain: 1024) { range in
      ck_silu_backward(
        x.pointer(), dOut.pointer(), dx.pointer(), range.lowerBound * 8, min(x.count, range.upperBound * 8))
    }
    return dx
  }

  /// Each task computes a range of rows.
  public func deltaGates(_ ba: Columns, aLog: Tensor, dtBias: Tensor) -> Tensor {
    let gates = empty([ba.rows, ba.count])
    pool.runRanges(ba.rows, grain: max(1, 2048 / max(1, ba.count))) { range in
      ck_delta_gates(
        ba.pointer, ba.stride, ba.count / 2, aLog.pointer(), dtBias.pointer(), gates.pointer(), range.lowerBound,
        range.upperBound)
    }
    return gates
  }

  /// Each task computes all rows of a range of heads.
  public func deltaGatesBackward(
    _ ba: Columns, aLog: Tensor, dtBias: Tensor, dGates: Tensor, into: Columns, dALog: Tensor?, dDtBias: Tensor?
  ) {
    precondition(ba.stride == into.stride, "gradients have the layout of what they belong to")
    pool.runRanges(ba.count / 2, grain: 1) { range in
      ck_delta_gates_backward(
        ba.pointer, ba.stride, ba.count / 2, aLog.pointer(), dtBias.pointer(), dGates.pointer(), into.pointer,
        dALog?.pointer(), dDtBias?.pointer(), ba.rows, range.lowerBound, range.upperBound)
    }
  }

  private func operands(_ qkv: Tensor, _ gates: Tensor, _ shape: DeltaShape) -> ck_delta {
    ck_delta(
      qkv: qkv.pointer(), gates: gates.pointer(), ld: qkv.columns, key_heads: shape.keyHeads,
      value_heads: shape.valueHeads, key_dim: shape.keyDim, value_dim: shape.valueDim)
  }

  /// The rows of the prefix, then those of each sequence.
  private func parts(_ starts: [Int]) -> (prefix: Range<Int>, sequences: [Range<Int>]) {
    (0..<(starts.first ?? 0), zip(starts, starts.dropFirst()).map { $0..<$1 })
  }

  /// Each task computes one head of one sequence; the heads of a shared prefix come first.
  public func deltaRule(
    _ qkv: Tensor, gates: Tensor, starts: [Int], shape: DeltaShape, state: Tensor?
  ) -> Tensor {
    let (prefix, sequences) = parts(starts)
    let size = shape.keyDim * shape.valueDim
    let out = empty([qkv.rows, shape.valueColumns])
    // The state after the prefix, from which each sequence starts.
    let common = state ?? zeros([shape.valueHeads, size])
    if !prefix.isEmpty {
      pool.run(shape.valueHeads) { head in
        var operands = operands(qkv, gates, shape)
        ck_delta_rule(
          &operands, head, prefix.lowerBound, prefix.upperBound, common.pointer(Float.self) + head * size, out.pointer()
        )
      }
    }
    let states = state ?? copies(of: common, count: sequences.count)
    pool.run(sequences.count * shape.valueHeads) { task in
      var operands = operands(qkv, gates, shape)
      let rows = sequences[task / shape.valueHeads]
      ck_delta_rule(
        &operands, task % shape.valueHeads, rows.lowerBound, rows.upperBound, states.pointer(Float.self) + task * size,
        out.pointer())
    }
    return out
  }

  /// Each task computes the heads that share a key head, in one sequence, or in all that share a prefix.
  public func deltaRuleBackward(
    _ qkv: Tensor, gates: Tensor, dOut: Tensor, starts: [Int], shape: DeltaShape
  ) -> (qkv: Tensor, gates: Tensor) {
    let (prefix, sequences) = parts(starts)
    let size = shape.keyDim * shape.valueDim
    let group = shape.valueHeads / shape.keyHeads
    let (dQKV, dGates) = (zeros(qkv.shape), empty(gates.shape))
    let initial = zeros([shape.valueHeads, size])
    let common = prefix.isEmpty ? initial : copies(of: initial, count: 1)
    pool.run(prefix.isEmpty ? 0 : shape.valueHeads) { head in
      var operands = operands(qkv, gates, shape)
      ck_delta_rule(
        &operands, head, prefix.lowerBound, prefix.upperBound, common.pointer(Float.self) + head * size, nil)
    }
    // The value heads of a key head add to the same gradients, so they are one task; so are, with a prefix, the sequences
    // that add to the gradient of the state after it.
    func backward(_ rows: Range<Int>, _ head: Int, from start: Tensor, _ dState: UnsafeMutablePointer<Float>) {
      var operands = operands(qkv, gates, shape)
      ck_delta_rule_backward(
        &operands, head, rows.lowerBound, rows.upperBound, start.pointer(Float.self) + head * size, dOut.pointer(),
        dState,
        dQKV.pointer(), dGates.pointer())
    }
    if prefix.isEmpty {
      let dStates = zeros([sequences.count * shape.valueHeads, size])
      pool.run(sequences.count * shape.keyHeads) { task in
        let (sequence, keyHead) = (task / shape.keyHeads, task % shape.keyHeads)
        for head in keyHead * group..<(keyHead + 1) * group {
          backward(
            sequences[sequence], head, from: initial,
            dStates.pointer(Float.self) + (sequence * shape.valueHeads + head) * size)
        }
      }
      return (dQKV, dGates)
    }
    let (dStates, sums) = (empty([shape.valueHeads, size]), zeros([shape.valueHeads, size]))
    pool.run(shape.keyHeads) { keyHead in
      for head in keyHead * group..<(keyHead + 1) * group {
        let dState: UnsafeMutablePointer<Float> = dStates.pointer(Float.self) + head * size
        let sum: UnsafeMutablePointer<Float> = sums.pointer(Float.self) + head * size
        for rows in sequences where !rows.isEmpty {
          dState.update(repeating: 0, count: size)
          backward(rows, head, from: common, dState)
          ck_add(sum, dState, 1, 0, size)
        }
        backward(prefix, head, from: initial, sum)
      }
    }
    return (dQKV, dGates)
  }

  /// Each thread has the states at every 32nd row and those of 32 rows of one head at a time; all heads have the gradient of a
  /// state in each sequence.
  public func deltaRuleBackwardMemory(sequences: Int, rows: Int, shape: DeltaShape) -> Int {
    let threads = min(threadCount, sequences * shape.keyHeads)
    let states = threads * ((rows + 31) / 32 + 34) + (sequences + 1) * shape.valueHeads
    return 4 * states * shape.keyDim * shape.valueDim
  }

  private func zeros(_ shape: [Int]) -> Tensor {
    let tensor = empty(shape)
    clear(tensor)
    return tensor
  }

  private func copies(of tensor: Tensor, count: Int) -> Tensor {
    let result = empty([count * tensor.rows, tensor.columns])
    for index in 0..<count {
      copyRows(Columns(tensor), 0, to: Columns(result), index * tensor.rows, count: tensor.rows)
    }
    return result
  }
}
