import CKernels

/// The rows of one sequence of a ragged batch.
struct AttentionSequence {
  /// The rows of its queries and of its own keys and values.
  let rows: Range<Int>
  /// The number of keys before its own: rows 0 to `prefix` of the batch. 0 for the shared prefix itself.
  let prefix: Int
  /// Whether this is the prefix that the other sequences share.
  let isSharedPrefix: Bool

  /// The sequences of a batch, given their first rows and the number of rows. A shared prefix is a sequence of its own,
  /// the first.
  static func all(_ starts: [Int]) -> [AttentionSequence] {
    let prefix = starts.first ?? 0
    let shared = AttentionSequence(rows: 0..<prefix, prefix: 0, isSharedPrefix: true)
    return (prefix > 0 ? [shared] : [])
      + zip(starts, starts.dropFirst()).map {
        AttentionSequence(rows: $0..<$1, prefix: prefix, isSharedPrefix: false)
      }
  }
}

/// A block of consecutive queries, or of keys, of one sequence and one key/value head: what one task computes.
struct AttentionBlock {
  let sequence: AttentionSequence
  /// The key/value head.
  let head: Int
  /// The block's number in its sequence.
  let index: Int

  /// All blocks of `size` rows, those with the most work first within a sequence and head.
  static func all(of sequences: [AttentionSequence], heads: Int, size: Int) -> [AttentionBlock] {
    sequences.flatMap { sequence in
      (0..<heads).flatMap { head in
        (0..<(sequence.rows.count + size - 1) / size).reversed().map {
          AttentionBlock(sequence: sequence, head: head, index: $0)
        }
      }
    }
  }
}

/// q, k and v, or their gradients, side by side in the rows of a float32 matrix.
struct QKVMatrix {
  private let base: UnsafeMutablePointer<Float>
  private let shape: AttentionShape
  /// The number of elements from one row to the next.
  let stride: Int

  init(_ tensor: Tensor, _ shape: AttentionShape) {
    base = tensor.pointer()
    stride = tensor.columns
    self.shape = shape
  }

  /// The queries of the first of the attention heads that share key/value head `head`. The others follow.
  func queries(_ row: Int, head: Int) -> UnsafeMutablePointer<Float> {
    base + row * stride + head * shape.groupSize * shape.headDim
  }

  func key(_ row: Int, head: Int) -> UnsafeMutablePointer<Float> {
    base + row * stride + shape.queryColumns + head * shape.headDim
  }

  func value(_ row: Int, head: Int) -> UnsafeMutablePointer<Float> { key(row, head: head) + shape.keyColumns }

  /// The attention of a sequence to itself and the prefix, for one key/value head.
  func attention(_ sequence: AttentionSequence, head: Int) -> ck_attention {
    let (first, count) = (sequence.rows.lowerBound, sequence.rows.count)
    return ck_attention(
      q: queries(first, head: head), k: key(first, head: head), v: value(first, head: head),
      shared_k: key(0, head: head), shared_v: value(0, head: head), ldq: stride, ldk: stride, ldv: stride,
      query_count: count, key_count: sequence.prefix + count, shared_count: sequence.prefix, group: shape.groupSize,
      head_dim: shape.headDim, window: shape.window, scale: shape.scale, softcap: shape.softcap)
  }
}

/// A float32 matrix with the same number of columns for each attention head: outputs, or statistics of the scores.
struct HeadMatrix {
  private let base: UnsafeMutablePointer<Float>
  private let columnsPerGroup: Int
  /// The number of elements from one row to the next.
  let stride: Int

  init(_ tensor: Tensor, _ shape: AttentionShape) {
    base = tensor.pointer()
    stride = tensor.columns
    columnsPerGroup = tensor.columns / shape.keyValueHeads
  }

  /// The columns of the attention heads that share key/value head `head`.
  func pointer(_ row: Int, head: Int) -> UnsafeMutablePointer<Float> { base + row * stride + head * columnsPerGroup }
}

/// A KV cache of one sequence: keys or values `[key/value heads, capacity, head dim]`, float32.
struct KeyValueMatrix {
  private let base: UnsafeMutablePointer<Float>
  private let headDim: Int
  private let headStride: Int

  init(_ tensor: Tensor, _ shape: AttentionShape) {
    base = tensor.pointer()
    headDim = shape.headDim
    headStride = tensor.count / shape.keyValueHeads
  }

  /// The number of positions that there is room for.
  var capacity: Int { headStride / headDim }

  func pointer(_ position: Int, head: Int) -> UnsafeMutablePointer<Float> {
    base + head * headStride + position * headDim
  }
}
