import CKernels

extension CPUBackend {
  /// The attention of one sequence's rows of a joined q, k, v matrix, for key/value head `head`; the first `shared` rows
  /// of the matrix are keys too.
  private func problem(_ qkv: Tensor, rows: Range<Int>, shared: Int, shape: AttentionShape, head: Int) -> ck_attention {
    let group = shape.attentionHeads / shape.keyValueHeads
    let matrix: UnsafeMutablePointer<Float> = qkv.pointer()
    let first = matrix + rows.lowerBound * qkv.columns
    let key = shape.queryColumns + head * shape.headDim
    let value = key + shape.keyColumns
    return ck_attention(
      q: first + head * group * shape.headDim, k: first + key, v: first + value, shared_k: matrix + key,
      shared_v: matrix + value, ldq: qkv.columns, ldk: qkv.columns, ldv: qkv.columns, query_count: rows.count,
      key_count: shared + rows.count, shared_count: shared, group: group, head_dim: shape.headDim,
      window: shape.window, scale: shape.scale)
  }

  /// The rows of each sequence; the beginning that they share is one of its own, the first.
  private func sequences(_ starts: [Int]) -> [Range<Int>] {
    let shared = starts.first ?? 0
    return (shared > 0 ? [0..<shared] : []) + zip(starts, starts.dropFirst()).map { $0..<$1 }
  }

  /// Blocks of `size` rows of each sequence for each key/value head, the longest work first within a sequence.
  private func tasks(
    _ sequences: [Range<Int>], heads: Int, size: Int
  ) -> [(rows: Range<Int>, head: Int, block: Int)] {
    sequences.flatMap { rows in
      (0..<heads).flatMap { head in
        (0..<(rows.count + size - 1) / size).reversed().map { (rows, head, $0) }
      }
    }
  }

  /// See ``Backend``.
  public func attention(
    _ qkv: Tensor, starts: [Int], shape: AttentionShape, keepsStatistics: Bool
  ) -> (out: Tensor, lse: Tensor?) {
    if let padded = PaddedHeads(shape) {
      let (out, lse) = attention(
        padded.pad(qkv, padded.allHeads, on: self), starts: starts, shape: padded.shape,
        keepsStatistics: keepsStatistics)
      return (padded.unpad(out, shape.attentionHeads, on: self), lse)
    }
    let out = empty([qkv.rows, shape.queryColumns])
    let lse = keepsStatistics ? empty([qkv.rows, shape.attentionHeads]) : nil
    let group = shape.attentionHeads / shape.keyValueHeads
    let shared = starts.first ?? 0
    let tasks = tasks(sequences(starts), heads: shape.keyValueHeads, size: Int(ck_query_block))
    pool.run(tasks.count) { index in
      let (rows, head, block) = tasks[index]
      var problem = problem(
        qkv, rows: rows, shared: rows.lowerBound < shared ? 0 : shared, shape: shape, head: head)
      let target: UnsafeMutablePointer<Float> = out.pointer() + rows.lowerBound * out.columns
      let statistics = lse.map { $0.pointer(Float.self) + rows.lowerBound * shape.attentionHeads + head * group }
      ck_attention_forward(
        &problem, target + head * group * shape.headDim, out.columns, statistics, shape.attentionHeads, block)
    }
    return (out, lse)
  }

  /// See ``Backend``.
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
    let group = shape.attentionHeads / shape.keyValueHeads
    pool.runRanges(out.rows, grain: max(1, 8192 / out.columns)) { range in
      ck_attention_delta(
        out.pointer(), dOut.pointer(), out.columns, shape.headDim, shape.attentionHeads, delta.pointer(),
        range.lowerBound,
        range.upperBound)
    }
    let shared = starts.first ?? 0
    let sequences = sequences(starts)
    let queryTasks = tasks(sequences, heads: shape.keyValueHeads, size: Int(ck_query_block))
    let keyTasks = tasks(sequences, heads: shape.keyValueHeads, size: Int(ck_key_block))
    // The keys that all sequences share wait for all of them, so they come first.
    pool.run(keyTasks.count + queryTasks.count) { index in
      let isKey = index < keyTasks.count
      let (rows, head, block) = isKey ? keyTasks[index] : queryTasks[index - keyTasks.count]
      let isShared = rows.lowerBound < shared
      for (number, sequence) in (isKey && isShared ? sequences : [rows]).enumerated() {
        let before = sequence.lowerBound < shared ? 0 : shared
        var problem = problem(qkv, rows: sequence, shared: before, shape: shape, head: head)
        let headColumn = head * group * shape.headDim
        let upstream = dOut.pointer(Float.self) + sequence.lowerBound * dOut.columns + headColumn
        let statistics = lse.pointer(Float.self) + sequence.lowerBound * shape.attentionHeads + head * group
        let less = delta.pointer(Float.self) + sequence.lowerBound * shape.attentionHeads + head * group
        let gradient = dQKV.pointer(Float.self)
        if isKey {
          let first = block * Int(ck_key_block)
          let keys = min(Int(ck_key_block), rows.count - first)
          let dk =
            gradient + (rows.lowerBound + first) * dQKV.columns + shape.queryColumns + head * shape.headDim
          ck_attention_backward_kv(
            &problem, upstream, dOut.columns, statistics, less, shape.attentionHeads, dk, dQKV.columns,
            dk + shape.keyColumns,
            dQKV.columns, isShared ? first : before + first, keys, number > 0)
        } else {
          ck_attention_backward_q(
            &problem, upstream, dOut.columns, statistics, less, shape.attentionHeads,
            gradient + rows.lowerBound * dQKV.columns + headColumn, dQKV.columns, block)
        }
      }
    }
    return dQKV
  }

  /// See ``Backend``.
  public func cachedAttention(
    _ qkv: Tensor, keys: Tensor, values: Tensor, before: Int, shape: AttentionShape
  ) -> Tensor {
    if let padded = PaddedHeads(shape) {
      let out = cachedAttention(
        padded.pad(qkv, padded.allHeads, on: self), keys: keys, values: values, before: before, shape: padded.shape)
      return padded.unpad(out, shape.attentionHeads, on: self)
    }
    let rows = qkv.rows
    let (size, queryBlock) = (shape.headDim, Int(ck_query_block))
    let headElements = keys.count / shape.keyValueHeads
    precondition((before + rows) * size <= headElements, "a cache must have room for what is added to it")
    let matrix: UnsafeMutablePointer<Float> = qkv.pointer()
    let firstKey: UnsafeMutablePointer<Float> = keys.pointer()
    let firstValue: UnsafeMutablePointer<Float> = values.pointer()
    for head in 0..<shape.keyValueHeads {
      for row in 0..<rows {
        let key = matrix + row * qkv.columns + shape.queryColumns + head * size
        let place = head * headElements + (before + row) * size
        (firstKey + place).update(from: key, count: size)
        (firstValue + place).update(from: key + shape.keyColumns, count: size)
      }
    }
    let group = shape.attentionHeads / shape.keyValueHeads
    func problem(_ head: Int) -> ck_attention {
      ck_attention(
        q: matrix + head * group * size, k: firstKey + head * headElements, v: firstValue + head * headElements,
        shared_k: nil, shared_v: nil, ldq: qkv.columns, ldk: size, ldv: size, query_count: rows,
        key_count: before + rows, shared_count: 0, group: group, head_dim: size, window: shape.window,
        scale: shape.scale)
    }
    let out = empty([rows, shape.queryColumns])
    let target: UnsafeMutablePointer<Float> = out.pointer()
    if rows == 1 {
      // Few heads would not go round the threads evenly. How many parts there are goes by the keys alone, so that results
      // do not depend on the threads.
      let seen = shape.window > 0 ? min(before + 1, shape.window) : before + 1
      let parts = min(4, 1 + seen / 64)
      let count = ck_attention_part_count(group, size)
      let found = empty([shape.keyValueHeads * parts, count])
      let first: UnsafeMutablePointer<Float> = found.pointer()
      pool.run(shape.keyValueHeads * parts) { task in
        var problem = problem(task / parts)
        ck_attention_part(&problem, task % parts, parts, first + task * count)
      }
      for head in 0..<shape.keyValueHeads {
        ck_attention_join(first + head * parts * count, parts, group, size, target + head * group * size, nil)
      }
      return out
    }
    let blocks = (rows + queryBlock - 1) / queryBlock
    pool.run(blocks * shape.keyValueHeads) { task in
      let head = task % shape.keyValueHeads
      var problem = problem(head)
      ck_attention_forward(
        &problem, target + head * group * size, shape.queryColumns, nil, 0, task / shape.keyValueHeads)
    }
    return out
  }
}

/// Heads whose size is not a multiple of 8, which the kernels need. Zeros at the end of each head change neither scores
/// nor outputs.
private struct PaddedHeads {
  /// The shape with padded heads.
  let shape: AttentionShape
  private let headDim: Int

  /// `nil` if no padding is needed.
  init?(_ shape: AttentionShape) {
    guard shape.headDim % 8 != 0 else { return nil }
    headDim = shape.headDim
    var padded = shape
    padded.headDim = shape.paddedHeadDim
    self.shape = padded
  }

  /// The number of heads in a joined q, k, v matrix.
  var allHeads: Int { shape.attentionHeads + 2 * shape.keyValueHeads }

  func pad(_ x: Tensor, _ heads: Int, on backend: CPUBackend) -> Tensor {
    let padded = backend.empty([x.rows, heads * shape.headDim])
    backend.clear(padded)
    copy(x, headDim, to: padded, shape.headDim, heads, on: backend)
    return padded
  }

  func unpad(_ x: Tensor, _ heads: Int, on backend: CPUBackend) -> Tensor {
    let result = backend.empty([x.rows, heads * headDim])
    copy(x, shape.headDim, to: result, headDim, heads, on: backend)
    return result
  }

  private func copy(_ from: Tensor, _ fromDim: Int, to: Tensor, _ toDim: Int, _ heads: Int, on backend: CPUBackend) {
    for head in 0..<heads {
      let (first, target) = (head * fromDim, head * toDim)
      backend.copyRows(
        Columns(from, first..<first + headDim), 0, to: Columns(to, target..<target + headDim), 0, count: from.rows)
    }
  }
}
