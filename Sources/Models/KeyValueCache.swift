import Tensors

/// The KV cache of a sequence: the keys and values of its tokens so far, for every layer.
///
/// Each is a float32 tensor `[key/value heads, capacity, padded head dim]`, so that what one head reads is contiguous.
/// Not `Sendable`: use it together with its transformer.
public final class KeyValueCache {
  /// The ids of the tokens in the cache, in order.
  public internal(set) var ids: [Int32] = []
  /// The number of cached tokens.
  public var count: Int { ids.count }
  /// The sequence length that the keys were last rotated for; some kinds of RoPE scaling depend on it.
  var rotatedLength = 0
  private let backend: any Backend
  private let heads: Int
  private let headDim: Int
  private var keys: [Tensor]
  private var values: [Tensor]
  private var capacity: Int

  /// Creates an empty cache with room for `capacity` tokens; it grows as needed.
  public init(for transformer: Transformer, capacity: Int = 512) {
    backend = transformer.backend
    let attention = transformer.configuration.attentionShape(layer: 0)
    (heads, headDim) = (attention.keyValueHeads, attention.paddedHeadDim)
    self.capacity = max(64, capacity)
    let shape = [heads, self.capacity, headDim]
    let layers = transformer.configuration.layers
    keys = layers.map { _ in transformer.backend.empty(shape, .float32) }
    values = layers.map { _ in transformer.backend.empty(shape, .float32) }
  }

  /// The memory of all keys and values.
  package var byteCount: Int { 2 * keys.count * heads * capacity * headDim * MemoryLayout<Float>.size }

  /// Makes room for `newTokens` more.
  func reserve(_ newTokens: Int) {
    guard count + newTokens > capacity else { return }
    let larger = max(count + newTokens, capacity * 2)
    func grown(_ tensor: Tensor) -> Tensor {
      let copy = backend.empty([heads, larger, headDim], .float32)
      for head in 0..<heads {
        backend.copyRows(Columns(tensor), head * capacity, to: Columns(copy), head * larger, count: count)
      }
      return copy
    }
    keys = keys.map(grown)
    values = values.map(grown)
    capacity = larger
  }

  /// Adds the keys and values of `qkv` to layer `index`, and computes the attention of its queries over all keys.
  func attend(_ qkv: Tensor, layer index: Int, shape: AttentionShape) -> Tensor {
    backend.cachedAttention(qkv, keys: keys[index], values: values[index], before: count, shape: shape)
  }

  /// A cache of its own with the first `count` tokens of this one.
  package func copy(first count: Int, capacity: Int) -> KeyValueCache {
    let count = min(count, self.count)
    let copy = KeyValueCache(copying: self, capacity: max(count, capacity))
    for (from, to) in zip(keys + values, copy.keys + copy.values) {
      for head in 0..<heads {
        backend.copyRows(Columns(from), head * self.capacity, to: Columns(to), head * copy.capacity, count: count)
      }
    }
    copy.ids = Array(ids.prefix(count))
    copy.rotatedLength = rotatedLength
    return copy
  }

  /// An empty cache of the same shape.
  private init(copying other: KeyValueCache, capacity: Int) {
    (backend, heads, headDim) = (other.backend, other.heads, other.headDim)
    self.capacity = max(64, capacity)
    let shape = [heads, self.capacity, headDim]
    keys = other.keys.map { _ in other.backend.empty(shape, .float32) }
    values = other.values.map { _ in other.backend.empty(shape, .float32) }
  }

  /// Removes all tokens after the first `count`.
  public func truncate(to count: Int) { ids.removeLast(self.count - min(self.count, max(0, count))) }
}
