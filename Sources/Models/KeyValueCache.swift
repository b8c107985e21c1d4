import Tensors

/// What the layers keep of a sequence's tokens so far: keys and values, or the state of a layer that carries one.
///
/// Keys and values are float32 tensors `[key/value heads, capacity, padded head dim]`, so that what one head reads is
/// contiguous. Not `Sendable`: use it together with its transformer.
public final class KeyValueCache {
  /// The ids of the tokens in the cache, in order.
  public internal(set) var ids: [Int32] = []
  /// The number of cached tokens.
  public var count: Int { ids.count }
  /// The sequence length that the keys were last rotated for; some kinds of RoPE scaling depend on it.
  var rotatedLength = 0
  private let backend: any Backend
  private let isRecurrent: Bool
  private var layers: [LayerState]
  private var capacity: Int

  /// What one layer keeps.
  private enum LayerState {
    case attention(keys: Tensor, values: Tensor)
    /// Nothing: it attends to the keys and values of another layer.
    case shared
    /// Tensors that describe all earlier tokens; empty before the first.
    case recurrent([Tensor])
  }

  /// Creates an empty cache with room for `capacity` tokens; it grows as needed.
  public init(for transformer: Transformer, capacity: Int = 512) {
    backend = transformer.backend
    let configuration = transformer.configuration
    isRecurrent = configuration.isRecurrent
    let rows = max(64, capacity)
    self.capacity = rows
    layers = configuration.layers.enumerated().map { index, layer in
      guard layer.mixer == .attention else { return .recurrent([]) }
      guard layer.sharedLayer == nil else { return .shared }
      let attention = configuration.attentionShape(layer: index)
      let shape = [attention.keyValueHeads, rows, attention.paddedHeadDim]
      return .attention(
        keys: transformer.backend.empty(shape, .float32), values: transformer.backend.empty(shape, .float32))
    }
  }

  /// The memory of one more token's keys and values, in bytes.
  package static func bytesPerToken(_ transformer: Transformer) -> Int {
    let configuration = transformer.configuration
    return configuration.layers.indices.reduce(0) { sum, index in
      let layer = configuration.layers[index]
      guard layer.mixer == .attention, layer.sharedLayer == nil else { return sum }
      let attention = configuration.attentionShape(layer: index)
      return sum + 2 * 4 * attention.keyValueHeads * attention.paddedHeadDim
    }
  }

  /// The memory of all keys, values and states.
  package var byteCount: Int {
    layers.reduce(0) { sum, layer in
      switch layer {
      case .attention(let keys, let values): sum + 4 * (keys.count + values.count)
      case .shared: sum
      case .recurrent(let state): sum + 4 * state.reduce(0) { $0 + $1.count }
      }
    }
  }

  /// Makes room for `newTokens` more.
  func reserve(_ newTokens: Int) {
    guard count + newTokens > capacity else { return }
    let larger = max(count + newTokens, capacity * 2)
    func grown(_ tensor: Tensor) -> Tensor {
      let heads = tensor.shape[0]
      let copy = backend.empty([heads, larger, tensor.shape[2]], .float32)
      for head in 0..<heads {
        backend.copyRows(Columns(tensor), head * capacity, to: Columns(copy), head * larger, count: count)
      }
      return copy
    }
    layers = layers.map { layer in
      guard case .attention(let keys, let values) = layer else { return layer }
      return .attention(keys: grown(keys), values: grown(values))
    }
    capacity = larger
  }

  /// What layer `index` keeps, for new rows of this sequence among those of several.
  func keys(ofLayer index: Int, rows: Range<Int>) -> CachedKeys {
    guard case .attention(let keys, let values) = layers[index] else {
      preconditionFailure("only attention layers keep keys and values")
    }
    return CachedKeys(rows: rows, keys: keys, values: values, before: count)
  }

  /// A cache of its own with the first `count` tokens of this one. Only layers of attention can go back to them.
  package func copy(first count: Int, capacity: Int) -> KeyValueCache {
    let count = min(count, self.count)
    let copy = KeyValueCache(copying: self, first: count, capacity: max(64, count, capacity))
    copy.ids = Array(ids.prefix(count))
    copy.rotatedLength = rotatedLength
    return copy
  }

  private init(copying other: KeyValueCache, first count: Int, capacity: Int) {
    (backend, isRecurrent) = (other.backend, other.isRecurrent)
    self.capacity = capacity
    func copied(_ tensor: Tensor) -> Tensor {
      let heads = tensor.shape[0]
      let copy = other.backend.empty([heads, capacity, tensor.shape[2]], .float32)
      for head in 0..<heads {
        other.backend.copyRows(Columns(tensor), head * other.capacity, to: Columns(copy), head * capacity, count: count)
      }
      return copy
    }
    layers = other.layers.map { layer in
      switch layer {
      case .attention(let keys, let values): .attention(keys: copied(keys), values: copied(values))
      case .shared: .shared
      case .recurrent: .recurrent([])
      }
    }
  }

  /// The state of layer `index`: empty before the first token, then what was last set.
  subscript(state index: Int) -> [Tensor] {
    get { if case .recurrent(let state) = layers[index] { state } else { [] } }
    set { layers[index] = .recurrent(newValue) }
  }

  /// `rows` after the last `before` rows that layer `index` was given, zeros if there were none; keeps the last for the
  /// next call, as the first tensor of the layer's state.
  func following(_ rows: Tensor, count before: Int, layer index: Int) -> Tensor {
    let joined = backend.empty([before + rows.rows, rows.columns], .float32)
    var state = self[state: index]
    if state.isEmpty {
      let zeros = backend.empty([before, rows.columns], .float32)
      backend.clear(zeros)
      state = [zeros]
    }
    backend.copyRows(Columns(state[0]), 0, to: Columns(joined), 0, count: before)
    backend.copyRows(Columns(rows), 0, to: Columns(joined), before, count: rows.rows)
    let last = backend.empty([before, rows.columns], .float32)
    backend.copyRows(Columns(joined), rows.rows, to: Columns(last), 0, count: before)
    state[0] = last
    self[state: index] = state
    return joined
  }

  /// Removes the tokens after the first `count`. From a recurrent state earlier ones can't be recovered: unless `count` is
  /// what the cache holds, all tokens are removed.
  /// - Returns: the number of tokens that are left.
  @discardableResult public func truncate(to count: Int) -> Int {
    let kept = min(self.count, max(0, count))
    guard kept < self.count else { return kept }
    guard isRecurrent else {
      ids.removeLast(self.count - kept)
      return kept
    }
    ids = []
    for index in layers.indices {
      if case .recurrent = layers[index] { layers[index] = .recurrent([]) }
    }
    return 0
  }
}
