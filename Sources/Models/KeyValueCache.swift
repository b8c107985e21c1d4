import Tensors

/// The keys and values of a sequence's tokens so far, for every layer: `[key/value heads, capacity, head size]` each, so
/// that what one head reads lies in one piece.
public final class KeyValueCache {
  /// The tokens that are in it.
  public internal(set) var ids: [Int32] = []
  /// How many tokens are in it.
  public var count: Int { ids.count }
  /// The length of the sequence that the keys were last rotated for; some ways to stretch positions depend on it.
  var rotatedLength = 0
  private let backend: any Backend
  private let heads: Int
  private let headDim: Int
  private var keys: [Tensor]
  private var values: [Tensor]
  private var capacity: Int

  /// An empty cache for `transformer`, with room for `capacity` tokens before it has to grow.
  public init(for transformer: Transformer, capacity: Int = 512) {
    backend = transformer.backend
    let attention = transformer.configuration.attentionShape(layer: 0)
    (heads, headDim) = (attention.keyValueHeads, attention.headDim)
    self.capacity = max(64, capacity)
    let shape = [heads, self.capacity, headDim]
    let layers = transformer.configuration.layers
    keys = layers.map { _ in transformer.backend.empty(shape, .float32) }
    values = layers.map { _ in transformer.backend.empty(shape, .float32) }
  }

  /// Makes room for `more` tokens.
  func grow(by more: Int) {
    guard count + more > capacity else { return }
    let larger = max(count + more, capacity * 2)
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

  /// Adds the keys and values of `qkv` to layer `index` and lets its queries attend to all that are there.
  func attend(_ qkv: Tensor, layer index: Int, shape: AttentionShape) -> Tensor {
    backend.cachedAttention(qkv, keys: keys[index], values: values[index], before: count, shape: shape)
  }

  /// Forgets all tokens from `count` on.
  public func truncate(to count: Int) { ids.removeLast(self.count - min(self.count, max(0, count))) }
}
