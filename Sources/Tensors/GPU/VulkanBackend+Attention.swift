/// The lists of query and key blocks of a batch.
struct AttentionLists: Sendable {
  let queries, keys, sequences: DeviceMemory
  let queryCount, keyCount: Int
}

extension VulkanBackend {
  private static let tile = 32

  private struct QueryTask: BitwiseCopyable { var queryRow, queries, keyRow, past, shared, block: UInt32 }
  private struct KeyTask: BitwiseCopyable {
    var keyRow, keys, key, firstSequence, sequences: UInt32
    var reserved: UInt32 = 0
  }
  private struct Sequence: BitwiseCopyable {
    var queryRow, queries, past: UInt32
    var reserved: UInt32 = 0
  }

  private func lists(_ starts: [Int]) -> AttentionLists {
    attentionTasks.lists(starts) {
      let shared = starts.first ?? 0
      let ranges = (shared > 0 ? [0..<shared] : []) + zip(starts, starts.dropFirst()).map { $0..<$1 }
      var queries: [QueryTask] = []
      var keys: [KeyTask] = []
      var sequences: [Sequence] = []
      for (number, rows) in ranges.enumerated() {
        let isShared = shared > 0 && number == 0
        let past = isShared ? 0 : shared
        sequences.append(
          Sequence(queryRow: UInt32(rows.lowerBound), queries: UInt32(rows.count), past: UInt32(past)))
        // The longest tasks first.
        for block in (0..<groups(rows.count, of: Self.tile)).reversed() {
          queries.append(
            QueryTask(
              queryRow: UInt32(rows.lowerBound), queries: UInt32(rows.count), keyRow: UInt32(rows.lowerBound),
              past: UInt32(past), shared: UInt32(past), block: UInt32(block)))
          let first = block * Self.tile
          keys.append(
            KeyTask(
              keyRow: UInt32(rows.lowerBound + first), keys: UInt32(min(Self.tile, rows.count - first)),
              key: UInt32(past + first), firstSequence: UInt32(number),
              sequences: UInt32(isShared ? ranges.count : 1)))
        }
      }
      return AttentionLists(
        queries: uploadedArray(queries), keys: uploadedArray(keys), sequences: uploadedArray(sequences),
        queryCount: queries.count,
        keyCount: keys.count)
    }
  }

  private struct AttentionArguments: BitwiseCopyable {
    var q, k, v, out, lse, tasks: UInt64
    var queryStride, keyStride, keyHeadStride, outStride, heads, group, window: UInt32
    var scale, softcap: Float
  }

  private struct GradientArguments: BitwiseCopyable {
    var qkv, dOut, lse, delta, gradient, tasks, sequences: UInt64
    var stride, outStride, heads, group, window: UInt32
    var scale, softcap: Float
  }

  private struct DeltaArguments: BitwiseCopyable { var out, dOut, delta: UInt64, count, heads: UInt32 }

  /// Tiled attention (FlashAttention): one group of threads per block of queries and head.
  public func attention(
    _ qkv: Tensor, starts: [Int], shape: AttentionShape, keepsLogSumExp: Bool
  ) -> (out: Tensor, lse: Tensor?) {
    device.operation {
      let out = allocate([qkv.rows, shape.queryColumns])
      let lse = keepsLogSumExp ? allocate([qkv.rows, shape.attentionHeads]) : nil
      let lists = lists(starts)
      let key = address(qkv) + UInt64(4 * shape.queryColumns)
      forward(
        AttentionArguments(
          q: address(qkv), k: key, v: key + UInt64(4 * shape.keyColumns), out: address(out), lse: address(lse),
          tasks: lists.queries.address, queryStride: UInt32(qkv.columns), keyStride: UInt32(qkv.columns),
          keyHeadStride: UInt32(shape.headDim), outStride: UInt32(out.columns), heads: UInt32(shape.attentionHeads),
          group: UInt32(shape.attentionHeads / shape.keyValueHeads), window: UInt32(shape.window), scale: shape.scale,
          softcap: shape.softcap),
        tasks: lists.queryCount, shape)
      return (out, lse)
    }
  }

  private func forward(_ arguments: AttentionArguments, tasks: Int, _ shape: AttentionShape) {
    device.run(
      "attentionForward", constant: shape.headDim, arguments,
      groups: (tasks, shape.attentionHeads, groups(shape.headDim, of: 128)))
  }

  /// The dot product of output and gradient of each row and head.
  private func delta(_ out: Tensor, _ dOut: Tensor, _ shape: AttentionShape) -> Tensor {
    let delta = allocate([out.rows, shape.attentionHeads])
    device.run(
      "attentionDelta", constant: shape.headDim,
      DeltaArguments(
        out: address(out), dOut: address(dOut), delta: address(delta), count: UInt32(delta.count),
        heads: UInt32(shape.attentionHeads)), groupCount: groups(delta.count))
    return delta
  }

  /// Recomputes the scores tile by tile, in one kernel for keys and values and one for queries.
  public func attentionBackward(
    _ qkv: Tensor, out: Tensor, dOut: Tensor, lse: Tensor, starts: [Int], shape: AttentionShape
  ) -> Tensor {
    device.operation {
      let gradient = allocate(qkv.shape)
      let delta = delta(out, dOut, shape)
      let lists = lists(starts)
      var arguments = GradientArguments(
        qkv: address(qkv), dOut: address(dOut), lse: address(lse), delta: address(delta), gradient: address(gradient),
        tasks: lists.keys.address, sequences: lists.sequences.address, stride: UInt32(qkv.columns),
        outStride: UInt32(dOut.columns), heads: UInt32(shape.attentionHeads),
        group: UInt32(shape.attentionHeads / shape.keyValueHeads),
        window: UInt32(shape.window), scale: shape.scale, softcap: shape.softcap)
      device.run(
        "attentionBackwardKey", constant: shape.headDim, arguments,
        groups: (lists.keyCount, shape.keyValueHeads, groups(shape.headDim, of: 64)))
      arguments.tasks = lists.queries.address
      // The two kernels write disjoint parts of the gradient.
      device.run(
        "attentionBackwardQuery", constant: shape.headDim, arguments,
        groups: (lists.queryCount, shape.attentionHeads, groups(shape.headDim, of: 128)), needsBarrier: false)
      return gradient
    }
  }

  private struct AppendArguments: BitwiseCopyable {
    var from, to: UInt64
    var count, heads, stride, headStride, before: UInt32
  }

  private struct OneQueryArguments: BitwiseCopyable {
    var q, k, v, parts, out, sinks: UInt64
    var keyStride, keyHeadStride, heads, group, first, last, partCount: UInt32
    var scale, softcap: Float
  }

  /// Appends the new keys and values to the caches on the device. A single query is split along the keys.
  public func cachedAttention(
    _ qkv: Tensor, keys: Tensor, values: Tensor, before: Int, shape: AttentionShape, sinks: Tensor?
  ) -> Tensor {
    device.operation {
      let rows = qkv.rows
      let headElements = keys.count / shape.keyValueHeads
      precondition((before + rows) * shape.headDim <= headElements, "a cache must have room for the new rows")
      let key = address(qkv) + UInt64(4 * shape.queryColumns)
      for (index, cache) in [keys, values].enumerated() {
        let count = rows * shape.keyColumns
        let arguments = AppendArguments(
          from: key + UInt64(4 * index * shape.keyColumns), to: address(cache), count: UInt32(count),
          heads: UInt32(shape.keyValueHeads), stride: UInt32(qkv.columns), headStride: UInt32(headElements),
          before: UInt32(before))
        device.run(
          "appendRows", constant: shape.headDim, arguments, groupCount: groups(count), needsBarrier: index == 0)
      }
      let out = allocate([rows, shape.queryColumns])
      let group = shape.attentionHeads / shape.keyValueHeads
      if rows > 1 {
        let lse = sinks.map { _ in allocate([rows, shape.attentionHeads]) }
        let tasks = uploaded(
          (0..<groups(rows, of: Self.tile)).reversed().map {
            QueryTask(queryRow: 0, queries: UInt32(rows), keyRow: 0, past: UInt32(before), shared: 0, block: UInt32($0))
          })
        forward(
          AttentionArguments(
            q: address(qkv), k: address(keys), v: address(values), out: address(out), lse: address(lse),
            tasks: address(tasks),
            queryStride: UInt32(qkv.columns), keyStride: UInt32(shape.headDim), keyHeadStride: UInt32(headElements),
            outStride: UInt32(out.columns), heads: UInt32(shape.attentionHeads), group: UInt32(group),
            window: UInt32(shape.window), scale: shape.scale, softcap: shape.softcap),
          tasks: groups(rows, of: Self.tile), shape)
        if let sinks, let lse { applySinks(sinks, out: out, lse: lse, shape: shape) }
        return out
      }
      let first = shape.window > 0 ? max(0, before + 1 - shape.window) : 0
      let partCount = groups(before + 1 - first, of: 256)
      let parts = allocate([shape.attentionHeads, partCount, shape.headDim + 2])
      let arguments = OneQueryArguments(
        q: address(qkv), k: address(keys), v: address(values), parts: address(parts), out: address(out),
        sinks: address(sinks), keyStride: UInt32(shape.headDim), keyHeadStride: UInt32(headElements),
        heads: UInt32(shape.attentionHeads),
        group: UInt32(group), first: UInt32(first), last: UInt32(before + 1), partCount: UInt32(partCount),
        scale: shape.scale, softcap: shape.softcap)
      device.run("attentionPart", constant: shape.headDim, arguments, groups: (partCount, shape.attentionHeads, 1))
      device.run("attentionJoin", constant: shape.headDim, arguments, groups: (shape.attentionHeads, 1, 1))
      return out
    }
  }

  private struct SinkArguments: BitwiseCopyable {
    var sinks, out, lse, delta: UInt64
    var count, heads: UInt32
  }

  /// Runs one thread per element.
  public func applySinks(_ sinks: Tensor, out: Tensor, lse: Tensor, shape: AttentionShape) {
    device.operation {
      var arguments = SinkArguments(
        sinks: address(sinks), out: address(out), lse: address(lse), delta: 0, count: UInt32(out.count),
        heads: UInt32(shape.attentionHeads))
      device.run("scaleBySinks", constant: shape.headDim, arguments, groupCount: groups(out.count))
      arguments.count = UInt32(lse.count)
      device.run("addSinks", constant: shape.headDim, arguments, groupCount: groups(lse.count))
    }
  }

  /// Adds column sums of what each row and head contributes.
  public func addSinkGradient(
    _ sinks: Tensor, out: Tensor, lse: Tensor, dOut: Tensor, shape: AttentionShape, into: Tensor
  ) {
    device.operation {
      let delta = delta(out, dOut, shape)
      let arguments = SinkArguments(
        sinks: address(sinks), out: 0, lse: address(lse), delta: address(delta), count: UInt32(delta.count),
        heads: UInt32(shape.attentionHeads))
      device.run("sinkSlopes", constant: shape.headDim, arguments, groupCount: groups(delta.count))
      addColumnSums(Columns(delta), into: into)
    }
  }

  private struct HeadGateArguments: BitwiseCopyable { var x, dOut, gates, into: UInt64, count, columns: UInt32 }

  /// Runs one thread per element.
  public func gatedHeads(_ x: Tensor, by gates: Tensor) -> Tensor {
    device.operation {
      let out = allocate(x.shape)
      run(
        "gateHeads",
        ElementArguments(
          y: address(out), x: address(x), other: address(gates), count: UInt32(x.count),
          columns: UInt32(x.columns / max(1, gates.columns))))
      return out
    }
  }

  /// Runs one thread per gate.
  public func headGateGradient(_ x: Tensor, by gates: Tensor, dOut: Tensor) -> Tensor {
    device.operation {
      let gradient = allocate(gates.shape)
      let arguments = HeadGateArguments(
        x: address(x), dOut: address(dOut), gates: address(gates), into: address(gradient),
        count: UInt32(gates.count), columns: UInt32(x.columns / max(1, gates.columns)))
      device.run("headGateGradient", arguments, groupCount: groups(gates.count))
      return gradient
    }
  }
}
