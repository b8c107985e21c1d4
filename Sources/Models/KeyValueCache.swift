import Tensors

/// The keys and values of a sequence's tokens so far, for every layer: `[capacity, key columns]` each.
public final class KeyValueCache {
  /// The tokens that are in it.
  public internal(set) var ids: [Int32] = []
  /// How many tokens are in it.
  public var count: Int { ids.count }
  /// The length of the sequence that the keys were last rotated for; some ways to stretch positions depend on it.
  var rotatedLength = 0
  private let backend: any Backend
  private let columns: Int
  private var keys: [Tensor]
  private var values: [Tensor]
  private var capacity: Int

  /// An empty cache for `decoder`, with room for `capacity` tokens before it has to grow.
  public init(for decoder: Decoder, capacity: Int = 512) {
    backend = decoder.backend
    columns = decoder.configuration.attentionShape(layer: 0).keyColumns
    self.capacity = max(64, capacity)
    let shape = [self.capacity, columns]
    let layers = decoder.configuration.layers
    keys = layers.map { _ in decoder.backend.empty(shape, .float32) }
    values = layers.map { _ in decoder.backend.empty(shape, .float32) }
  }

  /// Makes room for `more` tokens.
  func grow(by more: Int) {
    guard count + more > capacity else { return }
    let larger = max(count + more, capacity * 2)
    func grown(_ tensor: Tensor) -> Tensor {
      let copy = backend.empty([larger, columns], .float32)
      backend.copyRows(Columns(tensor), 0, to: Columns(copy), 0, count: count)
      return copy
    }
    keys = keys.map(grown)
    values = values.map(grown)
    capacity = larger
  }

  /// Adds the keys and values of `qkv` to layer `index` and lets its queries attend to all that are there.
  func attend(_ qkv: Tensor, layer index: Int, shape: AttentionShape) -> Tensor {
    let queries = 0..<shape.queryColumns
    let keyRange = queries.upperBound..<queries.upperBound + shape.keyColumns
    let valueRange = keyRange.upperBound..<keyRange.upperBound + shape.keyColumns
    backend.copyRows(Columns(qkv, keyRange), 0, to: Columns(keys[index]), count, count: qkv.rows)
    backend.copyRows(Columns(qkv, valueRange), 0, to: Columns(values[index]), count, count: qkv.rows)
    return backend.cachedAttention(
      Columns(qkv, queries), keys: keys[index], values: values[index], keyCount: count + qkv.rows, shape: shape)
  }

  /// Forgets all tokens from `count` on.
  public func truncate(to count: Int) { ids.removeLast(self.count - min(self.count, max(0, count))) }
}
