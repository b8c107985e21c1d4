import CKernels

/// Passes over the logits of a vocabulary, so that sampling needn't sort hundreds of thousands of tokens.
package enum LogitScan {
  /// The largest logit; NaN counts as less than any number.
  package static func largest(_ logits: [Float]) -> Float {
    logits.withUnsafeBufferPointer { logits in
      logits.baseAddress.map { ck_largest($0, logits.count) } ?? -.infinity
    }
  }

  /// The first token with the largest logit; 0 if none is a number.
  package static func argmax(_ logits: [Float]) -> Int32 {
    logits.withUnsafeBufferPointer { Int32(firstLargest($0)?.column ?? 0) }
  }

  /// The first of the largest elements; `nil` if none is a number.
  static func firstLargest(_ elements: UnsafeBufferPointer<Float>) -> (column: Int, value: Float)? {
    guard let base = elements.baseAddress else { return nil }
    let largest = ck_largest(base, elements.count)
    return elements.firstIndex(of: largest).map { ($0, largest) }
  }

  /// The sum of e^(logit / temperature - highest) over all tokens.
  package static func exponentialSum(_ logits: [Float], temperature: Float, highest: Float) -> Double {
    logits.withUnsafeBufferPointer { logits in
      logits.baseAddress.map { ck_exponential_sum($0, logits.count, temperature, highest) } ?? 0
    }
  }

  /// The first token at which the sum of the weights e^(logit / temperature - highest) exceeds `position`.
  package static func pick(_ logits: [Float], temperature: Float, highest: Float, position: Double) -> Int32 {
    logits.withUnsafeBufferPointer { logits in
      logits.baseAddress.map { Int32(ck_pick_exponential($0, logits.count, temperature, highest, position)) } ?? 0
    }
  }

  /// The tokens whose logit is at least `threshold`, in ascending order.
  package static func tokens(_ logits: [Float], atLeast threshold: Float) -> [Int32] {
    [Int32](unsafeUninitializedCapacity: logits.count) { tokens, count in
      logits.withUnsafeBufferPointer { logits in
        guard let from = logits.baseAddress, let to = tokens.baseAddress else { return }
        count = ck_at_least(from, logits.count, threshold, to)
      }
    }
  }
}
