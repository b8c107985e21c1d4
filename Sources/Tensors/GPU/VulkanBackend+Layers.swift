extension VulkanBackend {
  private struct NormArguments: BitwiseCopyable {
    var x, residual, sum, weight, out, inverse: UInt64
    var rows, columns, heads, stride, outStride: UInt32
    var offset, epsilon: Float
  }

  private struct NormGradientArguments: BitwiseCopyable {
    var x, weight, inverse, dOut, dx: UInt64
    var rows, columns, heads, stride, gradientStride: UInt32
    var offset: Float
    var accumulate: UInt32
  }

  private struct ElementArguments: BitwiseCopyable {
    var y: UInt64
    var x: UInt64 = 0
    var other: UInt64 = 0
    var count: UInt32
    var columns: UInt32 = 1
    var stride: UInt32 = 1
    var factor: Float = 0
    var flag: UInt32 = 0
  }

  private func run(_ kernel: StaticString, _ arguments: ElementArguments) {
    device.run(kernel, arguments, groupCount: groups(Int(arguments.count)))
  }

  /// See ``Backend``.
  public func rmsNorm(
    _ x: Tensor, residual: Tensor?, weight: Tensor, offset: Float, epsilon: Float
  ) -> (sum: Tensor, out: Tensor, inverseRMS: Tensor) {
    let sum = residual == nil ? x : allocate(x.shape)
    let out = allocate(x.shape)
    let inverse = allocate([x.rows])
    let arguments = NormArguments(
      x: address(x), residual: address(residual), sum: address(sum), weight: address(weight), out: address(out),
      inverse: address(inverse), rows: UInt32(x.rows), columns: UInt32(x.columns), heads: 1, stride: UInt32(x.columns),
      outStride: UInt32(x.columns), offset: offset, epsilon: epsilon)
    device.run("norm", arguments, groupCount: x.rows)
    return (sum, out, inverse)
  }

  /// See ``Backend``.
  public func recomputedRMSNorm(_ x: Tensor, weight: Tensor, offset: Float, inverseRMS: Tensor) -> Tensor {
    let out = allocate(x.shape)
    let arguments = NormArguments(
      x: address(x), residual: 0, sum: 0, weight: address(weight), out: address(out), inverse: address(inverseRMS),
      rows: UInt32(x.rows), columns: UInt32(x.columns), heads: 1, stride: UInt32(x.columns),
      outStride: UInt32(x.columns), offset: offset, epsilon: 0)
    device.run("normed", arguments, groupCount: x.rows)
    return out
  }

  /// See ``Backend``.
  public func rmsNormBackward(
    _ x: Tensor, weight: Tensor, offset: Float, inverseRMS: Tensor, dOut: Tensor, into: Tensor, accumulate: Bool
  ) {
    let arguments = NormGradientArguments(
      x: address(x), weight: address(weight), inverse: address(inverseRMS), dOut: address(dOut), dx: address(into),
      rows: UInt32(x.rows), columns: UInt32(x.columns), heads: 1, stride: UInt32(x.columns),
      gradientStride: UInt32(x.columns), offset: offset, accumulate: accumulate ? 1 : 0)
    device.run("normBackward", arguments, groupCount: x.rows)
  }

  /// See ``Backend``.
  public func rmsNormWeightGradient(_ x: Tensor, inverseRMS: Tensor, dOut: Tensor, into: Tensor) {
    let arguments = NormGradientArguments(
      x: address(x), weight: 0, inverse: address(inverseRMS), dOut: address(dOut), dx: address(into),
      rows: UInt32(x.rows), columns: UInt32(x.columns), heads: 1, stride: UInt32(x.columns),
      gradientStride: UInt32(x.columns), offset: 0, accumulate: 1)
    device.run("normWeightGradient", arguments, groups: (groups(x.columns, of: 16), 1, 1))
  }

  /// See ``Backend``.
  public func headNorm(_ x: Columns, heads: Int, weight: Tensor, offset: Float, epsilon: Float) -> Tensor {
    let inverse = allocate([x.rows, heads])
    let stride = UInt32(x.tensor.columns)
    let arguments = NormArguments(
      x: address(x), residual: 0, sum: 0, weight: address(weight), out: address(x), inverse: address(inverse),
      rows: UInt32(x.rows * heads), columns: UInt32(x.count / heads), heads: UInt32(heads), stride: stride,
      outStride: stride, offset: offset, epsilon: epsilon)
    device.run("norm", arguments, groupCount: x.rows * heads)
    return inverse
  }

  /// See ``Backend``.
  public func headNormBackward(
    _ x: Columns, heads: Int, weight: Tensor, offset: Float, inverseRMS: Tensor, dx: Columns, weightGradient: Tensor?
  ) {
    var arguments = NormGradientArguments(
      x: address(x), weight: address(weight), inverse: address(inverseRMS), dOut: address(dx),
      dx: address(weightGradient), rows: UInt32(x.rows * heads), columns: UInt32(x.count / heads),
      heads: UInt32(heads), stride: UInt32(x.tensor.columns), gradientStride: UInt32(dx.tensor.columns),
      offset: offset, accumulate: 1)
    if weightGradient != nil {
      device.run("normWeightGradient", arguments, groups: (groups(x.count / heads, of: 16), 1, 1))
    }
    arguments.dx = arguments.dOut
    arguments.accumulate = 0
    device.run("normBackward", arguments, groupCount: x.rows * heads)
  }

  /// See ``Backend``.
  public func rotary(_ x: Columns, heads: Int, cosines: Tensor, sines: Tensor, inverse: Bool) {
    let (cosines, sines) = (uploaded(cosines), uploaded(sines))
    let count = x.rows * heads * cosines.columns
    let arguments = RotaryArguments(
      x: address(x), cosines: address(cosines), sines: address(sines), count: UInt32(count), heads: UInt32(heads),
      headDim: UInt32(x.count / heads), halfRotated: UInt32(cosines.columns), stride: UInt32(x.tensor.columns),
      sign: inverse ? -1 : 1)
    device.run("rotary", arguments, groupCount: groups(count))
  }

  private struct RotaryArguments: BitwiseCopyable {
    var x, cosines, sines: UInt64
    var count, heads, headDim, halfRotated, stride: UInt32
    var sign: Float
  }

  /// See ``Backend``.
  public func gatedActivation(_ gateUp: Tensor, _ activation: Activation) -> Tensor {
    let out = allocate([gateUp.rows, gateUp.columns / 2])
    run(
      "gated",
      ElementArguments(
        y: address(out), x: address(gateUp), count: UInt32(out.count), columns: UInt32(out.columns),
        flag: UInt32(activation.rawValue)))
    return out
  }

  /// See ``Backend``.
  public func gatedActivationBackward(_ gateUp: Tensor, dOut: Tensor, _ activation: Activation) -> Tensor {
    let dGateUp = allocate(gateUp.shape)
    run(
      "gatedBackward",
      ElementArguments(
        y: address(dGateUp), x: address(gateUp), other: address(dOut), count: UInt32(dOut.count),
        columns: UInt32(dOut.columns), flag: UInt32(activation.rawValue)))
    return dGateUp
  }

  /// See ``Backend``.
  public func add(_ x: Tensor, scale: Float, into y: Tensor) {
    precondition(x.count == y.count, "tensors that are added have the same number of elements")
    let x = uploaded(x)
    run("add", ElementArguments(y: address(y), x: address(x), count: UInt32(y.count), factor: scale))
  }

  /// See ``Backend``.
  public func scale(_ y: Tensor, by factor: Float) {
    run("scale", ElementArguments(y: address(y), x: address(y), count: UInt32(y.count), factor: factor))
  }

  /// See ``Backend``.
  public func scaled(_ x: Tensor, _ scale: Float) -> Tensor {
    let (x, y) = (uploaded(x), allocate(x.shape))
    run("scale", ElementArguments(y: address(y), x: address(x), count: UInt32(y.count), factor: scale))
    return y
  }

  /// See ``Backend``.
  public func scaleRows(_ y: Tensor, by factors: [Float]) {
    precondition(factors.count == y.rows, "a factor for each row")
    let factors = uploaded(factors, .float32)
    run(
      "scaleRows",
      ElementArguments(y: address(y), x: address(factors), count: UInt32(y.count), columns: UInt32(y.columns)))
  }

  /// See ``Backend``.
  public func addBias(_ bias: Tensor, to y: Columns) {
    run(
      "addBias",
      ElementArguments(
        y: address(y), x: address(bias), count: UInt32(y.rows * y.count), columns: UInt32(y.count),
        stride: UInt32(y.tensor.columns)))
  }

  /// See ``Backend``.
  public func addColumnSums(_ dy: Columns, into: Tensor) {
    let arguments = ColumnSumArguments(
      x: address(dy), into: address(into), rows: UInt32(dy.rows), columns: UInt32(dy.count),
      stride: UInt32(dy.tensor.columns))
    device.run("columnSums", arguments, groups: (groups(dy.count, of: 16), 1, 1))
  }

  private struct ColumnSumArguments: BitwiseCopyable { var x, into: UInt64, rows, columns, stride: UInt32 }

  /// See ``Backend``.
  public func dropout(_ x: Tensor, rate: Float, key: UInt64, into: Tensor, accumulate: Bool) {
    let arguments = DropoutArguments(
      x: address(x), out: address(into), key: key, count: UInt32(x.count), threshold: UInt32(rate * 16_777_216),
      scale: 1 / (1 - rate), accumulate: accumulate ? 1 : 0)
    device.run("dropout", arguments, groupCount: groups(x.count))
  }

  private struct DropoutArguments: BitwiseCopyable {
    var x, out, key: UInt64
    var count, threshold: UInt32
    var scale: Float
    var accumulate: UInt32
  }

  // MARK: Loss

  /// See ``Backend``.
  public func softcap(_ logits: Tensor, _ cap: Float) {
    run("softcap", ElementArguments(y: address(logits), count: UInt32(logits.count), factor: cap))
  }

  /// See ``Backend``.
  public func crossEntropy(
    _ logits: Tensor, targets: [Int32], gradientScale: Float?, softcap: Float, smoothing: Float,
    weighsByProbability: Bool, into result: Tensor
  ) {
    precondition(targets.count == logits.rows && result.rows == logits.rows, "a target for each row of logits")
    precondition(targets.allSatisfy { $0 >= 0 && Int($0) < logits.columns }, "targets must be in the vocabulary")
    let ids = uploaded(targets)
    let arguments = CrossEntropyArguments(
      logits: address(logits), targets: address(ids), found: address(result), rows: UInt32(logits.rows),
      columns: UInt32(logits.columns), scale: gradientScale ?? 0, cap: softcap, smoothing: smoothing,
      gradient: gradientScale == nil ? 0 : 1, weighs: weighsByProbability ? 1 : 0)
    device.run("crossEntropy", arguments, groupCount: logits.rows)
  }

  /// See ``Backend``. Computed by the CPU.
  public func logitStatistics(_ logits: Tensor, softcap: Float) -> Tensor {
    let host = CPUBackend.shared
    let found = host.logitStatistics(host.tensor(floats(logits), logits.shape), softcap: softcap)
    return tensor(host.floats(found), found.shape)
  }

  private struct CrossEntropyArguments: BitwiseCopyable {
    var logits, targets, found: UInt64
    var rows, columns: UInt32
    var scale, cap, smoothing: Float
    var gradient, weighs: UInt32
  }

  /// See ``Backend``. Stretches are summed in float32 on the device and added in double precision.
  public func sumOfSquares(_ tensors: [Tensor]) -> Double {
    let starts = tensors.reduce(into: [0]) { $0.append($0[$0.count - 1] + groups($1.count, of: 16384)) }
    let sums = allocate([max(1, starts[tensors.count])])
    for (index, tensor) in tensors.enumerated() {
      let tensor = uploaded(tensor)
      sumSquares(of: tensor, into: sums, first: starts[index], needsBarrier: index == 0)
    }
    return floats(sums).prefix(starts[tensors.count]).reduce(0) { $0 + Double($1) }
  }

  func sumSquares(of tensor: Tensor, into sums: Tensor, first: Int, needsBarrier: Bool = true) {
    let arguments = SquareArguments(
      x: address(tensor), sums: address(sums), count: UInt32(tensor.count), first: UInt32(first))
    device.run("sumOfSquares", arguments, groupCount: groups(tensor.count, of: 16384), needsBarrier: needsBarrier)
  }

  private struct SquareArguments: BitwiseCopyable { var x, sums: UInt64, count, first: UInt32 }

  /// The column of the largest element of each row, the first of several.
  public func largestColumns(_ x: Tensor) -> [Int] {
    let found = allocate([x.rows], .int32)
    device.run(
      "largestColumn", LargestArguments(x: address(x), found: address(found), columns: UInt32(x.columns)),
      groups: (x.rows, 1, 1))
    return found.withBytes { $0.bindMemory(to: Int32.self).prefix(x.rows).map(Int.init) }
  }

  private struct LargestArguments: BitwiseCopyable { var x, found: UInt64, columns: UInt32 }
}
