import CKernels

extension CPUBackend {
  /// One sequence's attention on its own rows of a joined q, k, v matrix, for key/value head `head`.
  private func problem(_ qkv: Tensor, rows: Range<Int>, shape: AttentionShape, head: Int) -> ck_attention {
    let group = shape.heads / shape.keyValueHeads
    let first: UnsafeMutablePointer<Float> = qkv.pointer() + rows.lowerBound * qkv.columns
    let k = first + shape.queryColumns + head * shape.headSize
    return ck_attention(
      q: first + head * group * shape.headSize, k: k, v: k + shape.keyColumns, ldq: qkv.columns, ldk: qkv.columns,
      ldv: qkv.columns, query_count: rows.count, key_count: rows.count, group: group, head_size: shape.headSize,
      window: shape.window, scale: shape.scale)
  }

  /// Blocks of `size` rows of each sequence for each key/value head, the longest work first within a sequence.
  private func tasks(_ starts: [Int], heads: Int, size: Int) -> [(rows: Range<Int>, head: Int, block: Int)] {
    zip(starts, starts.dropFirst()).flatMap { start, end in
      (0..<heads).flatMap { head in
        (0..<(end - start + size - 1) / size).reversed().map { (start..<end, head, $0) }
      }
    }
  }

  /// See ``Backend``.
  public func attention(
    _ qkv: Tensor, starts: [Int], shape: AttentionShape, keepsStatistics: Bool
  ) -> (out: Tensor, lse: Tensor?) {
    let out = empty([qkv.rows, shape.queryColumns])
    let lse = keepsStatistics ? empty([qkv.rows, shape.heads]) : nil
    let group = shape.heads / shape.keyValueHeads
    let tasks = tasks(starts, heads: shape.keyValueHeads, size: Int(ck_query_block))
    pool.run(tasks.count) { index in
      let (rows, head, block) = tasks[index]
      var problem = problem(qkv, rows: rows, shape: shape, head: head)
      let target: UnsafeMutablePointer<Float> = out.pointer() + rows.lowerBound * out.columns
      let statistics = lse.map { $0.pointer(Float.self) + rows.lowerBound * shape.heads + head * group }
      ck_attention_forward(
        &problem, target + head * group * shape.headSize, out.columns, statistics, shape.heads, block)
    }
    return (out, lse)
  }

  /// See ``Backend``.
  public func attentionBackward(
    _ qkv: Tensor, out: Tensor, dOut: Tensor, lse: Tensor, starts: [Int], shape: AttentionShape
  ) -> Tensor {
    let dQKV = empty(qkv.shape)
    let delta = empty(lse.shape)
    let group = shape.heads / shape.keyValueHeads
    pool.runRanges(out.rows, grain: max(1, 8192 / out.columns)) { range in
      ck_attention_delta(
        out.pointer(), dOut.pointer(), out.columns, shape.headSize, shape.heads, delta.pointer(), range.lowerBound,
        range.upperBound)
    }
    let queryTasks = tasks(starts, heads: shape.keyValueHeads, size: Int(ck_query_block))
    let keyTasks = tasks(starts, heads: shape.keyValueHeads, size: Int(ck_key_block))
    pool.run(queryTasks.count + keyTasks.count) { index in
      let isQuery = index < queryTasks.count
      let (rows, head, block) = isQuery ? queryTasks[index] : keyTasks[index - queryTasks.count]
      var problem = problem(qkv, rows: rows, shape: shape, head: head)
      let headColumn = head * group * shape.headSize
      let upstream = dOut.pointer(Float.self) + rows.lowerBound * dOut.columns + headColumn
      let statistics = lse.pointer(Float.self) + rows.lowerBound * shape.heads + head * group
      let less = delta.pointer(Float.self) + rows.lowerBound * shape.heads + head * group
      let gradient = dQKV.pointer(Float.self) + rows.lowerBound * dQKV.columns
      if isQuery {
        ck_attention_backward_q(
          &problem, upstream, dOut.columns, statistics, less, shape.heads, gradient + headColumn, dQKV.columns, block)
      } else {
        let dk = gradient + shape.queryColumns + head * shape.headSize
        ck_attention_backward_kv(
          &problem, upstream, dOut.columns, statistics, less, shape.heads, dk, dQKV.columns, dk + shape.keyColumns,
          dQKV.columns, block)
      }
    }
    return dQKV
  }

  /// See ``Backend``.
  public func cachedAttention(
    _ q: Columns, keys: Tensor, values: Tensor, keyCount: Int, shape: AttentionShape
  ) -> Tensor {
    let out = empty([q.rows, shape.queryColumns])
    let group = shape.heads / shape.keyValueHeads
    let size = Int(ck_query_block)
    let blocks = (q.rows + size - 1) / size
    // One query's heads go to the threads one by one where whole groups would not go round.
    let isSplit = q.rows == 1 && shape.keyValueHeads % threadCount != 0
    let heads = isSplit ? shape.heads : shape.keyValueHeads
    let first: UnsafeMutablePointer<Float> = keys.pointer()
    let firstValue: UnsafeMutablePointer<Float> = values.pointer()
    let headElements = keys.count / shape.keyValueHeads
    pool.run(blocks * heads) { task in
      let part = task % heads
      let head = isSplit ? part / group : part
      let queryHead = isSplit ? part : part * group
      var problem = ck_attention(
        q: q.pointer + queryHead * shape.headSize, k: first + head * headElements,
        v: firstValue + head * headElements, ldq: q.stride, ldk: shape.headSize, ldv: shape.headSize,
        query_count: q.rows, key_count: keyCount, group: isSplit ? 1 : group, head_size: shape.headSize,
        window: shape.window, scale: shape.scale)
      ck_attention_forward(
        &problem, out.pointer() + queryHead * shape.headSize, out.columns, nil, 0, task / heads)
    }
    return out
  }
}
