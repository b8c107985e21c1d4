import Foundation
import TensorReferences
import Tensors
import Testing

/// Attention of ragged batches, and with a KV cache.
struct AttentionTests {
  struct Case: CustomTestStringConvertible, Sendable {
    var lengths: [Int]
    var heads = 2
    var keyValueHeads = 1
    var size = 16
    var window = 0
    var softcap: Float = 0
    var testDescription: String {
      "\(lengths), \(heads)/\(keyValueHeads) heads of \(size), window \(window), softcap \(softcap)"
    }
  }

  // Blocks have 32 queries and 64 keys; a tile has 6 rows; sums are taken in chunks of 192. Head dims that aren't
  // multiples of 8 are padded.
  @Test(arguments: [
    Case(lengths: [1]), Case(lengths: [2, 1, 3]), Case(lengths: [31, 32, 33]), Case(lengths: [63]),
    Case(lengths: [64, 65]), Case(lengths: [96, 97]), Case(lengths: [129]),
    Case(lengths: [5, 40, 1], heads: 6, keyValueHeads: 2, size: 32),
    Case(lengths: [7, 0, 35], heads: 4, keyValueHeads: 4, size: 48), Case(lengths: [20], heads: 3, size: 256),
    Case(lengths: [40, 70], heads: 7), Case(lengths: [33, 70], heads: 9), Case(lengths: [45], heads: 16),
    Case(lengths: [12, 40], window: 1), Case(lengths: [80], window: 5), Case(lengths: [131], window: 33),
    Case(lengths: [131], heads: 4, keyValueHeads: 2, window: 64), Case(lengths: [30, 150], window: 65),
    Case(lengths: [20, 31], window: 31), Case(lengths: [50], heads: 8, window: 40),
    Case(lengths: [3, 70], heads: 4, keyValueHeads: 2, size: 8), Case(lengths: [40], heads: 7, size: 24),
    Case(lengths: [35], size: 264), Case(lengths: [3, 70], heads: 4, keyValueHeads: 2, size: 12),
    Case(lengths: [40], heads: 3, size: 20, window: 7), Case(lengths: [33], size: 28), Case(lengths: [9], size: 2),
    Case(lengths: [5, 70], heads: 4, keyValueHeads: 2, softcap: 1.5), Case(lengths: [80], window: 5, softcap: 0.75),
  ])
  func selfAttention(_ test: Case) {
    let starts = test.lengths.reduce(into: [0]) { $0.append($0[$0.count - 1] + $1) }
    let shape = AttentionShape(
      attentionHeads: test.heads, keyValueHeads: test.keyValueHeads, headDim: test.size, window: test.window,
      scale: 1 / Float(test.size).squareRoot(), softcap: test.softcap)
    let columns = shape.queryColumns + 2 * shape.keyColumns
    OperationCheck(
      variables: [Operand([starts[starts.count - 1], columns], seed: 3, range: 2)], parameters: [],
      run: { tape, x, _ in [tape.attention(x[0], starts: starts, shape: shape)] },
      reference: { _, x, _ in [x[0].attention(starts: starts, shape: shape).flat] }
    ).verify()
  }

  /// Storing a shared prefix once gives the same outputs as whole sequences, and the sum of their gradients.
  @Test(arguments: [
    (1, Case(lengths: [1])), (3, Case(lengths: [4, 1, 7])), (64, Case(lengths: [5, 33])),
    (65, Case(lengths: [30, 2], heads: 6, keyValueHeads: 2)), (100, Case(lengths: [40, 1, 20], window: 33)),
    (20, Case(lengths: [70, 9], heads: 4, keyValueHeads: 2, size: 24, window: 5)), (40, Case(lengths: [0, 30])),
  ])
  func sharedPrefix(_ shared: Int, _ test: Case) {
    let starts = test.lengths.reduce(into: [shared]) { $0.append($0[$0.count - 1] + $1) }
    let shape = AttentionShape(
      attentionHeads: test.heads, keyValueHeads: test.keyValueHeads, headDim: test.size, window: test.window,
      scale: 0.25)
    let columns = shape.queryColumns + 2 * shape.keyColumns
    OperationCheck(
      variables: [Operand([starts[starts.count - 1], columns], seed: 3, range: 2)], parameters: [],
      run: { tape, x, _ in [tape.attention(x[0], starts: starts, shape: shape)] },
      reference: { graph, x, _ in
        let own = zip(starts, starts.dropFirst()).map { Array(x[0].rows[$0..<$1]) }
        let beginning = Array(x[0].rows[..<shared])
        let attended = own.map { rows in
          ReferenceMatrix(graph, beginning + rows).attention(starts: [0, shared + rows.count], shape: shape).rows
        }
        let rows = Array(attended[0].prefix(shared)) + attended.flatMap { $0.dropFirst(shared) }
        return [ReferenceMatrix(graph, rows).flat]
      }
    ).verify()
  }

  /// Scores in the hundreds: the softmax is almost one-hot, and nothing overflows.
  @Test func largeScores() {
    let shape = AttentionShape(attentionHeads: 2, keyValueHeads: 1, headDim: 16, scale: 16)
    OperationCheck(
      variables: [Operand([70, 64], seed: 3, range: 3)], parameters: [],
      run: { tape, x, _ in [tape.attention(x[0], starts: [0, 70], shape: shape)] },
      reference: { _, x, _ in [x[0].attention(starts: [0, 70], shape: shape).flat] },
      // Rounding a score of 700 changes its probability by 3e-5, and gradients are differences of probabilities.
      tolerance: 2e-3, differenceTolerance: 0.02, step: 1.0 / 65536
    ).verify()
  }

  /// Rows appended to a cache give the outputs of the whole sequence, wherever it is split.
  @Test(arguments: [0, 10], [1, 2, 33, 70, 100])
  func cachedAttention(window: Int, newRows: Int) {
    let (rows, capacity) = (100, 120)
    let shape = AttentionShape(attentionHeads: 6, keyValueHeads: 2, headDim: 16, window: window, scale: 0.25)
    let qkv = Operand([rows, shape.queryColumns + 2 * shape.keyColumns], seed: 4, range: 2)
    let graph = ReferenceGraph()
    let matrix = ReferenceMatrix(graph, qkv.values, columns: qkv.shape[1])
    let expected = matrix.attention(starts: [0, rows], shape: shape).rows.suffix(newRows).flatMap { $0 }
    let results = Backends.results { backend in
      let all = backend.tensor(qkv.values, qkv.shape)
      // The contents of the cache past the last key must not matter.
      let caches = [0, 1].map { _ in
        backend.tensor(
          [Float](repeating: .nan, count: capacity * shape.keyColumns),
          [shape.keyValueHeads, capacity, shape.headDim])
      }
      func attend(_ range: Range<Int>) -> Tensor {
        backend.cachedAttention(
          all.rows(range), keys: caches[0], values: caches[1], before: range.lowerBound, shape: shape, sinks: nil)
      }
      if newRows < rows { _ = attend(0..<rows - newRows) }
      return [backend.floats(attend(rows - newRows..<rows))]
    }
    for (target, values) in results {
      #expect(worstError(values[0], expected.map { graph[$0] }) < 1e-5, "\(target)")
    }
  }

  /// Several sequences at once, with one new row and with more, have the bits of each by itself.
  @Test(arguments: [16, 20], [false, true]) func severalCachedSequences(headDim: Int, hasSinks: Bool) {
    let shape = AttentionShape(attentionHeads: 6, keyValueHeads: 2, headDim: headDim, scale: 0.25)
    let cached = [0, 90, 1, 64, 7]
    let added = [3, 1, 1, 40, 1]
    let columns = shape.queryColumns + 2 * shape.keyColumns
    let logits = Operand([6], seed: 5, range: 3)
    for (target, values) in Backends.results({ backend in
      let sinks = hasSinks ? backend.tensor(logits.values, [6]) : nil
      let new = Operand([added.reduce(0, +), columns], seed: 4, range: 2)
      let qkv = backend.tensor(new.values, new.shape)
      func sequences() -> [CachedKeys] {
        var first = 0
        return zip(cached, added).enumerated().map { index, counts in
          let caches = [0, 1].map { _ in backend.empty([2, 150, shape.paddedHeadDim], .float32) }
          let old = Operand([counts.0, columns], seed: 6 + index, range: 2)
          if counts.0 > 0 {
            _ = backend.cachedAttention(
              backend.tensor(old.values, old.shape), keys: caches[0], values: caches[1], before: 0, shape: shape,
              sinks: nil)
          }
          defer { first += counts.1 }
          return CachedKeys(rows: first..<first + counts.1, keys: caches[0], values: caches[1], before: counts.0)
        }
      }
      let alone = sequences().flatMap {
        backend.floats(
          backend.cachedAttention(
            qkv.rows($0.rows), keys: $0.keys, values: $0.values, before: $0.before, shape: shape, sinks: sinks))
      }
      return [alone, backend.floats(backend.cachedAttention(qkv, sequences(), shape: shape, sinks: sinks))]
    }) {
      #expect(values[0] == values[1], "\(target)")
    }
  }

  /// A sink is a key with a score of its own and without a value: the same as one more key that is orthogonal to all queries.
  @Test(arguments: [(0, 8), (5, 12)]) func sinks(window: Int, headDim: Int) {
    let shape = AttentionShape(attentionHeads: 4, keyValueHeads: 2, headDim: headDim, window: window, scale: 0.25)
    let starts = [0, 9, 40]
    OperationCheck(
      variables: [Operand([40, shape.queryColumns + 2 * shape.keyColumns], seed: 4, range: 2)],
      parameters: [Operand([4], seed: 5, range: 3)],
      run: { tape, x, p in
        [tape.attention(x[0], parts: [(0..<40, starts)], shape: shape, sinks: p[0])]
      },
      reference: { _, x, p in [x[0].attention(starts: starts, shape: shape, sinks: p[0].flat).flat] }
    ).verify()
  }

  /// Rows appended to a cache, one by one and many at once, give the outputs of the whole sequence.
  @Test(arguments: [1, 2, 40]) func cachedSinks(newRows: Int) {
    let shape = AttentionShape(attentionHeads: 4, keyValueHeads: 2, headDim: 20, window: 30, scale: 0.25)
    let qkv = Operand([100, shape.queryColumns + 2 * shape.keyColumns], seed: 4, range: 2)
    let logits = Operand([4], seed: 5, range: 3)
    for (target, values) in Backends.results({ backend in
      let all = backend.tensor(qkv.values, qkv.shape)
      let sinks = backend.tensor(logits.values, [4])
      let caches = [0, 1].map { _ in backend.empty([2, 100, shape.paddedHeadDim], .float32) }
      func attend(_ range: Range<Int>) -> Tensor {
        backend.cachedAttention(
          all.rows(range), keys: caches[0], values: caches[1], before: range.lowerBound, shape: shape, sinks: sinks)
      }
      _ = attend(0..<100 - newRows)
      let (whole, lse) = backend.attention(all, starts: [0, 100], shape: shape, keepsLogSumExp: true)
      guard let lse else { return [] }
      backend.applySinks(sinks, out: whole, lse: lse, shape: shape)
      return [backend.floats(attend(100 - newRows..<100)), backend.floats(whole.rows(100 - newRows..<100))]
    }) {
      #expect(values.count == 2 && worstError(values[0], values[1].map(Double.init)) < 4e-6, "\(target)")
    }
  }

  /// A single query is split into one to four parts along the keys.
  @Test(
    arguments: [1, 7, 63, 64, 65, 128, 191, 192, 300],
    [(0, 24, 0), (70, 24, 0), (0, 12, 0), (70, 20, 0), (0, 20, 1.5)] as [(Int, Int, Float)])
  func singleCachedQuery(keys: Int, attention: (window: Int, headDim: Int, softcap: Float)) {
    let (window, headDim, softcap) = attention
    let shape = AttentionShape(
      attentionHeads: 6, keyValueHeads: 2, headDim: headDim, window: window, scale: 0.25, softcap: softcap)
    let qkv = Operand([keys, shape.queryColumns + 2 * shape.keyColumns], seed: 5, range: 2)
    for (target, values) in Backends.results({ backend in
      let all = backend.tensor(qkv.values, qkv.shape)
      let caches = [0, 1].map { _ in backend.empty([shape.keyValueHeads, keys, shape.paddedHeadDim], .float32) }
      func attend(_ range: Range<Int>) -> Tensor {
        backend.cachedAttention(
          all.rows(range), keys: caches[0], values: caches[1], before: range.lowerBound, shape: shape, sinks: nil)
      }
      if keys > 1 { _ = attend(0..<keys - 1) }
      let whole = backend.attention(all, starts: [0, keys], shape: shape, keepsLogSumExp: false).out
      return [backend.floats(attend(keys - 1..<keys)), backend.floats(whole.rows(keys - 1..<keys))]
    }) {
      // Scores reach 20; rounding them changes a probability by 2e-6 on either side.
      #expect(worstError(values[0], values[1].map(Double.init)) < 4e-6, "\(target)")
    }
  }
}
