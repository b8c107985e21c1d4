/// The cosines and sines of the rotary position embeddings (RoPE, Su et al. 2021, arXiv:2104.09864) of a batch's
/// tokens.
public struct RotaryAngles {
  /// The cosines, float32 `[rows, rotary dim / 2]`.
  public let cosines: Tensor
  /// The sines, float32 `[rows, rotary dim / 2]`.
  public let sines: Tensor
  /// Cosines and sines for queries, where these are multiplied by a factor that depends on the position; `nil` if queries
  /// rotate as keys do.
  public let queries: (cosines: Tensor, sines: Tensor)?

  /// Creates angles from their cosines and sines, which must have the same shape.
  public init(cosines: Tensor, sines: Tensor, queries: (cosines: Tensor, sines: Tensor)? = nil) {
    self.cosines = cosines
    self.sines = sines
    self.queries = queries
  }
}

/// RMS norms of queries and keys before they are rotated: of each head (Qwen3, Gemma 3), or of all heads together
/// (OLMo 2); and of values (Gemma 4).
public struct QueryKeyNorms {
  /// `[head size]`, or `[query columns]` for all heads together.
  public let query: Parameter
  /// `[head size]`, or `[key columns]` for all heads together; `nil` if there are no keys.
  public let key: Parameter?
  /// `[head size]`; `nil` if values have no norm.
  public let value: Parameter?
  /// Added to both weights: 1 for Gemma, 0 for other families.
  public let offset: Float
  /// Added to the mean square before its root is taken.
  public let epsilon: Float

  /// Creates the norms of a layer; all of its heads share the two weights.
  public init(query: Parameter, key: Parameter?, value: Parameter? = nil, offset: Float, epsilon: Float) {
    self.query = query
    self.key = key
    self.value = value
    self.offset = offset
    self.epsilon = epsilon
  }
}

/// The queries, keys or values in a joined q, k, v matrix, and what happens to them.
private struct RotatedPart {
  let columns: Range<Int>
  let heads: Int
  let angles: (cosines: Tensor, sines: Tensor)?
  let norm: Parameter?

  /// The number of parts that are normed by themselves.
  var normedHeads: Int { columns.count / max(1, norm?.value.count ?? 1) }
}

extension Tape {
  /// Applies the QK norm, if any, and the rotary embedding to queries and keys. Values have at most a norm.
  ///
  /// - Parameters:
  ///   - qkv: `[rows, q + k + v columns]`, or q alone for a shape without key/value heads. Changed in place, so nothing else
  ///     may read it.
  ///   - angles: rotate each pair (i, i + d/2) of a head; `nil` for a layer without positions.
  ///   - norms: the norms of query and key heads; `nil` for none.
  public func rotaryEmbedding(
    _ qkv: Variable, shape: AttentionShape, angles: RotaryAngles?, norms: QueryKeyNorms? = nil
  ) -> Variable {
    let queries = 0..<shape.queryColumns
    let keys = shape.queryColumns..<shape.queryColumns + shape.keyColumns
    let values = keys.upperBound..<keys.upperBound + shape.keyColumns
    let trainsNorms = norms?.query.isTrainable == true || norms?.key?.isTrainable == true
    let needsGradient = isRecording && (qkv.requiresGradient || trainsNorms)
    // The gradient of a norm needs its input.
    let before = norms != nil && needsGradient ? backend.scaled(qkv.value, 1) : nil
    let keyAngles = angles.map { ($0.cosines, $0.sines) }
    let parts: [RotatedPart] = [
      RotatedPart(
        columns: queries, heads: shape.attentionHeads, angles: angles?.queries ?? keyAngles, norm: norms?.query),
      RotatedPart(columns: keys, heads: shape.keyValueHeads, angles: keyAngles, norm: norms?.key),
      RotatedPart(columns: values, heads: shape.keyValueHeads, angles: nil, norm: norms?.value),
    ].filter { !$0.columns.isEmpty && ($0.angles != nil || $0.norm != nil) }
    let inverses = parts.map { part -> Tensor? in
      let columns = Columns(qkv.value, part.columns)
      let inverse = part.norm.map {
        backend.headNorm(
          columns, heads: part.normedHeads, weight: $0.value, offset: norms?.offset ?? 0, epsilon: norms?.epsilon ?? 0)
      }
      if let (cosines, sines) = part.angles {
        backend.rotary(columns, heads: part.heads, cosines: cosines, sines: sines, inverse: false)
      }
      return inverse
    }
    let output = Variable(qkv.value, requiresGradient: needsGradient)
    if needsGradient {
      let (slot, source) = (output.slot, qkv.slot)
      record { [unowned self] in
        guard var gradient = slot.take() else { return }
        if !gradient.isUniquelyOwned() { gradient = backend.scaled(gradient, 1) }
        for (part, inverse) in zip(parts, inverses) {
          let columns = Columns(gradient, part.columns)
          if let (cosines, sines) = part.angles {
            backend.rotary(columns, heads: part.heads, cosines: cosines, sines: sines, inverse: true)
          }
          if let weight = part.norm, let inverse, let before {
            backend.headNormBackward(
              Columns(before, part.columns), heads: part.normedHeads, weight: weight.value, offset: norms?.offset ?? 0,
              inverseRMS: inverse, dx: columns,
              weightGradient: weight.isTrainable ? weight.gradient(on: backend) : nil)
          }
        }
        accumulate(gradient, into: source)
      }
    }
    return output
  }
}
