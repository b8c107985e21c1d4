import CKernels
import Essentials

extension CPUBackend {
  /// Tiled attention (FlashAttention): each task computes a block of queries of all heads that share a key/value head.
  public func attention(
    _ qkv: Tensor, starts: [Int], shape: AttentionShape, keepsLogSumExp: Bool
  ) -> (out: Tensor, lse: Tensor?) {
    if let padded = PaddedHeads(shape) {
      let (out, lse) = attention(
        padded.pad(qkv, padded.allHeads, on: self), starts: starts, shape: padded.shape, keepsLogSumExp: keepsLogSumExp)
      return (padded.unpad(out, shape.attentionHeads, on: self), lse)
    }
    let out = empty([qkv.rows, shape.queryColumns])
    let lse = keepsLogSumExp ? empty([qkv.rows, shape.attentionHeads]) : nil
    let (source, target) = (QKVMatrix(qkv, shape), HeadMatrix(out, shape))
    let statistics = lse.map { HeadMatrix($0, shape) }
    let blocks = AttentionBlock.all(
      of: AttentionSequence.all(starts), heads: shape.keyValueHeads, size: Int(ck_query_block))
    pool.run(blocks.count) { task in
      let block = blocks[task]
      let first = block.sequence.rows.lowerBound
      var attention = source.attention(block.sequence, head: block.head)
      ck_attention_forward(
        &attention, target.pointer(first, head: block.head), target.stride,
        statistics?.pointer(first, head: block.head), shape.attentionHeads, block.index)
    }
    return (out, lse)
  }

  /// Recomputes the scores tile by tile. Each task computes all gradients of a sequence and key/value head, whose scores are
  /// then recomputed once, or if that would be too few tasks, those of a block of queries, or of a block of keys and values.
  public func attentionBackward(
    _ qkv: Tensor, out: Tensor, dOut: Tensor, lse: Tensor, starts: [Int], shape: AttentionShape
  ) -> Tensor {
    if let padded = PaddedHeads(shape) {
      let dQKV = attentionBackward(
        padded.pad(qkv, padded.allHeads, on: self), out: padded.pad(out, shape.attentionHeads, on: self),
        dOut: padded.pad(dOut, shape.attentionHeads, on: self), lse: lse, starts: starts, shape: padded.shape)
      return padded.unpad(dQKV, padded.allHeads, on: self)
    }
    let dQKV = empty(qkv.shape)
    let delta = empty(lse.shape)
    pool.runRanges(out.rows, grain: max(1, 8192 / out.columns)) { range in
      ck_attention_delta(
        out.pointer(), dOut.pointer(), out.columns, shape.headDim, shape.attentionHeads, delta.pointer(),
        range.lowerBound, range.upperBound)
    }
    let backward = AttentionBackward(
      source: QKVMatrix(qkv, shape), gradient: QKVMatrix(dQKV, shape), dOut: HeadMatrix(dOut, shape),
      lse: HeadMatrix(lse, shape), delta: HeadMatrix(delta, shape), sequences: AttentionSequence.all(starts))
    let heads = shape.keyValueHeads
    let divides = heads % threadCount == 0 || backward.sequences.count * heads >= 4 * threadCount
    if divides, backward.canJoinBlocks(shape) {
      let longestFirst = backward.sequences.sorted { $0.rows.count > $1.rows.count }
      pool.run(longestFirst.count * heads) { task in
        backward.gradients(longestFirst[task / heads], head: task % heads)
      }
      return dQKV
    }
    let queryBlocks = AttentionBlock.all(of: backward.sequences, heads: heads, size: Int(ck_query_block))
    let keyBlocks = AttentionBlock.all(of: backward.sequences, heads: heads, size: Int(ck_key_block))
    // Key blocks come first: those of a shared prefix take the longest, because all sequences contribute to them.
    pool.run(keyBlocks.count + queryBlocks.count) { task in
      if task < keyBlocks.count {
        backward.keyGradients(keyBlocks[task])
      } else {
        backward.queryGradients(queryBlocks[task - keyBlocks.count])
      }
    }
    return dQKV
  }

  /// A single sequence.
  public func cachedAttention(
    _ qkv: Tensor, keys: Tensor, values: Tensor, before: Int, shape: AttentionShape, sinks: Tensor?
  ) -> Tensor {
    let sequence = CachedKeys(rows: 0..<qkv.rows, keys: keys, values: values, before: before)
    return cachedAttention(qkv, [sequence], shape: shape, sinks: sinks)
  }

  /// Appends the new keys and values to the caches, then computes blocks of queries in parallel, or for a single query
  /// parts of the keys, of all sequences at once.
  public func cachedAttention(
    _ qkv: Tensor, _ sequences: [CachedKeys], shape: AttentionShape, sinks: Tensor?
  ) -> Tensor {
    if let padded = PaddedHeads(shape) {
      let out = cachedAttention(
        padded.pad(qkv, padded.allHeads, on: self), sequences, shape: padded.shape, sinks: sinks)
      return padded.unpad(out, shape.attentionHeads, on: self)
    }
    let source = QKVMatrix(qkv, shape)
    let out = empty([qkv.rows, shape.queryColumns])
    let target = HeadMatrix(out, shape)
    let lse = sinks.map { _ in empty([qkv.rows, shape.attentionHeads]) }
    let statistics = lse.map { HeadMatrix($0, shape) }
    var tasks: [CachedAttentionTask] = []
    var decodes: [DecodeParts] = []
    var partCount = 0
    for sequence in sequences {
      let (rows, before) = (sequence.rows, sequence.before)
      let (keys, values) = (KeyValueMatrix(sequence.keys, shape), KeyValueMatrix(sequence.values, shape))
      precondition(before + rows.count <= keys.capacity, "the cache has no room for the new rows")
      for head in 0..<shape.keyValueHeads {
        for (place, row) in rows.enumerated() {
          keys.pointer(before + place, head: head).update(from: source.key(row, head: head), count: shape.headDim)
          values.pointer(before + place, head: head).update(from: source.value(row, head: head), count: shape.headDim)
        }
        let attention = ck_attention(
          q: source.queries(rows.lowerBound, head: head), k: keys.pointer(0, head: head),
          v: values.pointer(0, head: head), shared_k: nil, shared_v: nil, ldq: source.stride, ldk: shape.headDim,
          ldv: shape.headDim, query_count: rows.count, key_count: before + rows.count, shared_count: 0,
          group: shape.groupSize, head_dim: shape.headDim, window: shape.window, scale: shape.scale,
          softcap: shape.softcap)
        guard rows.count == 1 else {
          let blocks = (rows.count + Int(ck_query_block) - 1) / Int(ck_query_block)
          tasks += (0..<blocks).map {
            CachedAttentionTask(attention: attention, head: head, row: rows.lowerBound, part: .queries(block: $0))
          }
          continue
        }
        let parts = decodeParts(keyCount: before + 1, shape)
        tasks += (0..<parts).map {
          CachedAttentionTask(
            attention: attention, head: head, row: rows.lowerBound,
            part: .keys(part: $0, of: parts, place: partCount + $0))
        }
        decodes.append(DecodeParts(row: rows.lowerBound, head: head, parts: parts, place: partCount))
        partCount += parts
      }
    }
    let partialCount = ck_attention_part_count(shape.groupSize, shape.headDim)
    let partials = empty([max(1, partCount), partialCount])
    let first: UnsafeMutablePointer<Float> = partials.pointer()
    tasks.withUnsafeBufferPointer { tasks in
      pool.run(tasks.count) { number in
        let task = tasks[number]
        var attention = task.attention
        switch task.part {
        case .queries(let block):
          ck_attention_forward(
            &attention, target.pointer(task.row, head: task.head), target.stride,
            statistics?.pointer(task.row, head: task.head), shape.attentionHeads, block)
        case .keys(let part, let parts, let place):
          ck_attention_part(&attention, part, parts, first + place * partialCount)
        }
      }
    }
    for decode in decodes {
      ck_attention_join(
        first + decode.place * partialCount, decode.parts, shape.groupSize, shape.headDim,
        target.pointer(decode.row, head: decode.head), statistics?.pointer(decode.row, head: decode.head))
    }
    if let sinks, let lse { applySinks(sinks, out: out, lse: lse, shape: shape) }
    return out
  }

  /// Attention of a single query is split along the keys: there are often fewer heads than threads. The number of parts
  /// depends on the number of keys alone, so results depend neither on the number of threads nor on other sequences.
  private func decodeParts(keyCount: Int, _ shape: AttentionShape) -> Int {
    let visible = shape.window > 0 ? min(keyCount, shape.window) : keyCount
    return min(4, 1 + visible / 64)
  }

  private func headRows(_ x: Tensor, _ gates: Tensor) -> Tensor {
    x.reshaped([x.rows * gates.columns, x.columns / max(1, gates.columns)])
  }

  private func shares(_ gates: Tensor) -> [Float] { floats(gates).map { 1 / (1 + exp(-$0)) } }

  /// Scales copies of the heads.
  public func gatedHeads(_ x: Tensor, by gates: Tensor) -> Tensor {
    let out = scaled(x, 1)
    scaleRows(headRows(out, gates), by: shares(gates))
    return out
  }

  /// Multiplies the dot product of each head and its gradient by the slope of the sigmoid.
  public func headGateGradient(_ x: Tensor, by gates: Tensor, dOut: Tensor) -> Tensor {
    let dots = floats(rowDots(headRows(dOut, gates), headRows(x, gates)))
    return tensor(zip(dots, shares(gates)).map { $0 * $1 * (1 - $1) }, gates.shape)
  }

  /// The softmax with the sink is the one without it, times the share that the sink leaves.
  public func applySinks(_ sinks: Tensor, out: Tensor, lse: Tensor, shape: AttentionShape) {
    let (logits, outputs, sums): (UnsafeMutablePointer<Float>, _, UnsafeMutablePointer<Float>) = (
      sinks.pointer(), out.pointer(Float.self), lse.pointer()
    )
    let (heads, size) = (shape.attentionHeads, shape.headDim)
    pool.runRanges(out.rows * heads, grain: max(1, 8192 / size)) { range in
      for place in range {
        let (sink, sum) = (logits[place % heads], sums[place])
        let largest = max(sink, sum)
        sums[place] = largest + log(exp(sink - largest) + exp(sum - largest))
        let output = outputs + place * size
        ck_scale(output, output, exp(sum - sums[place]), 0, size)
      }
    }
  }

  /// A sink has the gradient of a softmax whose value is 0: −p · (output · gradient). Each task sums a head's rows in order.
  public func addSinkGradient(
    _ sinks: Tensor, out: Tensor, lse: Tensor, dOut: Tensor, shape: AttentionShape, into: Tensor
  ) {
    let (heads, size) = (shape.attentionHeads, shape.headDim)
    let (logits, sums, gradient):
      (UnsafeMutablePointer<Float>, UnsafeMutablePointer<Float>, UnsafeMutablePointer<Float>) =
        (sinks.pointer(), lse.pointer(), into.pointer())
    let (outputs, gradients): (UnsafeMutablePointer<Float>, UnsafeMutablePointer<Float>) = (
      out.pointer(), dOut.pointer()
    )
    pool.run(heads) { head in
      var total = 0.0
      for row in 0..<out.rows {
        let place = row * heads + head
        let share = exp(logits[head] - sums[place])
        total -= Double(share * ck_dot(outputs + place * size, gradients + place * size, size))
      }
      gradient[head] += Float(total)
    }
  }
}

/// What one task computes of the attention of new rows: one key/value head of a sequence.
private struct CachedAttentionTask {
  let attention: ck_attention
  let head: Int
  /// The sequence's first row.
  let row: Int
  let part: Part

  enum Part {
    /// A block of several queries.
    case queries(block: Int)
    /// A part of the keys of a single query, and where its partial result belongs.
    case keys(part: Int, of: Int, place: Int)
  }
}

/// The partial results of a single query and one key/value head.
private struct DecodeParts {
  let row: Int
  let head: Int
  let parts: Int
  let place: Int
}

/// The operands and results of one backward pass of attention.
private struct AttentionBackward {
  let source: QKVMatrix
  let gradient: QKVMatrix
  let dOut: HeadMatrix
  let lse: HeadMatrix
  let delta: HeadMatrix
  let sequences: [AttentionSequence]

  /// Whether one task can compute the gradients of a sequence and head with the same result as one for each block: if the
  /// sequence shares no keys with others, and all its queries see its first key, so that sums have the same order.
  func canJoinBlocks(_ shape: AttentionShape) -> Bool {
    sequences.allSatisfy {
      !$0.isSharedPrefix && $0.prefix == 0 && (shape.window == 0 || $0.rows.count <= shape.window)
    }
  }

  /// Computes dq, dk and dv of a sequence and key/value head.
  func gradients(_ sequence: AttentionSequence, head: Int) {
    var attention = source.attention(sequence, head: head)
    var upstream = upstream(sequence, head: head)
    let (row, count) = (sequence.rows.lowerBound, sequence.rows.count)
    for key in stride(from: 0, to: count, by: Int(ck_key_block)) {
      ck_attention_backward_kv(
        &attention, &upstream, gradient.queries(row, head: head), gradient.stride, gradient.key(row + key, head: head),
        gradient.value(row + key, head: head), gradient.stride, key, min(Int(ck_key_block), count - key), false)
    }
  }

  /// Computes dq for a block of queries.
  func queryGradients(_ block: AttentionBlock) {
    var attention = source.attention(block.sequence, head: block.head)
    var upstream = upstream(block.sequence, head: block.head)
    ck_attention_backward_q(
      &attention, &upstream, gradient.queries(block.sequence.rows.lowerBound, head: block.head), gradient.stride,
      block.index)
  }

  /// Computes dk and dv for a block of keys: from the queries of its own sequence, or of all sequences for a prefix.
  func keyGradients(_ block: AttentionBlock) {
    let rows = block.sequence.rows
    let first = block.index * Int(ck_key_block)
    let row = rows.lowerBound + first
    for (number, sequence) in (block.sequence.isSharedPrefix ? sequences : [block.sequence]).enumerated() {
      var attention = source.attention(sequence, head: block.head)
      var upstream = upstream(sequence, head: block.head)
      ck_attention_backward_kv(
        &attention, &upstream, nil, 0, gradient.key(row, head: block.head), gradient.value(row, head: block.head),
        gradient.stride, block.sequence.prefix + first, min(Int(ck_key_block), rows.count - first), number > 0)
    }
  }

  private func upstream(_ sequence: AttentionSequence, head: Int) -> ck_attention_upstream {
    let first = sequence.rows.lowerBound
    return ck_attention_upstream(
      d_out: dOut.pointer(first, head: head), lse: lse.pointer(first, head: head),
      delta: delta.pointer(first, head: head), ldo: dOut.stride, ld_lse: lse.stride)
  }
}
