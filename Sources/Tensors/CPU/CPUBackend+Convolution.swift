import CKernels

extension CPUBackend {
  /// Each task multiplies a range of rows.
  public func multiply(_ a: Columns, _ b: Columns, into: Columns, accumulate: Bool) {
    precondition(a.count == b.count && a.count == into.count && a.rows == b.rows && a.rows == into.rows)
    pool.runRanges(a.rows, grain: max(1, 16384 / max(1, a.count))) { range in
      ck_multiply(
        a.pointer, a.stride, b.pointer, b.stride, into.pointer, into.stride, accumulate, a.count, range.lowerBound,
        range.upperBound)
    }
  }

  /// Each task computes a range of rows.
  public func convolution(_ x: Tensor, weight: Tensor, bias: Tensor?, taps: ConvolutionTaps) -> Tensor {
    let rows = taps.rows.count / taps.length
    let out = empty([rows, x.columns])
    let byTap = weight.reshaped([weight.count / max(1, taps.length), taps.length]).transposed()
    pool.runRanges(rows, grain: max(1, 16384 / max(1, x.columns * taps.length))) { range in
      ck_convolution(
        x.pointer(), x.columns, taps.rows, taps.length, byTap.pointer(), bias?.pointer(), out.pointer(),
        range.lowerBound, range.upperBound)
    }
    return out
  }

  /// Each task computes all rows of a range of channels, so that no two add to the same gradient.
  public func convolutionBackward(
    _ x: Tensor, weight: Tensor, taps: ConvolutionTaps, dOut: Tensor, dWeight: Tensor?, dBias: Tensor?
  ) -> Tensor {
    let dx = empty(x.shape)
    clear(dx)
    let byTap = weight.reshaped([weight.count / max(1, taps.length), taps.length]).transposed()
    let sums = dWeight.map { _ in empty(byTap.shape) }
    if let sums { clear(sums) }
    pool.runRanges(x.columns, grain: 64) { range in
      ck_convolution_backward(
        x.pointer(), x.columns, taps.rows, taps.length, byTap.pointer(), dOut.pointer(), dOut.rows, dx.pointer(),
        sums?.pointer(), dBias?.pointer(), range.lowerBound, range.upperBound)
    }
    if let dWeight, let sums { add(sums.transposed().reshaped(dWeight.shape), scale: 1, into: dWeight) }
    return dx
  }
}
