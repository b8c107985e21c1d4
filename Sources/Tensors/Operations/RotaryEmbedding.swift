/// The cosines and sines of the rotary position embeddings (RoPE, Su et al. 2021, arXiv:2104.09864) of a batch's
/// tokens.
public struct RotaryAngles {
  /// The cosines, float32 `[rows, rotary dim / 2]`.
  public let cosines: Tensor
  /// The sines, float32 `[rows, rotary dim / 2]`.
  public let sines: Tensor

  /// Creates angles from their cosines and sines, which must have the same shape.
  public init(cosines: Tensor, sines: Tensor) {
    self.cosines = cosines
    self.sines = sines
  }
}

/// The RMS norms of query and key heads before rotation (QK norm; Qwen3, Gemma 3).
public struct QueryKeyNorms {
  /// The weight for query heads, `[head dim]`.
  public let query: Parameter
  /// The weight for key heads, `[head dim]`.
  public let key: Parameter
  /// Added to both weights: 1 for Gemma, 0 for other families.
  public let offset: Float
  /// Added to the mean square before its root is taken.
  public let epsilon: Float

  /// Creates the norms of a layer; all of its heads share the two weights.
  public init(query: Parameter, key: Parameter, offset: Float, epsilon: Float) {
    self.query = query
    self.key = key
    self.offset = offset
    self.epsilon = epsilon
  }
}

extension Tape {
  /// Applies the QK norm, if any, and the rotary embedding to queries and keys. Values don't change.
  ///
  /// - Parameters:
  ///   - qkv: `[rows, q + k + v columns]`. Changed in place, so nothing else may read it.
  ///   - angles: rotate each pair (i, i + d/2) of a head; `nil` for a layer without positions.
  ///   - norms: the norms of query and key heads; `nil` for none.
  public func rotaryEmbedding(
    _ qkv: Variable, shape: AttentionShape, angles: RotaryAngles?, norms: QueryKeyNorms? = nil
  ) -> Variable {
    let queries = 0..<shape.queryColumns
    let keys = shape.queryColumns..<shape.queryColumns + shape.keyColumns
    let trainsNorms = norms?.query.isTrainable == true || norms?.key.isTrainable == true
    let needsGradient = isRecording && (qkv.requiresGradient || trainsNorms)
    // The gradient of a norm needs its input.
    let before = norms != nil && needsGradient ? backend.scaled(qkv.value, 1) : nil
    let parts = [(queries, shape.attentionHeads, norms?.query), (keys, shape.keyValueHeads, norms?.key)]
    let inverses = parts.map { range, heads, weight -> Tensor? in
      let part = Columns(qkv.value, range)
      let inverse = weight.map {
        backend.headNorm(
          part, heads: heads, weight: $0.value, offset: norms?.offset ?? 0, epsilon: norms?.epsilon ?? 0)
      }
      if let angles {
        backend.rotary(part, heads: heads, cosines: angles.cosines, sines: angles.sines, inverse: false)
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
          let (range, heads, weight) = part
          let columns = Columns(gradient, range)
          if let angles {
            backend.rotary(columns, heads: heads, cosines: angles.cosines, sines: angles.sines, inverse: true)
          }
          if let weight, let inverse, let before {
            backend.headNormBackward(
              Columns(before, range), heads: heads, weight: weight.value, offset: norms?.offset ?? 0,
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
