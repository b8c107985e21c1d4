import CKernels
import Essentials

extension CPUBackend {
  /// The minimum number of rows per task, for kernels that do little work per element of `columns`-wide rows.
  func rowGrain(_ columns: Int) -> Int { max(1, 16384 / max(1, columns)) }

  /// Each task normalizes a range of rows.
  public func rmsNorm(
    _ x: Tensor, residual: Tensor?, weight: Tensor, offset: Float, epsilon: Float
  ) -> (sum: Tensor, out: Tensor, inverseRMS: Tensor) {
    let sum = residual == nil ? x : empty(x.shape)
    let out = empty(x.shape)
    let inverse = empty([x.rows])
    pool.runRanges(x.rows, grain: rowGrain(x.columns)) { range in
      ck_rms_norm(
        x.pointer(), residual?.pointer(), sum.pointer(), weight.pointer(), offset, epsilon, out.pointer(),
        inverse.pointer(), x.columns, range.lowerBound, range.upperBound)
    }
    return (sum, out, inverse)
  }

  /// Each task scales a range of rows.
  public func recomputedRMSNorm(_ x: Tensor, weight: Tensor, offset: Float, inverseRMS: Tensor) -> Tensor {
    let out = empty(x.shape)
    pool.runRanges(x.rows, grain: rowGrain(x.columns)) { range in
      ck_rms_norm_apply(
        x.pointer(), weight.pointer(), offset, inverseRMS.pointer(), out.pointer(), x.columns, range.lowerBound,
        range.upperBound)
    }
    return out
  }

  /// Each task computes a range of rows.
  public func rmsNormBackward(
    _ x: Tensor, weight: Tensor, offset: Float, inverseRMS: Tensor, dOut: Tensor, into: Tensor, accumulate: Bool
  ) {
    pool.runRanges(x.rows, grain: rowGrain(x.columns)) { range in
      ck_rms_norm_backward(
        x.pointer(), weight.pointer(), offset, inverseRMS.pointer(), dOut.pointer(), into.pointer(), accumulate,
        x.columns, range.lowerBound, range.upperBound)
    }
  }

  /// Each task sums a range of columns over all rows, in order.
  public func rmsNormWeightGradient(_ x: Tensor, inverseRMS: Tensor, dOut: Tensor, into: Tensor) {
    pool.runRanges(x.columns, grain: 64) { range in
      ck_rms_norm_weight_gradient(
        x.pointer(), inverseRMS.pointer(), dOut.pointer(), into.pointer(), x.rows, x.columns, range.lowerBound,
        range.upperBound)
    }
  }

  /// Each task normalizes all heads of a range of rows.
  public func headNorm(_ x: Columns, heads: Int, weight: Tensor, offset: Float, epsilon: Float) -> Tensor {
    let inverse = empty([x.rows, heads])
    pool.runRanges(x.rows, grain: rowGrain(x.count)) { range in
      ck_head_norm(
        x.pointer, x.stride, heads, x.count / heads, weight.pointer(), offset, epsilon, inverse.pointer(),
        range.lowerBound, range.upperBound)
    }
    return inverse
  }

  /// Each task computes a range of rows; the weight gradient, a sum over all rows, is computed by the calling thread.
  public func headNormBackward(
    _ x: Columns, heads: Int, weight: Tensor, offset: Float, inverseRMS: Tensor, dx: Columns, weightGradient: Tensor?
  ) {
    if let weightGradient {
      ck_head_norm_weight_gradient(
        x.pointer, x.stride, x.rows, heads, x.count / heads, inverseRMS.pointer(), dx.pointer, dx.stride,
        weightGradient.pointer())
    }
    pool.runRanges(x.rows, grain: rowGrain(x.count)) { range in
      ck_head_norm_backward(
        x.pointer, x.stride, heads, x.count / heads, weight.pointer(), offset, inverseRMS.pointer(), dx.pointer,
        dx.stride, range.lowerBound, range.upperBound)
    }
  }

  /// Each task rotates all heads of a range of rows.
  public func rotary(_ x: Columns, heads: Int, cosines: Tensor, sines: Tensor, inverse: Bool) {
    let rotated = cosines.columns * 2
    pool.runRanges(x.rows, grain: rowGrain(x.count)) { range in
      ck_rotary(
        x.pointer, x.stride, heads, x.count / heads, rotated, cosines.pointer(), sines.pointer(), inverse,
        range.lowerBound, range.upperBound)
    }
  }

  /// Each task computes a range of rows.
  public func gatedActivation(_ gateUp: Tensor, _ activation: Activation) -> Tensor {
    let columns = gateUp.columns / 2
    let out = empty([gateUp.rows, columns])
    pool.runRanges(gateUp.rows, grain: rowGrain(4 * columns)) { range in
      ck_gated(
        gateUp.pointer(), out.pointer(), columns, activation.kernelCode, range.lowerBound, range.upperBound)
    }
    return out
  }

  /// Each task computes a range of rows.
  public func gatedActivationBackward(_ gateUp: Tensor, dOut: Tensor, _ activation: Activation) -> Tensor {
    let columns = gateUp.columns / 2
    let dGateUp = empty(gateUp.shape)
    pool.runRanges(gateUp.rows, grain: rowGrain(4 * columns)) { range in
      ck_gated_backward(
        gateUp.pointer(), dOut.pointer(), dGateUp.pointer(), columns, activation.kernelCode, range.lowerBound,
        range.upperBound)
    }
    return dGateUp
  }

  /// Each task adds a range of elements, a multiple of the vector length.
  public func add(_ x: Tensor, scale: Float, into y: Tensor) {
    precondition(x.count == y.count, "both tensors must have the same number of elements")
    pool.runRanges((x.count + 7) / 8, grain: 2048) { range in
      ck_add(y.pointer(), x.pointer(), scale, range.lowerBound * 8, min(x.count, range.upperBound * 8))
    }
  }

  /// Each task scales a range of elements into a new tensor.
  public func scaled(_ x: Tensor, _ scale: Float) -> Tensor {
    let y = empty(x.shape)
    self.scale(x, by: scale, into: y)
    return y
  }

  /// Each task scales a range of elements.
  public func scale(_ y: Tensor, by factor: Float) { scale(y, by: factor, into: y) }

  /// Each task computes a range of rows.
  public func rowDots(_ x: Tensor, _ y: Tensor) -> Tensor {
    precondition(x.shape == y.shape, "rows that are multiplied are of equal size")
    let dots = empty([x.rows])
    let (left, right): (UnsafeMutablePointer<Float>, UnsafeMutablePointer<Float>) = (x.pointer(), y.pointer())
    let out: UnsafeMutablePointer<Float> = dots.pointer()
    pool.runRanges(x.rows, grain: rowGrain(x.columns)) { range in
      for row in range { out[row] = ck_dot(left + row * x.columns, right + row * x.columns, x.columns) }
    }
    return dots
  }

  /// Each task scales a range of rows.
  public func scaleRows(_ y: Tensor, by factors: Tensor) {
    precondition(factors.count == y.rows, "there must be one factor per row")
    let (rows, factors): (UnsafeMutablePointer<Float>, UnsafeMutablePointer<Float>) = (y.pointer(), factors.pointer())
    pool.runRanges(y.rows, grain: rowGrain(y.columns)) { range in
      for row in range { ck_scale(rows, rows, factors[row], row * y.columns, (row + 1) * y.columns) }
    }
  }

  private func scale(_ x: Tensor, by factor: Float, into y: Tensor) {
    pool.runRanges((x.count + 7) / 8, grain: 2048) { range in
      ck_scale(y.pointer(), x.pointer(), factor, range.lowerBound * 8, min(x.count, range.upperBound * 8))
    }
  }

  /// Each task adds to a range of rows.
  public func addBias(_ bias: Tensor, to y: Columns) {
    pool.runRanges(y.rows, grain: rowGrain(y.count)) { range in
      ck_add_bias(y.pointer, y.stride, bias.pointer(), y.count, range.lowerBound, range.upperBound)
    }
  }

  /// One group after the other.
  public func addBias(_ biases: @escaping (Int) -> Tensor, to y: Columns, groups: RowGroups) {
    for (group, rows) in groups.occupied { addBias(biases(group), to: y.rows(rows)) }
  }

  /// Each task sums a range of columns over all rows, in order.
  public func addColumnSums(_ dy: Columns, into: Tensor) {
    pool.runRanges(dy.count, grain: 64) { range in
      ck_column_sums(dy.pointer, dy.stride, dy.rows, into.pointer(), range.lowerBound, range.upperBound)
    }
  }

  /// One group after the other.
  public func addColumnSums(_ dy: Columns, into: [Tensor], groups: RowGroups) {
    for (group, rows) in groups.occupied { addColumnSums(dy.rows(rows), into: into[group]) }
  }

  /// Each task computes a range of elements. An element's mask depends on the key and its index only.
  public func dropout(_ x: Tensor, rate: Float, key: UInt64, into: Tensor, accumulate: Bool) {
    pool.runRanges(x.count, grain: 16384) { range in
      ck_dropout(x.pointer(), into.pointer(), rate, key, accumulate, range.lowerBound, range.upperBound)
    }
  }

  /// Each task caps a range of rows.
  public func softcap(_ logits: Tensor, _ cap: Float) {
    pool.runRanges(logits.rows, grain: rowGrain(logits.columns)) { range in
      ck_softcap(logits.pointer(), cap, range.lowerBound * logits.columns, range.upperBound * logits.columns)
    }
  }

  /// Finds the largest element where it is; for more of them, sorting a copy costs no more.
  public func largest(_ row: Tensor, count: Int) -> [(column: Int, value: Float)]? {
    guard count == 1, row.type == .float32 else { return nil }
    return LogitScan.firstLargest(UnsafeBufferPointer(start: row.pointer(), count: row.count)).map { [$0] }
  }

  /// Adds the sums of the tensors in order.
  public func sumOfSquares(_ tensors: [Tensor]) -> Double { tensors.reduce(0) { $0 + sumOfSquares($1) } }

  /// Each task sums one chunk in double precision.
  public func sumOfSquares(_ x: Tensor) -> Double {
    // Chunks of a fixed size, added in order, give the same sum for any number of threads.
    let chunk = 1 << 16
    let count = (x.count + chunk - 1) / chunk
    var sums = [Double](repeating: 0, count: count)
    sums.withUnsafeMutableBufferPointer { sums in
      guard let target = sums.baseAddress else { return }
      let source: UnsafeMutablePointer<Float> = x.pointer()
      pool.run(count) { i in
        target[i] = ck_sum_of_squares(source + i * chunk, min(chunk, x.count - i * chunk))
      }
    }
    return sums.reduce(0, +)
  }

  /// Each task computes a range of rows.
  public func crossEntropy(
    _ logits: Tensor, targets: [Int32], gradientScale: Float?, softcap: Float, smoothing: Float,
    weighsByProbability: Bool, into result: Tensor
  ) {
    precondition(
      targets.count == logits.rows && result.rows == logits.rows, "there must be one target per row of logits")
    precondition(targets.allSatisfy { $0 >= 0 && Int($0) < logits.columns }, "targets must be in the vocabulary")
    let losses = empty([targets.count])
    let correct = empty([targets.count], .uint8)
    let entropies = empty([targets.count])
    pool.runRanges(targets.count, grain: max(1, 8192 / max(1, logits.columns))) { range in
      ck_cross_entropy(
        logits.pointer(), targets, logits.columns, gradientScale ?? 0, softcap, smoothing,
        gradientScale != nil, losses.pointer(), correct.pointer(), entropies.pointer(), range.lowerBound,
        range.upperBound)
    }
    let (lossValues, entropyValues) = (floats(losses), floats(entropies))
    let weights = weighsByProbability ? lossValues.map { exp(-$0) } : nil
    let rows: UnsafeMutablePointer<Float> = result.pointer()
    for row in targets.indices {
      rows[4 * row] = lossValues[row]
      rows[4 * row + 1] = lossValues[row] * (weights?[row] ?? 1)
      rows[4 * row + 2] = correct.pointer(UInt8.self)[row] != 0 ? 1 : 0
      rows[4 * row + 3] = entropyValues[row]
    }
    if let weights, gradientScale != nil { scaleRows(logits, by: weights) }
  }

  /// Each task computes a range of rows.
  public func divergence(
    _ logits: Tensor, from teacher: Tensor, targets: [Int32], beta: Float, temperature: Float, gradientScale: Float?,
    softcap: Float, into result: Tensor
  ) {
    precondition(teacher.shape == logits.shape && result.rows == logits.rows, "the teacher must have the same logits")
    precondition(targets.count == logits.rows, "there must be one target per row of logits")
    precondition(targets.allSatisfy { $0 >= 0 && Int($0) < logits.columns }, "targets must be in the vocabulary")
    pool.runRanges(targets.count, grain: max(1, 4096 / max(1, logits.columns))) { range in
      ck_divergence(
        logits.pointer(), teacher.pointer(), targets, logits.columns, beta, temperature, gradientScale ?? 0, softcap,
        gradientScale != nil, result.pointer(), range.lowerBound, range.upperBound)
    }
  }

  /// See ``Backend``.
  public func logitStatistics(_ logits: Tensor, softcap: Float) -> Tensor {
    let found = empty([logits.rows, 2])
    pool.runRanges(logits.rows, grain: max(1, 8192 / max(1, logits.columns))) { range in
      ck_logit_statistics(
        logits.pointer(), logits.columns, softcap, found.pointer(), range.lowerBound, range.upperBound)
    }
    return found
  }
}
