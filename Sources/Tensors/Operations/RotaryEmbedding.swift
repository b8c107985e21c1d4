/// The angles of rotary positions (Su et al. 2021) for the rows of a batch.
public struct RotaryAngles {
  /// `[rows, rotated / 2]`
  public let cosines: Tensor
  /// `[rows, rotated / 2]`
  public let sines: Tensor

  /// Angles by their cosines and sines.
  public init(cosines: Tensor, sines: Tensor) {
    self.cosines = cosines
    self.sines = sines
  }
}

/// RMS norms of each query and key head before they are rotated (Qwen3, Gemma 3).
public struct QueryKeyNorms {
  /// `[head size]`
  public let query: Parameter
  /// `[head size]`
  public let key: Parameter
  /// Added to the weights.
  public let offset: Float
  /// Added to the mean square.
  public let epsilon: Float

  /// Norms of these weights.
  public init(query: Parameter, key: Parameter, offset: Float, epsilon: Float) {
    self.query = query
    self.key = key
    self.offset = offset
    self.epsilon = epsilon
  }
}

extension Tape {
  /// Gives queries and keys their positions: the head norms, if any, then the rotation of each pair (i, i + d/2); values
  /// stay. `qkv` is `[rows, q + k + v columns]`; its memory is reused, so nothing else may read it. `angles` may be
  /// `nil`, for layers without positions.
  public func rotaryEmbedding(
    _ qkv: Variable, shape: AttentionShape, angles: RotaryAngles?, norms: QueryKeyNorms? = nil
  ) -> Variable {
    let queries = 0..<shape.queryColumns
    let keys = shape.queryColumns..<shape.queryColumns + shape.keyColumns
    let trainsNorms = norms?.query.isTrainable == true || norms?.key.isTrainable == true
    let needsGradient = isRecording && (qkv.requiresGradient || trainsNorms)
    // The gradient through a norm needs what was normed.
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
