/// Linear attention by the gated delta rule.
extension VulkanBackend {
  /// The rows whose states are kept together for the backward pass.
  private static let deltaChunk = 32
  /// The device memory that the states and parts of the sequences in work should not exceed.
  private static let deltaMemory = 256 << 20

  private struct DeltaSequence: BitwiseCopyable {
    var row, rows: UInt32
    /// Numbers of states in the arrays of these names.
    var initial: UInt32 = 0, saved: UInt32 = 0, last: UInt32 = 0
    var reserved: UInt32 = 0

    init(_ rows: Range<Int>) { (row, self.rows) = (UInt32(rows.lowerBound), UInt32(rows.count)) }
  }

  private struct DeltaSizes: BitwiseCopyable {
    var stride, keyHeads, valueHeads, keyDim, valueDim: UInt32
    /// The columns of a state that a group has in shared memory, which holds 4,096 floats of them.
    var columns: UInt32

    init(_ shape: DeltaShape, stride: Int) {
      precondition(shape.keyDim <= DeltaShape.largestKeyDim, "a column of a state must fit the shared memory")
      var columns = 16
      while columns * shape.keyDim > DeltaShape.largestKeyDim { columns /= 2 }
      (self.stride, self.columns) = (UInt32(stride), UInt32(columns))
      (keyHeads, valueHeads) = (UInt32(shape.keyHeads), UInt32(shape.valueHeads))
      (keyDim, valueDim) = (UInt32(shape.keyDim), UInt32(shape.valueDim))
    }

    var columnGroups: Int { Int((valueDim + columns - 1) / columns) }
  }

  private struct DeltaArguments: BitwiseCopyable {
    /// Replaced by the address of the sequences.
    var sequences: UInt64 = 0
    var qkv, gates, out, errors, initial, saved, last: UInt64
    var sizes: DeltaSizes
    var interval: UInt32
  }

  private struct DeltaGradientArguments: BitwiseCopyable {
    var sequences: UInt64 = 0
    var qkv, gates, errors, dOut, states, dStates, dQKV, parts: UInt64
    var sizes: DeltaSizes
    var capacity: UInt32
  }

  private struct DeltaSumArguments: BitwiseCopyable {
    var sequences: UInt64 = 0
    var parts, dQKV, dGates: UInt64
    var sizes: DeltaSizes
    var capacity: UInt32
  }

  /// Runs one group of threads per sequence, head and 16 columns of the state.
  private func rule(
    _ sequences: [DeltaSequence], _ qkv: Tensor, _ gates: Tensor, _ shape: DeltaShape, out: Tensor? = nil,
    errors: Tensor? = nil, from initial: Tensor? = nil, saving saved: Tensor? = nil, every interval: Int = 1,
    last: Tensor? = nil
  ) {
    let arguments = DeltaArguments(
      qkv: address(qkv), gates: address(gates), out: address(out), errors: address(errors), initial: address(initial),
      saved: address(saved), last: address(last), sizes: DeltaSizes(shape, stride: qkv.columns),
      interval: UInt32(interval))
    sequences.withUnsafeBytes {
      device.run(
        "deltaRule", arguments, list: $0, groups: (sequences.count, shape.valueHeads, arguments.sizes.columnGroups))
    }
  }

  /// The rows of the prefix, if there is one, and those of each sequence that has some.
  private func ranges(_ starts: [Int]) -> (prefix: [Range<Int>], sequences: [Range<Int>]) {
    func present(_ ranges: [Range<Int>]) -> [Range<Int>] { ranges.filter { !$0.isEmpty } }
    return (present([0..<(starts.first ?? 0)]), present(zip(starts, starts.dropFirst()).map { $0..<$1 }))
  }

  /// The state after the prefix comes first; each sequence starts from it.
  public func deltaRule(_ qkv: Tensor, gates: Tensor, starts: [Int], shape: DeltaShape, state: Tensor?) -> Tensor {
    device.operation {
      let (prefix, sequences) = ranges(starts)
      let out = allocate([qkv.rows, shape.valueColumns])
      var initial = state
      if !prefix.isEmpty {
        let common = allocate([shape.valueHeads, shape.keyDim * shape.valueDim])
        rule(prefix.map(DeltaSequence.init), qkv, gates, shape, out: out, from: state, last: common)
        initial = common
      }
      if !sequences.isEmpty {
        rule(sequences.map(DeltaSequence.init), qkv, gates, shape, out: out, from: initial, last: state)
      }
      return out
    }
  }

  /// Goes backward through chunks of 32 rows, whose states are computed once more. Each step is an operation of its own:
  /// only at its end can the next have its memory.
  public func deltaRuleBackward(
    _ qkv: Tensor, gates: Tensor, dOut: Tensor, starts: [Int], shape: DeltaShape
  ) -> (qkv: Tensor, gates: Tensor) {
    let (prefix, sequences) = ranges(starts)
    let state = shape.valueHeads * shape.keyDim * shape.valueDim
    let pass = DeltaBackward(
      qkv: qkv, gates: gates, dOut: dOut, shape: shape, dQKV: allocate(qkv.shape), dGates: allocate(gates.shape))
    let common = prefix.isEmpty ? nil : allocate([1, state])
    device.operation {
      if let common { rule(prefix.map(DeltaSequence.init), qkv, gates, shape, last: common) }
    }
    let dStates = zeros([max(1, sequences.count), state])
    backward(sequences, pass, from: common, dStates)
    if !prefix.isEmpty {
      let dCommon = zeros([1, state])
      addColumnSums(Columns(dStates), into: dCommon)
      backward(prefix, pass, from: nil, dCommon)
    }
    return (pass.dQKV, pass.dGates)
  }

  private struct DeltaBackward {
    let qkv, gates, dOut: Tensor
    let shape: DeltaShape
    let dQKV, dGates: Tensor
  }

  private func zeros(_ shape: [Int]) -> Tensor {
    let tensor = allocate(shape)
    clear(tensor)
    return tensor
  }

  /// The gradients of all rows of sequences.
  /// - Parameters:
  ///   - initial: the state before each sequence; `nil` for zeros.
  ///   - dStates: `[sequences, heads · size]`: the gradients of the states after the sequences, replaced by those of the
  ///     states before them.
  private func backward(_ sequences: [Range<Int>], _ pass: DeltaBackward, from initial: Tensor?, _ dStates: Tensor) {
    let sizes = DeltaSizes(pass.shape, stride: pass.qkv.columns)
    var first = 0
    while first < sequences.count {
      // As many sequences at once as their memory allows, but at least one.
      var (list, chunks, bytes) = ([DeltaSequence](), 0, 0)
      for rows in sequences[first...] {
        var sequence = DeltaSequence(rows)
        (sequence.saved, sequence.last) = (UInt32(chunks), UInt32(first + list.count))
        bytes += stateBytes(rows: rows.count, pass.shape)
        if !list.isEmpty, bytes > Self.deltaMemory { break }
        list.append(sequence)
        chunks += groups(rows.count, of: Self.deltaChunk)
      }
      first += list.count
      device.operation { backward(list, chunkCount: chunks, pass, from: initial, dStates, sizes) }
    }
  }

  /// The bytes of the states and parts of a sequence in work.
  private func stateBytes(rows: Int, _ shape: DeltaShape) -> Int {
    let state = shape.valueHeads * shape.keyDim * shape.valueDim
    let columnGroups = DeltaSizes(shape, stride: shape.columns).columnGroups
    let part = shape.valueHeads * columnGroups * (2 * shape.keyDim + 2)
    return 4 * (Self.deltaChunk * (state + part) + groups(rows, of: Self.deltaChunk) * state)
  }

  /// The states and parts of the sequences in work, the gradient of a state in each sequence, and the errors of rows.
  public func deltaRuleBackwardMemory(sequences: Int, rows: Int, shape: DeltaShape) -> Int {
    let own = stateBytes(rows: rows, shape)
    let state = shape.valueHeads * shape.keyDim * shape.valueDim
    return max(1, min(sequences, Self.deltaMemory / own)) * own
      + 4 * sequences * (state + rows * shape.valueColumns)
  }

  private func backward(
    _ sequences: [DeltaSequence], chunkCount: Int, _ pass: DeltaBackward, from initial: Tensor?, _ dStates: Tensor,
    _ sizes: DeltaSizes
  ) {
    let saved = allocate([chunkCount, dStates.columns])
    rule(sequences, pass.qkv, pass.gates, pass.shape, from: initial, saving: saved, every: Self.deltaChunk)
    let states = allocate([sequences.count * Self.deltaChunk, dStates.columns])
    let parts = allocate(
      [sequences.count * Self.deltaChunk, pass.shape.valueHeads * sizes.columnGroups * (2 * pass.shape.keyDim + 2)])
    let errors = allocate(pass.dOut.shape)
    let longest = sequences.map { Int($0.rows) }.max() ?? 0
    for chunk in (0..<groups(longest, of: Self.deltaChunk)).reversed() {
      backward(
        Self.chunk(chunk, of: sequences), pass, from: saved, states: states, errors: errors, parts: parts, dStates,
        sizes)
    }
  }

  /// Chunk number `chunk` of each sequence that has so many. Its initial states are those saved before.
  private static func chunk(_ chunk: Int, of sequences: [DeltaSequence]) -> [DeltaSequence] {
    let first = UInt32(chunk * deltaChunk)
    var chunks: [DeltaSequence] = []
    for sequence in sequences where sequence.rows > first {
      var own = sequence
      own.row += first
      own.rows = min(UInt32(deltaChunk), sequence.rows - first)
      own.initial = sequence.saved + UInt32(chunk)
      own.saved = UInt32(chunks.count * deltaChunk)
      chunks.append(own)
    }
    return chunks
  }

  private func backward(
    _ chunks: [DeltaSequence], _ pass: DeltaBackward, from saved: Tensor, states: Tensor, errors: Tensor,
    parts: Tensor, _ dStates: Tensor, _ sizes: DeltaSizes
  ) {
    let shape = pass.shape
    rule(chunks, pass.qkv, pass.gates, shape, errors: errors, from: saved, saving: states)
    let gradient = DeltaGradientArguments(
      qkv: address(pass.qkv), gates: address(pass.gates), errors: address(errors), dOut: address(pass.dOut),
      states: address(states), dStates: address(dStates), dQKV: address(pass.dQKV), parts: address(parts),
      sizes: sizes, capacity: UInt32(Self.deltaChunk))
    let sums = DeltaSumArguments(
      parts: address(parts), dQKV: address(pass.dQKV), dGates: address(pass.dGates), sizes: sizes,
      capacity: UInt32(Self.deltaChunk))
    chunks.withUnsafeBytes { list in
      device.run(
        "deltaRuleBackward", gradient, list: list, groups: (chunks.count, shape.valueHeads, sizes.columnGroups))
      device.run("deltaPartSums", sums, list: list, groups: (chunks.count, Self.deltaChunk, 1))
    }
  }

  private struct DeltaGateArguments: BitwiseCopyable {
    var ba, aLog, dtBias: UInt64
    var gates: UInt64 = 0, dGates: UInt64 = 0, dBA: UInt64 = 0, products: UInt64 = 0
    var count, heads, stride: UInt32
    var gradientStride: UInt32 = 0
  }

  private func gateArguments(_ ba: Columns, _ aLog: Tensor, _ dtBias: Tensor) -> DeltaGateArguments {
    DeltaGateArguments(
      ba: address(ba), aLog: address(aLog), dtBias: address(dtBias), count: UInt32(ba.rows * ba.count / 2),
      heads: UInt32(ba.count / 2), stride: UInt32(ba.tensor.columns))
  }

  /// Runs one thread per row and head.
  public func deltaGates(_ ba: Columns, aLog: Tensor, dtBias: Tensor) -> Tensor {
    device.operation {
      let gates = allocate([ba.rows, ba.count])
      var arguments = gateArguments(ba, aLog, dtBias)
      arguments.gates = address(gates)
      device.run("deltaGates", arguments, groupCount: groups(Int(arguments.count)))
      return gates
    }
  }

  /// Runs one thread per row and head; the gradients of `aLog` and `dtBias` are column sums.
  public func deltaGatesBackward(
    _ ba: Columns, aLog: Tensor, dtBias: Tensor, dGates: Tensor, into: Columns, dALog: Tensor?, dDtBias: Tensor?
  ) {
    device.operation {
      let heads = ba.count / 2
      let products = dALog.map { _ in allocate([ba.rows, heads]) }
      var arguments = gateArguments(ba, aLog, dtBias)
      (arguments.dGates, arguments.dBA, arguments.products) = (address(dGates), address(into), address(products))
      arguments.gradientStride = UInt32(into.tensor.columns)
      device.run("deltaGatesBackward", arguments, groupCount: groups(Int(arguments.count)))
      if let dALog, let products { addColumnSums(Columns(products), into: dALog) }
      if let dDtBias {
        addColumnSums(Columns(into.tensor, into.offset + heads..<into.offset + 2 * heads), into: dDtBias)
      }
    }
  }
}
